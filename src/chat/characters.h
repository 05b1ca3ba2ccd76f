#ifndef FLASHMOE_CHAT_CHARACTERS_H_
#define FLASHMOE_CHAT_CHARACTERS_H_

#include <optional>
#include <string>
#include <string_view>

namespace flashmoe {

/// Of a hexadecimal digit; negative: it is none.
inline int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

inline bool is_high_surrogate(char32_t c) { return c >= 0xD800 && c <= 0xDBFF; }
inline bool is_low_surrogate(char32_t c) { return c >= 0xDC00 && c <= 0xDFFF; }
inline char32_t joined_surrogates(char32_t high, char32_t low) {
  return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
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
  std::u32string out;
  for (std::size_t i = 0; i < utf8.size();) {
    const auto lead = static_cast<unsigned char>(utf8[i++]);
    const int count = continuation_count(lead);
    if (count < 0 || utf8.size() - i < static_cast<std::size_t>(count)) return std::nullopt;
    char32_t c = count == 0 ? lead : lead & (0x3Fu >> count);
    for (int k = 0; k < count; ++k, ++i) {
      const auto byte = static_cast<unsigned char>(utf8[i]);
      if ((byte & 0xC0) != 0x80) return std::nullopt;
      c = c << 6 | (byte & 0x3F);
    }
    if (c < least_character(count) || c > 0x10FFFF || is_high_surrogate(c) || is_low_surrogate(c)) {
      return std::nullopt;
    }
    out += c;
  }
  return out;
}

inline std::string utf8_of(std::u32string_view characters) {
  std::string out;
  for (const char32_t c : characters) {
    const int count = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    const char32_t lead = count == 0 ? 0 : (0xF00u >> count) & 0xFF;
    out += static_cast<char>(lead | c >> (6 * count));
    for (int k = count; k-- > 0;) out += static_cast<char>(0x80 | (c >> (6 * k) & 0x3F));
  }
  return out;
}

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_CHARACTERS_H_
