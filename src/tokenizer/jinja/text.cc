#include "tokenizer/jinja/text.h"

#include <utf8proc.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <locale>
#include <sstream>

#include "base/utf8.h"

namespace flashmoe::jinja {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

utf8proc_int32_t as_utf8proc(char32_t c) { return static_cast<utf8proc_int32_t>(c); }

bool is_cased_letter(char32_t c) {
  const auto category = utf8proc_category(as_utf8proc(c));
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
         category == UTF8PROC_CATEGORY_LT;
}

// Digits with a fraction, an exponent or both: "1", "1.", ".5", "1e-3".
bool is_decimal(std::string_view text) {
  const auto skip_digits = [&text] {
    const std::size_t count = std::min(text.find_first_not_of("0123456789"), text.size());
    text.remove_prefix(count);
    return count;
  };
  std::size_t digit_count = skip_digits();
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    digit_count += skip_digits();
  }
  if (digit_count == 0) return false;
  if (!text.starts_with('e')) return text.empty();
  text.remove_prefix(1);
  if (text.starts_with('+') || text.starts_with('-')) text.remove_prefix(1);
  return skip_digits() > 0 && text.empty();
}

// Appends `text` mapped; `previous` is the character before it and becomes its last one.
void append_mapped(std::string_view text, CharacterMap map, std::optional<char32_t>& previous,
                   std::string& out) {
  while (!text.empty()) {
    const CodePoint c = decode(text);
    if (c.size == 1 && c.value == kReplacement) {
      out += text.front();
    } else {
      append_code_point(map(c.value, previous), out);
    }
    previous = c.value;
    text.remove_prefix(c.size);
  }
}

char32_t upper_of(char32_t c) { return static_cast<char32_t>(utf8proc_toupper(as_utf8proc(c))); }
char32_t lower_of(char32_t c) { return static_cast<char32_t>(utf8proc_tolower(as_utf8proc(c))); }
char32_t title_of(char32_t c) { return static_cast<char32_t>(utf8proc_totitle(as_utf8proc(c))); }

}  // namespace

CodePoint decode(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80U) return {lead, 1};
  const std::size_t size = lead >= 0xF0U ? 4 : lead >= 0xE0U ? 3 : 2;
  if (lead < 0xC2U || lead > 0xF4U || text.size() < size) return {kReplacement, 1};
  char32_t value = lead & (0xFFU >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) {
    if (!is_continuation(text[i])) return {kReplacement, 1};
    value = (value << 6U) | (byte(i) & 0x3FU);
  }
  const bool overlong = (size == 3 && value < 0x800) || (size == 4 && value < 0x10000);
  if (overlong || value > 0x10FFFF || is_surrogate(value)) return {kReplacement, 1};
  return {value, size};
}

CodePoint decode_last(std::string_view text) {
  for (std::size_t size = 1; size <= 4 && size <= text.size(); ++size) {
    const std::string_view tail = text.substr(text.size() - size);
    if (is_continuation(tail.front())) continue;
    const CodePoint c = decode(tail);
    if (c.size == size) return c;
    break;
  }
  return {kReplacement, 1};
}

void append_code_point(char32_t value, std::string& out) {
  const auto put = [&](char32_t byte) {
    out += static_cast<char>(static_cast<unsigned char>(byte));
  };
  if (value < 0x80) {
    put(value);
  } else if (value < 0x800) {
    put(0xC0U | (value >> 6U));
    put(0x80U | (value & 0x3FU));
  } else if (value < 0x10000) {
    put(0xE0U | (value >> 12U));
    put(0x80U | ((value >> 6U) & 0x3FU));
    put(0x80U | (value & 0x3FU));
  } else {
    put(0xF0U | (value >> 18U));
    put(0x80U | ((value >> 12U) & 0x3FU));
    put(0x80U | ((value >> 6U) & 0x3FU));
    put(0x80U | (value & 0x3FU));
  }
}

std::size_t count_code_points(std::string_view text) {
  std::size_t count = 0;
  for (; !text.empty(); ++count) text.remove_prefix(decode(text).size);
  return count;
}

std::size_t offset_of(std::string_view text, std::size_t index) {
  std::size_t offset = 0;
  for (; index > 0 && offset < text.size(); --index) offset += decode(text.substr(offset)).size;
  return offset;
}

bool is_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x1F);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_printable(char32_t c) {
  if (c == ' ') return true;
  switch (utf8proc_category(as_utf8proc(c))) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    default:
      return true;
  }
}

