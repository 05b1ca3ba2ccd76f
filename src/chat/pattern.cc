#include "chat/pattern.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "chat/characters.h"

namespace flashmoe {
namespace {

using Term = RegularLanguage::Term;
using Range = RegularLanguage::Range;

constexpr std::size_t kPatternBytesMax = 16'384;
constexpr std::size_t kGroupDepthMax = 100;
constexpr std::uint32_t kCountMax = 1'000'000'000;
constexpr char32_t kLast = RegularLanguage::kLastCharacter;

/// A part of an expression. `at_begin` is what it matches where the text begins, `later` what it
/// matches elsewhere: a ^ matches the empty text at the one, and nothing at the other.
struct Fragment {
  Term at_begin = RegularLanguage::kEmpty;
  Term later = RegularLanguage::kEmpty;
  bool can_be_empty_at_begin = true;  // then what follows is at the beginning, too
};

std::vector<Range> inverted(std::vector<Range> ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const Range& x, const Range& y) { return x.first < y.first; });
  std::vector<Range> out;
  char32_t from = 0;
  for (const Range& range : ranges) {
    if (range.first > from) out.push_back({from, static_cast<char32_t>(range.first - 1)});
    from = std::max(from, static_cast<char32_t>(range.last + 1));
  }
  if (from <= kLast) out.push_back({from, kLast});
  return out;
}

