#ifndef FLASHMOE_CLI_SHOWN_ANSWER_H_
#define FLASHMOE_CLI_SHOWN_ANSWER_H_

#include <string>
#include <string_view>

#include "chat/output_parser.h"

namespace flashmoe::cli {

/// A model's answer as people and scripts are shown it, whatever marks the model puts around its
/// thoughts. To people thoughts are dim, with a blank line behind them. Scripts have them between
/// <think> and </think>, as most models write them; an answer in those very marks is left as it is.
class ShownAnswer {
 public:
  /// `is_dim`: for people, in a terminal that has colors.
  ShownAnswer(const OutputParser::Options& parsing, bool is_dim);

  /// What to show now that `text`, whole characters of the answer, has come.
  std::string push(std::string_view text);
  /// What is left to show. `is_cut`: the answer was to go on.
  std::string finish(bool is_cut);

  /// What the answer says, and what was thought before: what a conversation keeps. An answer that
  /// has <think> and </think> itself is all text, since templates take it so.
  const std::string& text() const { return text_; }
  const std::string& thoughts() const { return thoughts_; }

 private:
  std::string show(OutputEvents events);

  const bool is_plain_;  // shown as it comes
  const bool keeps_marks_;
  const bool is_dim_;
  const ToolSchemas no_tools_;
  OutputParser parser_;
  bool is_thinking_ = false;
  std::string text_;
  std::string thoughts_;
};

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_SHOWN_ANSWER_H_
