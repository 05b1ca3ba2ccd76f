#ifndef FLASHMOE_CHAT_MARKS_H_
#define FLASHMOE_CHAT_MARKS_H_

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace flashmoe {

inline constexpr std::string_view kWhiteSpace = " \t\r\n";

/// Where the end of `text` that may be the beginning of `mark` begins; its size if there is none.
inline std::size_t possible_mark(std::string_view text, std::string_view mark) {
  const std::size_t longest = std::min(text.size(), mark.size() - 1);
  for (std::size_t size = longest; size > 0; --size) {
    if (mark.starts_with(text.substr(text.size() - size))) return text.size() - size;
  }
  return text.size();
}

/// Whether `text` is a part of `mark`, from its beginning, that more text may complete.
inline bool may_become(std::string_view text, std::string_view mark) {
  return text.size() < mark.size() && mark.starts_with(text);
}

/// The first byte that is not white space; its size if there is none.
inline std::size_t skip_space(std::string_view text, std::size_t from = 0) {
  return std::min(text.find_first_not_of(kWhiteSpace, from), text.size());
}

inline std::string_view without_space(std::string_view text) {
  text.remove_prefix(skip_space(text));
  return text.substr(0, text.find_last_not_of(kWhiteSpace) + 1);
}

/// So much of a mark where an output was cut is one that was cut, not text.
inline constexpr std::size_t kCutMarkBytes = 6;

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_MARKS_H_
