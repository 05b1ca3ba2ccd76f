#ifndef FLASHMOE_CHAT_CHARACTERS_H_
#define FLASHMOE_CHAT_CHARACTERS_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/utf8.h"

namespace flashmoe {

/// Of a hexadecimal digit; negative: it is none.
inline int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/// Bytes that follow `lead` in a UTF-8 character; negative: it begins none.
inline int continuation_count(unsigned char lead) {
  if (lead < 0x80) return 0;
  if (lead >= 0xC2 && lead <= 0xDF) return 1;
  if (lead >= 0xE0 && lead <= 0xEF) return 2;
  return lead >= 0xF0 && lead <= 0xF4 ? 3 : -1;
}

/// The least character that needs so many bytes after its first: shorter ones must not be written
/// with as many.
inline char32_t least_character(int continuation) {
  return continuation == 1 ? 0x80 : continuation == 2 ? 0x800 : continuation == 3 ? 0x10000 : 0;
}

/// Of UTF-8; none if it is not.
inline std::optional<std::u32string> characters_of(std::string_view utf8) {
  if (find_invalid_utf8(utf8) != std::string_view::npos) return std::nullopt;
  std::u32string out;
  for (std::size_t at = 0; at < utf8.size();) out += next_code_point(utf8, at);
  return out;
}

inline std::string utf8_of(std::u32string_view characters) {
  std::string out;
  for (const char32_t c : characters) append_utf8(c, out);
  return out;
}

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_CHARACTERS_H_
