#ifndef FLASHMOE_TOKENIZER_REPLY_MARKS_H_
#define FLASHMOE_TOKENIZER_REPLY_MARKS_H_

#include <string>
#include <string_view>
#include <vector>

#include "flashmoe/chat_prompt.h"
#include "tokenizer/jinja/marked_text.h"
#include "tokenizer/token_id.h"

namespace flashmoe {

/// The control tokens that what an assistant said may hold: the marks of reasoning and of calls
/// (<think>, <tool_call>), never those that begin or end a turn. A client sends an answer back as
/// it came, and those marks are the model's own syntax.
class ReplyMarks {
 public:
  ReplyMarks() = default;
  explicit ReplyMarks(std::vector<std::string> texts);

  /// In which spans of a rendered text control tokens are not to be read: all that the template did
  /// not write, but for these marks in what the model did.
  std::vector<TextSpan> quoted(const jinja::MarkedText& text) const;

  const std::vector<std::string>& texts() const { return texts_; }

 private:
  /// The size of the mark that `text` begins with, or 0.
  std::size_t size_at(std::string_view text) const;

  std::vector<std::string> texts_;  // the longest first
  std::string first_bytes_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_TOKENIZER_REPLY_MARKS_H_
