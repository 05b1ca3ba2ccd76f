#ifndef FLASHMOE_TOKENIZER_JINJA_TEXT_H_
#define FLASHMOE_TOKENIZER_JINJA_TEXT_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/jinja/marked_text.h"

namespace flashmoe::jinja {

// Python's view of strings, over UTF-8: positions and characters are code points. A byte that is
// not valid UTF-8 counts as one character and passes through unchanged.

struct CodePoint {
  char32_t value = 0;    // U+FFFD for an invalid byte
  std::size_t size = 0;  // bytes
};

/// The first code point of `text`, which is not empty.
CodePoint decode(std::string_view text);
/// The last code point of `text`, which is not empty.
CodePoint decode_last(std::string_view text);
void append_code_point(char32_t value, std::string& out);
std::size_t count_code_points(std::string_view text);
/// Byte offset of code point `index`, or text.size() past the end.
std::size_t offset_of(std::string_view text, std::size_t index);

/// str.isspace() of one character.
bool is_space(char32_t c);
bool is_printable(char32_t c);

enum class Side { kLeft, kRight, kBoth };
/// str.strip, lstrip, rstrip: removes whitespace, or any of the characters in `characters`.
std::string_view strip(std::string_view text, Side side,
                       std::optional<std::string_view> characters = std::nullopt);

/// What becomes of character `c` behind `previous`, none at the beginning of a text.
using CharacterMap = char32_t (*)(char32_t c, std::optional<char32_t> previous);
char32_t upper_character(char32_t c, std::optional<char32_t> previous);
char32_t lower_character(char32_t c, std::optional<char32_t> previous);
/// str.capitalize(): the first character in upper case, the others in lower case.
char32_t capitalize_character(char32_t c, std::optional<char32_t> previous);
/// str.title(): each run of letters capitalised.
char32_t title_character(char32_t c, std::optional<char32_t> previous);
/// All of `text` mapped, whoever wrote it. Invalid bytes stay as they are.
std::string map_characters(std::string_view text, CharacterMap map);
MarkedText map_characters(const MarkedText& text, CharacterMap map);

/// str.splitlines(), without the line ends.
std::vector<std::string_view> split_lines(std::string_view text);

/// A number as Python's float() reads it, without blanks around it or digit separators: decimal
/// digits with fraction and exponent, inf or nan, a sign before them. Beyond the range of double it
/// is infinite, or zero.
std::optional<double> parse_real(std::string_view text);

/// Whether every character is of the kind and there is at least one: str.isdigit() and friends.
bool is_all(std::string_view text, bool (*kind)(char32_t));
bool is_letter(char32_t c);
bool is_digit(char32_t c);
bool is_letter_or_digit(char32_t c);
/// str.isupper() (`upper`) or str.islower(): some cased character, and none of the other case.
bool is_cased(std::string_view text, bool upper);

}  // namespace flashmoe::jinja

#endif  // FLASHMOE_TOKENIZER_JINJA_TEXT_H_
