#include "chat/named_json_calls.h"

#include <utility>

#include "chat/braced_arguments.h"
#include "chat/marks.h"

namespace flashmoe {
namespace {

/// What is longer is no head of a call.
constexpr std::size_t kHeadMax = 256;
/// Of the number of a call in a conversation.
constexpr int kIndexDigits = 4;

/// The arguments are passed on as they come, and word for word.
class NamedJsonReader : public ToolCallReader {
 public:
  NamedJsonReader(const CallMarks& marks, const CallHead& head) : marks_(marks), head_(head) {
    if (head.is_braced) {
      arguments_ = std::make_unique<BracedArguments>();
    } else {
      arguments_ = std::make_unique<JsonArguments>();
    }
  }

  Verdict read(std::string& text, OutputEvents& events) override {
    while (true) {
      switch (state_) {
        case State::kHead: {
          const Verdict verdict = read_head(text, events);
          if (verdict != Verdict::kDone) return verdict;
          break;
        }
        case State::kArguments:
          if (!read_arguments(text, events)) return Verdict::kMore;
          break;
        case State::kBroken: {
          // What follows is of the broken call, up to its end.
          const std::size_t close = text.find(closing_);
          text.erase(0, close == std::string::npos ? possible_mark(text, closing_) : close);
          if (close == std::string::npos) return Verdict::kMore;
          state_ = State::kClose;
          break;
        }
        case State::kClose:
          if (!take(text, closing_)) return Verdict::kMore;
          state_ = State::kBlockClose;
          break;
        case State::kBlockClose:
          return take(text, marks_.block_close) ? Verdict::kDone : Verdict::kMore;
      }
    }
  }

  Verdict finish(std::string& text, OutputEvents& events) override {
    is_last_ = true;
    const Verdict verdict = read(text, events);
    if (verdict != Verdict::kMore) return verdict;
    text.clear();
    if (state_ == State::kHead) return Verdict::kCut;
    if (state_ == State::kArguments) ArgumentsReader::tell_end(events, /*is_complete=*/false);
    return Verdict::kDone;
  }

 private:
  enum class State : std::uint8_t { kHead, kArguments, kBroken, kClose, kBlockClose };

  /// kDone: the head is read, and the call told.
  Verdict read_head(std::string& text, OutputEvents& events) {
    const std::size_t begin = skip_space(text);
    std::string_view rest = std::string_view(text).substr(begin);
    const std::string open = std::string(marks_.call_open) + std::string(head_.prefix);
    if (rest.empty() || may_become(rest, open)) return Verdict::kMore;
    if (!rest.starts_with(open)) return Verdict::kNoCall;
    rest.remove_prefix(open.size());
    const std::size_t end = rest.find(head_.separator);
    if (end == std::string_view::npos) {
      return rest.size() > kHeadMax ? Verdict::kNoCall : Verdict::kMore;
    }
    std::string_view name = rest.substr(0, end);
    if (head_.has_index) name = name.substr(0, name.rfind(':'));
    if (!head_.details.empty()) name = name.substr(0, name.find_first_of(" \t\r\n<"));
    name = without_space(name);
    if (name.empty() || name.size() > kHeadMax) return Verdict::kNoCall;
    events.push_back({.kind = OutputEvent::Kind::kCallBegin, .text = std::string(name)});
    text.erase(0, begin + open.size() + end + head_.separator.size());
    state_ = State::kArguments;
    return Verdict::kDone;
  }

  /// False: more has to come.
  bool read_arguments(std::string& text, OutputEvents& events) {
    if (!arguments_->has_begun()) {
      text.erase(0, skip_space(text));
      // A call of what takes nothing may say nothing.
      if (!is_last_ && may_become(text, closing_)) return false;
      if (!closing_.empty() && text.starts_with(closing_)) {
        ArgumentsReader::tell_none(events);
        state_ = State::kClose;
        return true;
      }
    }
    const ArgumentsReader::Verdict verdict = arguments_->read(text, events);
    if (verdict == ArgumentsReader::Verdict::kMore) return false;
    state_ = verdict == ArgumentsReader::Verdict::kComplete ? State::kClose : State::kBroken;
    return true;
  }

  /// Takes `mark`, if it comes, and white space before it. False: it may yet come.
  bool take(std::string& text, std::string_view mark) const {
    if (mark.empty()) return true;
    const std::size_t begin = skip_space(text);
    const std::string_view rest = std::string_view(text).substr(begin);
    if (rest.starts_with(mark)) {
      text.erase(0, begin + mark.size());
      return true;
    }
    return !rest.empty() && !may_become(rest, mark);
  }

  const CallMarks marks_;
  const CallHead head_;
  // Without the white space before it, which models may leave out.
  const std::string_view closing_ = marks_.call_close.substr(skip_space(marks_.call_close));
  State state_ = State::kHead;
  std::unique_ptr<ArgumentsReader> arguments_;
  bool is_last_ = false;
};

}  // namespace

std::vector<std::string> NamedJsonSyntax::signs(const std::string& function,
                                                const std::string& key) const {
  const std::string_view begin = marks().call_open.empty() ? marks().block_open : marks().call_open;
  std::string open = std::string(begin) + std::string(head_.prefix) + function;
  if (head_.has_index) open += ":";
  return {std::move(open), std::string(head_.separator),
          head_.is_braced ? key + ":" + std::string(kBracedQuote) : "\"" + key + "\"",
          std::string(marks().call_close)};
}

std::unique_ptr<ToolCallReader> NamedJsonSyntax::make_reader(const ToolSchemas& /*schemas*/) const {
  return std::make_unique<NamedJsonReader>(marks(), head_);
}

OutputForm::Track NamedJsonSyntax::call(CallForm& form, const std::string& function,
                                        std::optional<SchemaNode::Id> arguments,
                                        bool /*is_free*/) const {
  using Literal = OutputForm::Literal;
  OutputForm::Track call = {
      Literal{std::string(marks().call_open) + std::string(head_.prefix) + function}};
  const OutputForm::Part separator = Literal{std::string(head_.separator)};
  if (head_.is_braced) {
    call.push_back(separator);
    const auto members = arguments ? add_braced_members(form, *arguments) : std::nullopt;
    if (!members) {
      call.push_back(OutputForm::Free{.marks = {{.text = "}" + std::string(marks().call_close)}}});
    } else {
      call.insert(call.end(),
                  {OutputForm::Reference{*members}, Literal{std::string(marks().call_close)}});
    }
    return call;
  }
  if (head_.has_index) {
    std::vector<OutputForm::Track> digits;
    for (char digit = '0'; digit <= '9'; ++digit) digits.push_back({Literal{{digit}}});
    const OutputForm::Reference digit{form.add_rule(std::move(digits))};
    OutputForm::Reference rest{form.add_rule({{separator}})};
    for (int i = 1; i < kIndexDigits; ++i) {
      rest.rule = form.add_rule({{separator}, {digit, rest}});
    }
    call.insert(call.end(), {Literal{":"}, digit, rest});
  } else if (!head_.details.empty()) {
    std::vector<OutputForm::Track> details;
    for (const std::string_view detail : head_.details) {
      details.push_back({Literal{std::string(detail) + std::string(head_.separator)}});
    }
    call.push_back(OutputForm::Reference{form.add_rule(std::move(details))});
  } else {
    call.push_back(separator);
  }
  call.push_back(OutputForm::Value{arguments.value_or(SchemaGraph::kAnyObject)});
  const bool has_close = !marks().call_close.empty() && !marks().ends_answer;
  if (has_close) call.push_back(Literal{std::string(marks().call_close)});
  return call;
}

}  // namespace flashmoe