std::vector<Range> class_of(char32_t letter) {
  switch (letter) {
    case U'd':
      return {{U'0', U'9'}};
    case U'w':
      return {{U'0', U'9'}, {U'A', U'Z'}, {U'_', U'_'}, {U'a', U'z'}};
    case U's':
      return {{9, 13},          {32, 32},         {0xA0, 0xA0},     {0x1680, 0x1680},
              {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F},
              {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
    case U'D':
    case U'W':
    case U'S':
      return inverted(class_of(letter - U'A' + U'a'));
    default:
      return {};
  }
}

class PatternReader {
 public:
  PatternReader(std::u32string text, RegularLanguage& language)
      : text_(std::move(text)), language_(language) {}

  Result<Term> read() {
    if (std::u32string_view(text_).starts_with(U"^(?=") ||
        std::u32string_view(text_).starts_with(U"^(?!")) {
      return read_with_lookahead();
    }
    FM_ASSIGN_OR_RETURN(const Fragment whole, read_alternatives(0));
    if (at_ < text_.size()) return fail("a ) without a (");
    // Found at the beginning, or anywhere behind it.
    const Term any = RegularLanguage::kAnything;
    const Term before = language_.sequence(RegularLanguage::kAnyCharacter, any);
    const Term later = language_.sequence(before, whole.later);
    return language_.sequence(language_.either({whole.at_begin, later}), any);
  }

 private:
  /// What must be, or must not be, where the whole text begins: pydantic and zod write that.
  Result<Term> read_with_lookahead() {
    const Term any = RegularLanguage::kAnything;
    std::vector<Term> all;
    ++at_;  // ^
    while (true) {
      const bool must_be = takes(U"(?=");
      if (!must_be && !takes(U"(?!")) break;
      FM_ASSIGN_OR_RETURN(const Fragment inner, read_alternatives(1));
      if (!takes(U')')) return fail("a ( without a )");
      const Term seen = language_.sequence(inner.at_begin, any);
      all.push_back(must_be ? seen : language_.complement(seen));
    }
    FM_ASSIGN_OR_RETURN(const Fragment rest, read_sequence(0));
    if (at_ < text_.size()) return fail("lookahead beside alternatives, which is not supported,");
    all.push_back(language_.sequence(rest.at_begin, any));
    return language_.both(std::move(all));
  }

  Status fail(std::string_view what) const {
    return error(StatusCode::kInvalidArgument, "{} at character {}", what, at_);
  }
  bool has_more() const { return at_ < text_.size(); }
  bool takes(char32_t c) {
    if (!has_more() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool takes(std::u32string_view word) {
    if (!std::u32string_view(text_).substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  static Fragment of(Term term, const RegularLanguage& language) {
    return {term, term, language.accepts_empty(term)};
  }

  Result<Fragment> read_alternatives(std::size_t depth) {
    if (depth > kGroupDepthMax) return fail("groups are nested too deep");
    std::vector<Term> at_begin;
    std::vector<Term> later;
    bool can_be_empty = false;
    do {
      FM_ASSIGN_OR_RETURN(const Fragment one, read_sequence(depth));
      at_begin.push_back(one.at_begin);
      later.push_back(one.later);
      can_be_empty |= one.can_be_empty_at_begin;
    } while (takes(U'|'));
    return Fragment{language_.either(std::move(at_begin)), language_.either(std::move(later)),
                    can_be_empty};
  }

  Result<Fragment> read_sequence(std::size_t depth) {
    std::vector<Fragment> parts;
    while (has_more() && text_[at_] != U'|' && text_[at_] != U')') {
      FM_ASSIGN_OR_RETURN(const Fragment part, read_repeated(depth));
      parts.push_back(part);
    }
    // From the end: sequences are nested to the right.
    Fragment whole;
    for (std::size_t i = parts.size(); i-- > 0;) whole = joined(parts[i], whole);
    return whole;
  }

  Fragment joined(const Fragment& first, const Fragment& then) {
    Fragment both;
    both.later = language_.sequence(first.later, then.later);
    both.at_begin = language_.sequence(first.at_begin, then.later);
    if (first.can_be_empty_at_begin) {
      both.at_begin = language_.either({both.at_begin, then.at_begin});
    }
    both.can_be_empty_at_begin = first.can_be_empty_at_begin && then.can_be_empty_at_begin;
    return both;
  }

  Result<Fragment> read_repeated(std::size_t depth) {
    FM_ASSIGN_OR_RETURN(Fragment part, read_atom(depth));
    while (has_more()) {
      std::uint32_t min = 0;
      std::uint32_t max = RegularLanguage::kUnlimited;
      if (takes(U'*')) {
      } else if (takes(U'+')) {
        min = 1;
      } else if (takes(U'?')) {
        max = 1;
      } else {
        const std::size_t begin = at_;
        const std::optional<Status> counts = read_counts(min, max);
        if (!counts) {
          at_ = begin;
          return part;
        }
        FM_RETURN_IF_ERROR(*counts);
      }
      takes(U'?');  // lazy: the same texts
      part = repeated(part, min, max);
    }
    return part;
  }

  Fragment repeated(const Fragment& part, std::uint32_t min, std::uint32_t max) {
    const auto less = [](std::uint32_t count) {
      return count == 0 || count == RegularLanguage::kUnlimited ? count : count - 1;
    };
    if (part.at_begin == part.later) {
      return of(language_.repeat(part.later, min, max), language_);
    }
    Fragment out;
    out.later = language_.repeat(part.later, min, max);
    std::vector<Term> first = {
        language_.sequence(part.at_begin, language_.repeat(part.later, less(min), less(max)))};
    // (^|x)+ at the beginning: as often as wanted, without a character.
    out.can_be_empty_at_begin = min == 0 || part.can_be_empty_at_begin;
    if (out.can_be_empty_at_begin) first.push_back(RegularLanguage::kEmpty);
    if (max == 0) first = {RegularLanguage::kEmpty};
    out.at_begin = language_.either(std::move(first));
    return out;
  }

  /// {m}, {m,} or {m,n}; none: a brace that stands for itself.
  std::optional<Status> read_counts(std::uint32_t& min, std::uint32_t& max) {
    if (!takes(U'{')) return std::nullopt;
    const std::optional<std::uint32_t> first = read_count();
    if (!first) return std::nullopt;
    min = max = *first;
    if (takes(U',')) max = read_count().value_or(RegularLanguage::kUnlimited);
    if (!takes(U'}')) return std::nullopt;
    if (min > max) return fail("a repetition's bounds are the wrong way round");
    return Status();
  }

  std::optional<std::uint32_t> read_count() {
    if (!has_more() || text_[at_] < U'0' || text_[at_] > U'9') return std::nullopt;
    std::uint64_t count = 0;
    for (; has_more() && text_[at_] >= U'0' && text_[at_] <= U'9'; ++at_) {
      count = std::min<std::uint64_t>(count * 10 + (text_[at_] - U'0'), kCountMax);
    }
    return static_cast<std::uint32_t>(count);
  }

  Result<Fragment> read_atom(std::size_t depth) {
    const char32_t c = text_[at_++];
    switch (c) {
      case U'^':
        return Fragment{RegularLanguage::kEmpty, RegularLanguage::kNothing, true};
      case U'$':
        return Fragment{language_.end(), language_.end(), false};
      case U'(':
        return read_group(depth);
      case U'[':
        return read_class();
      case U'.':
        return of(language_.characters(inverted({{10, 10}, {13, 13}, {0x2028, 0x2029}})),
                  language_);
      case U'\\':
        return read_escape();
      case U'*':
      case U'+':
      case U'?':
        return fail("nothing to repeat");
      default:
        return of(language_.characters({{c, c}}), language_);
    }
  }

  Result<Fragment> read_group(std::size_t depth) {
    if (takes(U'?')) {
      if (takes(U"<=") || takes(U"<!") || takes(U'=') || takes(U'!')) {
        return fail("lookaround, which is held at the beginning alone,");
      }
      takes(U'P');
      if (takes(U'<')) {
        while (has_more() && text_[at_] != U'>') ++at_;
        if (!takes(U'>')) return fail("a group's name without an end");
      } else if (!takes(U':')) {
        return fail("a kind of group that is not known");
      }
    }
    FM_ASSIGN_OR_RETURN(const Fragment inner, read_alternatives(depth + 1));
    if (!takes(U')')) return fail("a ( without a )");
    return inner;
  }

  Result<Fragment> read_escape() {
    if (!has_more()) return fail("a lone backslash");
    const char32_t c = text_[at_];
    if (std::vector<Range> ranges = class_of(c); !ranges.empty()) {
      ++at_;
      return of(language_.characters(std::move(ranges)), language_);
    }
    if (c == U'A') {
      ++at_;
      return Fragment{RegularLanguage::kEmpty, RegularLanguage::kNothing, true};
    }
    if (c == U'Z' || c == U'z') {
      ++at_;
      return Fragment{language_.end(), language_.end(), false};
    }
    if (c == U'b' || c == U'B') return fail("a word boundary, which is not supported,");
    FM_ASSIGN_OR_RETURN(const char32_t character, read_escaped_character());
    return of(language_.characters({{character, character}}), language_);
  }

  /// What follows a backslash, where it is one character.
  Result<char32_t> read_escaped_character() {
    const char32_t c = text_[at_++];
    switch (c) {
      case U't':
        return U'\t';
      case U'n':
        return U'\n';
      case U'r':
        return U'\r';
      case U'v':
        return U'\v';
      case U'f':
        return U'\f';
      case U'0':
        return U'\0';
      case U'c':
        if (!has_more()) break;
        return text_[at_++] % 32;
      case U'x':
        return read_hex(2);
      case U'u':
        return read_unicode();
      default:
        break;
    }
    if (c >= U'1' && c <= U'9') return fail("a back reference, which no automaton holds,");
    if (c == U'k') return fail("a back reference, which no automaton holds,");
    if (c == U'p' || c == U'P') return fail("a Unicode property, which is not supported,");
    const bool is_letter = (c >= U'a' && c <= U'z') || (c >= U'A' && c <= U'Z');
    if (is_letter) return fail("an escape that is not known");
    return c;
  }

  Result<char32_t> read_hex(std::size_t digits) {
    char32_t value = 0;
    for (std::size_t i = 0; i < digits; ++i) {
      const int digit =
          has_more() && text_[at_] < 128 ? hex_value(static_cast<char>(text_[at_])) : -1;
      if (digit < 0) return fail("hexadecimal digits are missing");
      value = value * 16 + static_cast<char32_t>(digit);
      ++at_;
    }
    return value;
  }

  Result<char32_t> read_unicode() {
    if (takes(U'{')) {
      char32_t value = 0;
      while (has_more() && text_[at_] != U'}') {
        FM_ASSIGN_OR_RETURN(const char32_t digit, read_hex(1));
        value = value * 16 + digit;
        if (value > kLast) return fail("a character beyond Unicode's");
      }
      if (!takes(U'}')) return fail("a } is missing");
      return value;
    }
    FM_ASSIGN_OR_RETURN(const char32_t high, read_hex(4));
    if (!is_high_surrogate(high) || !takes(U"\\u")) return high;
    FM_ASSIGN_OR_RETURN(const char32_t low, read_hex(4));
    if (!is_low_surrogate(low)) return fail("half a surrogate pair");
    return joined_surrogates(high, low);
  }

  Result<Fragment> read_class() {
    const bool is_inverted = takes(U'^');
    std::vector<Range> ranges;
    while (true) {
      if (!has_more()) return fail("a [ without a ]");
      if (takes(U']')) break;
      std::optional<char32_t> first;
      FM_RETURN_IF_ERROR(read_class_part(first, ranges));
      const bool is_range =
          first && at_ + 1 < text_.size() && text_[at_] == U'-' && text_[at_ + 1] != U']';
      if (!first) continue;
      Range range{*first, *first};
      if (is_range) {
        ++at_;
        std::optional<char32_t> last;
        FM_RETURN_IF_ERROR(read_class_part(last, ranges));
        if (last) {
          range.last = *last;
        } else {
          ranges.push_back({U'-', U'-'});  // [a-\d]
        }
        if (range.last < range.first) return fail("a range that is the wrong way round");
      }
      ranges.push_back(range);
    }
    if (is_inverted) ranges = inverted(std::move(ranges));
    return of(language_.characters(std::move(ranges)), language_);
  }

  /// One character, or a class that is added to `ranges`.
  Status read_class_part(std::optional<char32_t>& character, std::vector<Range>& ranges) {
    const char32_t c = text_[at_++];
    if (c != U'\\') {
      character = c;
      return Status();
    }
    if (!has_more()) return fail("a lone backslash");
    if (const std::vector<Range> named = class_of(text_[at_]); !named.empty()) {
      ++at_;
      ranges.insert(ranges.end(), named.begin(), named.end());
      return Status();
    }
    if (takes(U'b')) {
      character = U'\b';
      return Status();
    }
    FM_ASSIGN_OR_RETURN(character, read_escaped_character());
    return Status();
  }

  const std::u32string text_;
  RegularLanguage& language_;
  std::size_t at_ = 0;
};

/// A day that there is, from year 1 to 9999.
#define FM_YEAR "([1-9]\\d{3}|0[1-9]\\d\\d|00[1-9]\\d|000[1-9])"
#define FM_LEAP_YEAR                                                                       \
  "((\\d[1-9]|[1-9]\\d)(0[48]|[2468][048]|[13579][26])|00(0[48]|[2468][048]|[13579][26])|" \
  "(0[48]|[2468][048]|[13579][26])00)"
#define FM_DATE                                                                           \
  "(" FM_YEAR                                                                             \
  "-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|" \
  "1\\d|2[0-8]))|" FM_LEAP_YEAR "-02-29)"
#define FM_TIME "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,6})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)"
#define FM_BYTE "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define FM_LABEL "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#define FM_GROUP "[0-9A-Fa-f]{1,4}"
#define FM_URI_CHARACTER "([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"

struct Format {
  std::string_view name;
  std::string_view pattern;
};

constexpr Format kFormats[] = {
    {"date", "^" FM_DATE "$"},
    {"time", "^" FM_TIME "$"},
    {"date-time", "^" FM_DATE "T" FM_TIME "$"},
    {"duration",
     "^P(\\d{1,6}W|(\\d{1,6}D|\\d{1,6}M(\\d{1,6}D)?|\\d{1,6}Y(\\d{1,6}M(\\d{1,6}D)?)?)(T(\\d{1,6}H("
     "\\d{1,6}M(\\d{1,6}S)?)?|\\d{1,6}M(\\d{1,6}S)?|\\d{1,6}S))?|T(\\d{1,6}H(\\d{1,6}M(\\d{1,6}S)?)"
     "?|\\d{1,6}M(\\d{1,6}S)?|\\d{1,6}S))$"},
    {"uuid", "^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$"},
    {"email",
     "^[A-Za-z0-9_+-]{1,30}(\\.[A-Za-z0-9_+-]{1,30})?@(" FM_LABEL "\\.){1,4}[A-Za-z]{2,24}$"},
    {"hostname", "^" FM_LABEL "(\\." FM_LABEL "){0,3}$"},
    {"ipv4", "^" FM_BYTE "(\\." FM_BYTE "){3}$"},
    {"ipv6", "^((" FM_GROUP ":){7}" FM_GROUP "|(" FM_GROUP ":){1,6}:" FM_GROUP "|(" FM_GROUP
             ":){1,5}(:" FM_GROUP "){2}|(" FM_GROUP ":){1,4}(:" FM_GROUP "){3}|(" FM_GROUP
             ":){1,3}(:" FM_GROUP "){4}|(" FM_GROUP ":){1,2}(:" FM_GROUP "){5}|" FM_GROUP
             ":(:" FM_GROUP "){6}|(" FM_GROUP ":){1,7}:|:(:" FM_GROUP "){1,7}|::)$"},
    {"uri", "^[A-Za-z][A-Za-z0-9+.-]{0,20}://" FM_LABEL "(\\." FM_LABEL
            "){0,6}(:[1-9]\\d{0,3})?(/" FM_URI_CHARACTER "*)*(\\?(" FM_URI_CHARACTER
            "|[/?])*)?(#(" FM_URI_CHARACTER "|[/?])*)?$"},
};

#undef FM_YEAR
#undef FM_LEAP_YEAR
#undef FM_DATE
#undef FM_TIME
#undef FM_BYTE
#undef FM_LABEL
#undef FM_GROUP
#undef FM_URI_CHARACTER

}  // namespace

Result<Term> compile_pattern(std::string_view pattern, RegularLanguage& language) {
  if (pattern.size() > kPatternBytesMax) {
    return error(StatusCode::kInvalidArgument, "has {} bytes; at most {} are read", pattern.size(),
                 kPatternBytesMax);
  }
  const std::optional<std::u32string> text = characters_of(pattern);
  if (!text) return error(StatusCode::kInvalidArgument, "is no UTF-8");
  return PatternReader(*text, language).read();
}

std::string_view format_pattern(std::string_view format) {
  for (const Format& known : kFormats) {
    if (known.name == format) return known.pattern;
  }
  return {};
}

}  // namespace flashmoe
