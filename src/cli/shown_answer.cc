#include "cli/shown_answer.h"

#include <utility>

namespace flashmoe::cli {
namespace {

constexpr ThoughtMarks kShownMarks = thought_marks(AnswerStyle::kThink);
constexpr std::string_view kDim = "\033[2m";
constexpr std::string_view kNotDim = "\033[0m";

}  // namespace

ShownAnswer::ShownAnswer(const OutputParser::Options& parsing, bool is_dim)
    : is_plain_(parsing.is_plain || (parsing.style == AnswerStyle::kThink && !is_dim)),
      keeps_marks_(parsing.is_plain || parsing.style == AnswerStyle::kThink),
      is_dim_(is_dim),
      parser_(parsing, no_tools_) {}

std::string ShownAnswer::push(std::string_view text) {
  if (keeps_marks_) text_ += text;
  if (is_plain_) return std::string(text);
  OutputEvents events;
  parser_.push(text, events);
  return show(std::move(events));
}

std::string ShownAnswer::finish(bool is_cut) {
  if (is_plain_) return "";
  OutputEvents events;
  parser_.finish(events, is_cut);
  std::string shown = show(std::move(events));
  // Thoughts that were cut have no end that scripts could be told.
  if (std::exchange(is_thinking_, false) && is_dim_) shown += kNotDim;
  return shown;
}

std::string ShownAnswer::show(OutputEvents events) {
  std::string shown;
  for (const OutputEvent& event : events) {
    const bool is_thought = event.kind == OutputEvent::Kind::kReasoning;
    if (!keeps_marks_) (is_thought ? thoughts_ : text_) += event.text;
    if (is_thought != is_thinking_) {
      is_thinking_ = is_thought;
      if (is_dim_) {
        shown += is_thought ? kDim : kNotDim;
      } else {
        shown += is_thought ? kShownMarks.open : std::string_view("\n");
        shown += is_thought ? std::string_view("\n") : kShownMarks.close;
      }
      if (!is_thought) shown += "\n\n";
    }
    shown += event.text;
  }
  return shown;
}

}  // namespace flashmoe::cli
