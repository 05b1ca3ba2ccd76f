#include "tokenizer/jinja/string_literal.h"

#include <charconv>
#include <cstddef>
#include <cstdint>

#include "base/utf8.h"
#include "tokenizer/jinja/text.h"

namespace flashmoe::jinja {
namespace {

// Reads exactly `digit_count` hex digits after the escape letter at literal[at].
Status append_hex_escape(std::string_view literal, std::size_t at, std::size_t digit_count,
                         std::string& out) {
  const std::string_view digits = literal.substr(at + 1, digit_count);
  std::uint32_t value = 0;
  const auto [end, failure] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (digits.size() != digit_count || failure != std::errc() || end != digits.end()) {
    return error(StatusCode::kCorrupt, "escape \\{} needs {} hexadecimal digits", literal[at],
                 digit_count);
  }
  if (value > 0x10FFFF || is_surrogate(value)) {
    return error(StatusCode::kCorrupt, "escape \\{}{} is not a character", literal[at], digits);
  }
  append_code_point(value, out);
  return Status();
}

// Up to three octal digits at literal[at]; returns how many there were.
std::size_t append_octal_escape(std::string_view literal, std::size_t at, std::string& out) {
  char32_t value = 0;
  std::size_t count = 0;
  for (; count < 3 && at + count < literal.size(); ++count) {
    const char c = literal[at + count];
    if (c < '0' || c > '7') break;
    value = value * 8 + static_cast<char32_t>(c - '0');
  }
  append_code_point(value, out);
  return count;
}

}  // namespace

Result<std::string> unescape(std::string_view literal) {
  static constexpr std::string_view kLetters = "\\'\"abfnrtv";
  static constexpr std::string_view kValues = "\\'\"\a\b\f\n\r\t\v";
  std::string out;
  out.reserve(literal.size());
  for (std::size_t i = 0; i < literal.size(); ++i) {
    if (literal[i] != '\\' || i + 1 == literal.size()) {
      out += literal[i];
      continue;
    }
    const char c = literal[++i];
    const std::size_t letter = kLetters.find(c);
    if (letter != std::string_view::npos) {
      out += kValues[letter];
    } else if (c >= '0' && c <= '7') {
      i += append_octal_escape(literal, i, out) - 1;
    } else if (c == 'x' || c == 'u' || c == 'U') {
      const std::size_t digit_count = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      FM_RETURN_IF_ERROR(append_hex_escape(literal, i, digit_count, out));
      i += digit_count;
    } else if (c != '\n') {  // a backslash at the end of a line joins it with the next
      out += '\\';
      out += c;
    }
  }
  return out;
}

}  // namespace flashmoe::jinja
