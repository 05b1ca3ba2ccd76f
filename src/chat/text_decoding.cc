#include "chat/text_decoding.h"

#include <algorithm>

#include "chat/characters.h"

namespace flashmoe {
namespace {

using Term = RegularLanguage::Term;

/// What is known of a character whose bytes have not all come, in 32 bits.
struct Partial {
  enum class Kind : std::uint8_t {
    kNone,
    kUtf8,     // `value`: bits so far, `count`: bytes to come
    kSettled,  // `count` bytes to come, whatever they are: the term is the one behind them
    kEscape,   // after a backslash
    kDigits,   // of \u: `value`, `count` of them
    kPair,     // after the first half of a surrogate pair, `high`
    kPairSlash,
    kPairDigits,
  };
  Kind kind = Kind::kNone;
  std::uint32_t count = 0;
  std::uint32_t value = 0;  // 16 bits
  std::uint32_t high = 0;   // of a surrogate: its last 10 bits

  std::uint32_t packed() const {
    return static_cast<std::uint32_t>(kind) << 29 | count << 26 | high << 16 | value;
  }
  static Partial unpacked(std::uint32_t bits) {
    return {.kind = static_cast<Kind>(bits >> 29),
            .count = bits >> 26 & 7,
            .value = bits & 0xFFFF,
            .high = bits >> 16 & 0x3FF};
  }
};

std::optional<TextProgress> whole_character(RegularLanguage& language, Term term, char32_t c) {
  const Term to = language.next(term, c);
  if (to == RegularLanguage::kNothing) return std::nullopt;
  return TextProgress{to, 0};
}

std::optional<TextProgress> with(Term term, const Partial& partial, bool is_possible) {
  if (!is_possible) return std::nullopt;
  return TextProgress{term, partial.packed()};
}

/// `bits` of a character are known, `count` bytes of 6 bits are to come, `total` bytes follow the
/// first.
std::optional<TextProgress> after_bits(RegularLanguage& language, Term term, std::uint32_t bits,
                                       int count, int total) {
  const char32_t begin = bits << (6 * count);
  const char32_t end = begin | ((1u << (6 * count)) - 1);
  const char32_t first = std::max(begin, least_character(total));
  const char32_t last = std::min<char32_t>(end, RegularLanguage::kLastCharacter);
  if (first > last) return std::nullopt;
  const bool has_surrogates = first <= 0xDFFF && last >= 0xD800;
  const bool is_whole = first == begin && last == end && !has_surrogates;
  if (is_whole) {
    // Where all ways lead to one place, it does not matter which is taken.
    if (const std::optional<Term> to = language.common_next(term, first, last)) {
      const Partial settled{.kind = Partial::Kind::kSettled,
                            .count = static_cast<std::uint32_t>(count)};
      return with(*to, settled, *to != RegularLanguage::kNothing);
    }
  }
  // Beginnings of longer characters are told from those of shorter ones by what must be there: the
  // total is kept in `high`.
  const Partial partial{.kind = Partial::Kind::kUtf8,
                        .count = static_cast<std::uint32_t>(count),
                        .value = bits,
                        .high = static_cast<std::uint32_t>(total)};
  const bool is_possible = has_surrogates
                               ? (first < 0xD800 && language.goes_on(term, first, 0xD7FF)) ||
                                     (last > 0xDFFF && language.goes_on(term, 0xE000, last))
                               : language.goes_on(term, first, last);
  return with(term, partial, is_possible);
}

std::optional<TextProgress> begin_character(RegularLanguage& language, Term term,
                                            unsigned char byte) {
  const int count = continuation_count(byte);
  if (count < 0) return std::nullopt;
  if (count == 0) return whole_character(language, term, byte);
  return after_bits(language, term, byte & (0x3Fu >> count), count, count);
}

/// Within a character, of UTF-8.
std::optional<TextProgress> go_on(RegularLanguage& language, Term term, Partial partial,
                                  unsigned char byte) {
  if ((byte & 0xC0) != 0x80) return std::nullopt;
  if (partial.kind == Partial::Kind::kSettled) {
    if (--partial.count == 0) return TextProgress{term, 0};
    return with(term, partial, true);
  }
  const std::uint32_t bits = partial.value << 6 | (byte & 0x3F);
  const auto total = static_cast<int>(partial.high);
  if (partial.count > 1) {
    return after_bits(language, term, bits, static_cast<int>(partial.count) - 1, total);
  }
  if (bits < least_character(total) || bits > RegularLanguage::kLastCharacter ||
      is_surrogate(bits)) {
    return std::nullopt;
  }
  return whole_character(language, term, bits);
}

/// Characters that begin as these digits of \u, `count` of four, say.
bool may_be_escaped(RegularLanguage& language, Term term, std::uint32_t value,
                    std::uint32_t count) {
  const std::uint32_t rest = 4 * (4 - count);
  const char32_t first = value << rest;
  const char32_t last = first | ((1u << rest) - 1);
  if (last < 0xD800 || first > 0xDFFF) return language.goes_on(term, first, last);
  if (first < 0xD800 && language.goes_on(term, first, 0xD7FF)) return true;
  if (last > 0xDFFF && language.goes_on(term, 0xE000, last)) return true;
  // First halves of pairs: each stands for 1024 characters.
  const char32_t high_first = std::max<char32_t>(first, 0xD800);
  const char32_t high_last = std::min<char32_t>(last, 0xDBFF);
  return high_first <= high_last && language.goes_on(term, joined_surrogates(high_first, 0xDC00),
                                                     joined_surrogates(high_last, 0xDFFF));
}

std::optional<TextProgress> read_escaped(RegularLanguage& language, Term term, unsigned char byte) {
  switch (byte) {
    case 'b':
      return whole_character(language, term, U'\b');
    case 'f':
      return whole_character(language, term, U'\f');
    case 'n':
      return whole_character(language, term, U'\n');
    case 'r':
      return whole_character(language, term, U'\r');
    case 't':
      return whole_character(language, term, U'\t');
    case '"':
    case '\\':
    case '/':
      return whole_character(language, term, byte);
    case 'u':
      return with(term, {.kind = Partial::Kind::kDigits}, may_be_escaped(language, term, 0, 0));
    default:
      return std::nullopt;
  }
}

std::optional<TextProgress> read_digit(RegularLanguage& language, Term term, Partial partial,
                                       unsigned char byte) {
  const int digit = hex_value(static_cast<char>(byte));
  if (digit < 0) return std::nullopt;
  partial.value = partial.value << 4 | static_cast<std::uint32_t>(digit);
  ++partial.count;
  if (partial.kind == Partial::Kind::kPairDigits) {
    const std::uint32_t rest = 4 * (4 - partial.count);
    const char32_t first = std::max<char32_t>(partial.value << rest, 0xDC00);
    const char32_t last = std::min<char32_t>((partial.value << rest) | ((1u << rest) - 1), 0xDFFF);
    if (first > last) return std::nullopt;
    const char32_t high = 0xD800 + partial.high;
    if (partial.count == 4) {
      return whole_character(language, term, joined_surrogates(high, first));
    }
    return with(
        term, partial,
        language.goes_on(term, joined_surrogates(high, first), joined_surrogates(high, last)));
  }
  if (partial.count < 4) {
    return with(term, partial, may_be_escaped(language, term, partial.value, partial.count));
  }
  const char32_t c = partial.value;
  if (is_low_surrogate(c)) return std::nullopt;
  if (!is_high_surrogate(c)) return whole_character(language, term, c);
  return with(term, {.kind = Partial::Kind::kPair, .high = c - 0xD800},
              may_be_escaped(language, term, partial.value, 4));
}

}  // namespace

std::optional<TextProgress> read_utf8_byte(RegularLanguage& language, const TextProgress& at,
                                           unsigned char byte) {
  const Partial partial = Partial::unpacked(at.partial);
  if (partial.kind == Partial::Kind::kNone) return begin_character(language, at.term, byte);
  return go_on(language, at.term, partial, byte);
}

std::optional<TextProgress> read_string_byte(RegularLanguage& language, const TextProgress& at,
                                             unsigned char byte) {
  Partial partial = Partial::unpacked(at.partial);
  switch (partial.kind) {
    case Partial::Kind::kNone:
      if (byte < 0x20 || byte == '"') return std::nullopt;
      if (byte != '\\') return begin_character(language, at.term, byte);
      return with(at.term, {.kind = Partial::Kind::kEscape},
                  language.goes_on(at.term, 0, RegularLanguage::kLastCharacter));
    case Partial::Kind::kUtf8:
    case Partial::Kind::kSettled:
      return go_on(language, at.term, partial, byte);
    case Partial::Kind::kEscape:
      return read_escaped(language, at.term, byte);
    case Partial::Kind::kDigits:
    case Partial::Kind::kPairDigits:
      return read_digit(language, at.term, partial, byte);
    case Partial::Kind::kPair:
      partial.kind = Partial::Kind::kPairSlash;
      return with(at.term, partial, byte == '\\');
    case Partial::Kind::kPairSlash:
      partial.kind = Partial::Kind::kPairDigits;
      return with(at.term, partial, byte == 'u');
  }
  return std::nullopt;
}

}  // namespace flashmoe
