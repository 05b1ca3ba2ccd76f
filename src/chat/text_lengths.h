#ifndef FLASHMOE_CHAT_TEXT_LENGTHS_H_
#define FLASHMOE_CHAT_TEXT_LENGTHS_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace flashmoe {

/// How many characters the texts of a language have: lengths that are certain to be there, and
/// bounds that none is beyond. From them follows, without a search, that a language and a length go
/// together, which is most of what schemas ask for.
class TextLengths {
 public:
  static constexpr std::uint32_t kUnlimited = std::numeric_limits<std::uint32_t>::max();

  TextLengths() = default;  // no text
  /// A text of each of these lengths, and no others.
  static TextLengths of(std::uint32_t least, std::uint32_t most);
  /// Nothing is certain.
  static TextLengths unknown();

  static TextLengths either(const TextLengths& x, const TextLengths& y);
  static TextLengths sequence(const TextLengths& x, const TextLengths& y);
  static TextLengths repeated(const TextLengths& x, std::uint32_t count_min,
                              std::uint32_t count_max);
  /// Of two conditions that hold at once: bounds alone.
  static TextLengths both(const TextLengths& x, const TextLengths& y);
  /// Those between two lengths.
  TextLengths within(std::uint32_t least, std::uint32_t most) const;
  /// Without what was certain.
  TextLengths uncertain() const;

  void add_certain(std::uint32_t least, std::uint32_t most);

  bool has_certain() const { return span_count_ > 0; }
  bool is_nothing() const { return least_ > most_; }
  /// Of the certain ones; only if there is one.
  std::uint32_t certain_least() const { return spans_[0].least; }
  std::uint32_t least() const { return least_; }
  std::uint32_t most() const { return most_; }

  static std::uint32_t sum(std::uint32_t x, std::uint32_t y) {
    return x > kUnlimited - y ? kUnlimited : x + y;
  }
  static std::uint32_t product(std::uint32_t x, std::uint32_t y) {
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(std::uint64_t{x} * y, kUnlimited));
  }

 private:
  struct Span {
    std::uint32_t least = 0;
    std::uint32_t most = 0;
  };
  // What does not fit is not certain.
  static constexpr std::size_t kSpansMax = 4;

  std::array<Span, kSpansMax> spans_;  // ascending, with gaps between them
  std::uint32_t span_count_ = 0;
  // The bounds.
  std::uint32_t least_ = kUnlimited;
  std::uint32_t most_ = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_TEXT_LENGTHS_H_
