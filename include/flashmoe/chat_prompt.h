#ifndef FLASHMOE_CHAT_PROMPT_H_
#define FLASHMOE_CHAT_PROMPT_H_

#include <cstddef>
#include <string>
#include <vector>

namespace flashmoe {

/// Bytes [begin, end) of a text.
struct TextSpan {
  std::size_t begin = 0;
  std::size_t end = 0;
  bool operator==(const TextSpan&) const = default;
};

/// What a chat template made of a conversation.
struct ChatPrompt {
  std::string text;
  /// What users, tools and system messages said, and what describes tools: in order, apart, not
  /// empty. No control token is read there or across an edge, so that nobody can end a turn by
  /// writing <|im_end|>.
  std::vector<TextSpan> quoted;

  /// Keeps the first `size` bytes.
  void truncate(std::size_t size) {
    text.resize(size);
    while (!quoted.empty() && quoted.back().begin >= size) quoted.pop_back();
    if (!quoted.empty() && quoted.back().end > size) quoted.back().end = size;
  }
};

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_PROMPT_H_
