#ifndef FLASHMOE_CHAT_OUTPUT_PARSER_H_
#define FLASHMOE_CHAT_OUTPUT_PARSER_H_

#include <memory>
#include <string>
#include <string_view>

#include "chat/call_syntax.h"
#include "chat/output_event.h"
#include "chat/tool_call_reader.h"

namespace flashmoe {

/// Takes a model's output apart into reasoning, text and tool calls, as it comes. However the text
/// is cut, the events put together are the same. Marks are never told as text; what turns out to be
/// no call is. One thread at a time.
class OutputParser {
 public:
  struct Options {
    ToolSyntax tools = ToolSyntax::kNone;  // kNone: calls are text like any other
    /// The prompt ends within <think>: the output begins with reasoning.
    bool begins_in_reasoning = false;
    bool is_plain = false;  // all of it is text, whatever it looks like
  };

  /// `schemas` must outlive the parser.
  OutputParser(const Options& options, const ToolSchemas& schemas);

  /// Appends to `events` what is certain now that `text`, whole characters, has come.
  void push(std::string_view text, OutputEvents& events);
  /// The output is over. `is_cut`: it was to go on.
  void finish(OutputEvents& events, bool is_cut = false);

  /// Whether it ended within a call's markup, before there was a name to tell.
  bool ends_in_call() const { return ends_in_call_; }

 private:
  enum class State : std::uint8_t { kBeginning, kReasoning, kText, kCall };

  void run(OutputEvents& events, bool is_last);
  bool run_beginning(OutputEvents& events, bool is_last);
  bool run_reasoning(OutputEvents& events, bool is_last);
  bool run_text(OutputEvents& events, bool is_last);
  bool run_call(OutputEvents& events, bool is_last);
  /// Tells text; white space waits until it is known that something else follows.
  void tell_text(std::string_view text, OutputEvents& events);
  void tell_space(OutputEvents& events);
  std::size_t position_of(std::string_view part) const;
  static void tell(OutputEvent::Kind kind, std::string_view text, OutputEvents& events);

  void drop_cut_mark();
  /// Where the end of `text` that may be the beginning of a call begins; its size if there is none.
  std::size_t possible_calls(std::string_view text) const;

  const CallSyntax* const syntax_;  // null: calls are text like any other
  const ToolSchemas& schemas_;
  State state_;
  bool ends_in_call_ = false;
  std::string text_;          // that has come and is not told
  std::size_t received_ = 0;  // bytes of output
  std::string space_;         // white space that has come after text that is told
  std::size_t space_begin_ = 0;
  bool has_text_ = false;     // some of the reasoning is told
  bool skips_space_ = false;  // the next text begins with layout
  std::unique_ptr<ToolCallReader> call_;
  std::string mark_;  // that began the call
};

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_OUTPUT_PARSER_H_
