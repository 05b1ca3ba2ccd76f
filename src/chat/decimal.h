#ifndef FLASHMOE_CHAT_DECIMAL_H_
#define FLASHMOE_CHAT_DECIMAL_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace flashmoe {

/// A number as its decimal digits, of any length: bounds are compared as they are written, not as
/// doubles.
struct Decimal {
  bool is_negative = false;   // never of zero
  std::string integer = "0";  // without leading zeros
  std::string fraction;       // without trailing zeros

  /// None: no number, or one of more than some hundred digits.
  static std::optional<Decimal> of(const nlohmann::ordered_json& number);

  bool is_zero() const { return integer == "0" && fraction.empty(); }
};

/// Compares a JSON number without exponent with a bound, digit by digit as the text comes.
struct DecimalComparison {
  enum class Phase : std::uint8_t { kBegin, kMinus, kInteger, kPoint, kFraction };
  Phase phase = Phase::kBegin;
  bool is_negative = false;
  std::int8_t order = 0;     // of the digits so far and the bound's: -1, 0, 1
  std::uint16_t digits = 0;  // so far, of the integer or of the fraction

  /// False: no such number goes on with `c`.
  bool push(char c, const Decimal& bound);
  /// How the number so far compares with the bound: -1, 0, 1. None: it is no number yet.
  std::optional<int> order_to(const Decimal& bound) const;

  std::uint32_t packed() const;
  static DecimalComparison unpacked(std::uint32_t packed);
};

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_DECIMAL_H_
