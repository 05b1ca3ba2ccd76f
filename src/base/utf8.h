#ifndef FLASHMOE_BASE_UTF8_H_
#define FLASHMOE_BASE_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace flashmoe {

/// U+FFFD, which stands for bytes that are no character.
inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

/// What stands at the beginning of some bytes.
struct Utf8Step {
  enum class Kind : std::uint8_t {
    kComplete,    // `size` bytes are one code point
    kIncomplete,  // all `size` bytes at hand are the beginning of one code point
    kInvalid,     // the first `size` bytes can never be part of one (a "maximal subpart")
  };
  Kind kind = Kind::kInvalid;
  std::size_t size = 0;
};

/// Classifies the beginning of `bytes`, which must not be empty (Unicode 15.0, table 3-7).
Utf8Step step_utf8(std::string_view bytes);

/// Offset of the first byte that is not part of valid UTF-8, or npos.
std::size_t find_invalid_utf8(std::string_view text);

/// True if no byte of `text` has its high bit set.
bool is_ascii(std::string_view text);

/// The code point at `offset` of valid UTF-8; moves `offset` behind it.
char32_t next_code_point(std::string_view text, std::size_t& offset);

/// The offset of the code point before `offset` (> 0) in valid UTF-8.
std::size_t previous_offset(std::string_view text, std::size_t offset);

void append_utf8(char32_t code_point, std::string& out);

/// Halves of a code point beyond U+FFFF in UTF-16, and in the escapes of JSON.
inline bool is_high_surrogate(char32_t c) { return c >= 0xD800 && c <= 0xDBFF; }
inline bool is_low_surrogate(char32_t c) { return c >= 0xDC00 && c <= 0xDFFF; }
inline bool is_surrogate(char32_t c) { return is_high_surrogate(c) || is_low_surrogate(c); }
inline char32_t joined_surrogates(char32_t high, char32_t low) {
  return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
}

/// `bytes` between quotes for a message: controls and what is not ASCII as \xNN, the end cut off if
/// it is long.
std::string quote_bytes(std::string_view bytes);

/// Unicode White_Space, what \s means in a split pattern.
bool is_white_space(char32_t code_point);

/// Turns a stream of bytes into valid UTF-8. Holds back at most three bytes that may still become a
/// code point; bytes that cannot become one turn into U+FFFD, one per maximal subpart, as decoding
/// all bytes at once would give.
class Utf8Repairer {
 public:
  void push(std::string_view bytes, std::string& out);

  /// No more bytes come, or what comes is a text of its own: an incomplete code point is U+FFFD.
  void flush(std::string& out);

 private:
  char held_[4] = {};
  std::size_t held_size_ = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_BASE_UTF8_H_