std::string_view strip(std::string_view text, Side side,
                       std::optional<std::string_view> characters) {
  const auto removed = [&](std::string_view c) {
    if (!characters) return is_space(decode(c).value);
    for (std::string_view rest = *characters; !rest.empty();) {
      const std::size_t size = decode(rest).size;
      if (rest.substr(0, size) == c) return true;
      rest.remove_prefix(size);
    }
    return false;
  };
  while (side != Side::kRight && !text.empty()) {
    const std::size_t size = decode(text).size;
    if (!removed(text.substr(0, size))) break;
    text.remove_prefix(size);
  }
  while (side != Side::kLeft && !text.empty()) {
    const std::size_t size = decode_last(text).size;
    if (!removed(text.substr(text.size() - size))) break;
    text.remove_suffix(size);
  }
  return text;
}

char32_t upper_character(char32_t c, std::optional<char32_t>) { return upper_of(c); }

char32_t lower_character(char32_t c, std::optional<char32_t>) { return lower_of(c); }

char32_t capitalize_character(char32_t c, std::optional<char32_t> previous) {
  return previous ? lower_of(c) : title_of(c);
}

char32_t title_character(char32_t c, std::optional<char32_t> previous) {
  return previous && is_cased_letter(*previous) ? lower_of(c) : title_of(c);
}

std::string map_characters(std::string_view text, CharacterMap map) {
  std::string out;
  out.reserve(text.size());
  std::optional<char32_t> previous;
  append_mapped(text, map, previous, out);
  return out;
}

MarkedText map_characters(const MarkedText& text, CharacterMap map) {
  MarkedText out;
  out.reserve(text.size());
  std::optional<char32_t> previous;
  std::string mapped;
  text.for_each_run(0, text.size(), [&](std::size_t begin, std::size_t end, Origin origin) {
    mapped.clear();
    append_mapped(std::string_view(text.bytes()).substr(begin, end - begin), map, previous, mapped);
    out.append(mapped, origin);
  });
  return out;
}

std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  std::size_t start = 0;
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint c = decode(text.substr(i));
    const bool is_break = (c.value >= 0x0A && c.value <= 0x0D) ||
                          (c.value >= 0x1C && c.value <= 0x1E) || c.value == 0x85 ||
                          c.value == 0x2028 || c.value == 0x2029;
    if (!is_break) {
      i += c.size;
      continue;
    }
    lines.push_back(text.substr(start, i - start));
    i += c.size;
    if (c.value == '\r' && i < text.size() && text[i] == '\n') ++i;
    start = i;
  }
  if (start < text.size()) lines.push_back(text.substr(start));
  return lines;
}

std::optional<double> parse_real(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  const double sign = negative ? -1.0 : 1.0;
  const std::string lower = map_characters(text, lower_character);
  if (lower == "inf" || lower == "infinity") return sign * std::numeric_limits<double>::infinity();
  if (lower == "nan") return std::copysign(std::numeric_limits<double>::quiet_NaN(), sign);
  if (!is_decimal(lower)) return {};
  // Not from_chars, which older C++ libraries of macOS lack for floating point.
  std::istringstream stream(lower);
  stream.imbue(std::locale::classic());
  double value = 0;
  stream >> value;  // fails beyond the range only, with the end of the range in value
  if (stream.fail() && value == std::numeric_limits<double>::max()) {
    value = std::numeric_limits<double>::infinity();
  }
  return sign * value;
}

bool is_all(std::string_view text, bool (*kind)(char32_t)) {
  if (text.empty()) return false;
  while (!text.empty()) {
    const CodePoint c = decode(text);
    if (!kind(c.value)) return false;
    text.remove_prefix(c.size);
  }
  return true;
}

bool is_letter(char32_t c) {
  const auto category = utf8proc_category(as_utf8proc(c));
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool is_digit(char32_t c) { return utf8proc_category(as_utf8proc(c)) == UTF8PROC_CATEGORY_ND; }

bool is_letter_or_digit(char32_t c) { return is_letter(c) || is_digit(c); }

bool is_cased(std::string_view text, bool upper) {
  bool found = false;
  while (!text.empty()) {
    const CodePoint c = decode(text);
    if (is_cased_letter(c.value)) {
      if ((upper ? upper_of(c.value) : lower_of(c.value)) != c.value) return false;
      found = true;
    }
    text.remove_prefix(c.size);
  }
  return found;
}

}  // namespace flashmoe::jinja
