#include "chat/decimal.h"

#include <algorithm>
#include <charconv>
#include <string_view>

namespace flashmoe {
namespace {

constexpr int kExponentMax = 400;

int sign_of(int difference) { return difference < 0 ? -1 : difference > 0 ? 1 : 0; }

}  // namespace

std::optional<Decimal> Decimal::of(const nlohmann::ordered_json& number) {
  if (!number.is_number()) return std::nullopt;
  const std::string text = number.dump();
  std::string_view rest = text;
  Decimal decimal;
  decimal.is_negative = rest.starts_with('-');
  if (decimal.is_negative) rest.remove_prefix(1);
  int exponent = 0;
  if (const std::size_t at = rest.find_first_of("eE"); at != std::string_view::npos) {
    std::string_view digits = rest.substr(at + 1);
    if (digits.starts_with('+')) digits.remove_prefix(1);
    std::from_chars(digits.data(), digits.data() + digits.size(), exponent);
    rest = rest.substr(0, at);
  }
  if (exponent > kExponentMax || exponent < -kExponentMax) return std::nullopt;
  const std::size_t point = rest.find('.');
  std::string integer(rest.substr(0, point));
  std::string fraction(point == std::string_view::npos ? "" : rest.substr(point + 1));
  for (; exponent > 0; --exponent) {
    integer += fraction.empty() ? '0' : fraction.front();
    if (!fraction.empty()) fraction.erase(0, 1);
  }
  for (; exponent < 0; ++exponent) {
    fraction.insert(fraction.begin(), integer.empty() ? '0' : integer.back());
    if (!integer.empty()) integer.pop_back();
  }
  integer.erase(0, std::min(integer.find_first_not_of('0'), integer.size()));
  fraction.erase(fraction.find_last_not_of('0') + 1);
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (!std::all_of(integer.begin(), integer.end(), is_digit)) return std::nullopt;  // nan, inf
  decimal.integer = integer.empty() ? "0" : integer;
  decimal.fraction = fraction;
  if (decimal.is_zero()) decimal.is_negative = false;
  return decimal;
}

bool DecimalComparison::push(char c, const Decimal& bound) {
  const bool is_digit = c >= '0' && c <= '9';
  switch (phase) {
    case Phase::kBegin:
      if (c == '-') {
        is_negative = true;
        phase = Phase::kMinus;
        return true;
      }
      [[fallthrough]];
    case Phase::kMinus:
      phase = Phase::kInteger;
      [[fallthrough]];
    case Phase::kInteger:
      if (is_digit) {
        // More digits than the bound has are more, whatever they are.
        if (digits >= bound.integer.size()) {
          digits = static_cast<std::uint16_t>(bound.integer.size() + 1);
          order = 1;
        } else {
          if (order == 0) order = static_cast<std::int8_t>(sign_of(c - bound.integer[digits]));
          ++digits;
        }
        return true;
      }
      if (c != '.') return false;
      if (digits < bound.integer.size()) order = -1;
      phase = Phase::kPoint;
      digits = 0;
      return true;
    case Phase::kPoint:
    case Phase::kFraction:
      if (!is_digit) return false;
      phase = Phase::kFraction;
      if (order != 0) return true;
      order = static_cast<std::int8_t>(
          sign_of(c - (digits < bound.fraction.size() ? bound.fraction[digits] : '0')));
      // Beyond the bound's digits there are zeros only: no need to count on.
      if (digits < bound.fraction.size()) ++digits;
      if (order != 0) digits = 0;
      return true;
  }
  return false;
}

std::optional<int> DecimalComparison::order_to(const Decimal& bound) const {
  int magnitude = order;
  switch (phase) {
    case Phase::kBegin:
    case Phase::kMinus:
    case Phase::kPoint:
      return std::nullopt;
    case Phase::kInteger:
      if (digits < bound.integer.size()) {
        magnitude = -1;
      } else if (order == 0 && !bound.fraction.empty()) {
        magnitude = -1;
      }
      break;
    case Phase::kFraction:
      if (order == 0 && digits < bound.fraction.size()) magnitude = -1;
      break;
  }
  if (is_negative && bound.is_negative) return -magnitude;
  if (is_negative) return magnitude == 0 && bound.is_zero() ? 0 : -1;
  return bound.is_negative ? 1 : magnitude;
}

std::uint32_t DecimalComparison::packed() const {
  return static_cast<std::uint32_t>(phase) | (is_negative ? 8u : 0u) |
         static_cast<std::uint32_t>(order + 1) << 4 | static_cast<std::uint32_t>(digits) << 8;
}

DecimalComparison DecimalComparison::unpacked(std::uint32_t packed) {
  return {.phase = static_cast<Phase>(packed & 7),
          .is_negative = (packed & 8) != 0,
          .order = static_cast<std::int8_t>(static_cast<int>(packed >> 4 & 3) - 1),
          .digits = static_cast<std::uint16_t>(packed >> 8)};
}

}  // namespace flashmoe
