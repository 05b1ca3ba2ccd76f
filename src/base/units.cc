#include "base/units.h"

#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>

namespace flashmoe {
namespace {

constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();

/// Nothing that has a size here is of so few bytes: whoever leaves the unit away means another one.
constexpr std::uint64_t kBareSizeMin = std::uint64_t{1} << 20;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// "", "b", "k", "kb", "kib", "m", ... to the bytes of one.
std::optional<std::uint64_t> parse_unit(std::string_view text) {
  if (text.empty() || (text.size() == 1 && to_lower(text[0]) == 'b')) return 1;
  constexpr std::string_view kPrefixes = "kmgt";
  const std::size_t prefix = kPrefixes.find(to_lower(text[0]));
  if (prefix == std::string_view::npos) return std::nullopt;
  std::string suffix;
  for (const char c : text.substr(1)) suffix += to_lower(c);
  std::uint64_t base = 1024;
  if (suffix == "b") {
    base = 1000;
  } else if (!suffix.empty() && suffix != "ib") {
    return std::nullopt;
  }
  std::uint64_t unit = 1;
  for (std::size_t i = 0; i <= prefix; ++i) unit *= base;
  return unit;
}

std::string_view trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) {
  const auto failed = [text](std::string_view why) {
    return error(StatusCode::kInvalidArgument,
                 "'{}' {}; write a number and a unit, as 12GiB, 17.7GB or 512M", text, why);
  };
  std::string_view rest = trim(text);
  if (!rest.empty() && rest[0] == '-') return failed("is a negative size");

  // Whole numbers throughout: a double would not hold every byte count.
  std::uint64_t whole = 0;
  std::size_t at = 0;
  for (; at < rest.size() && is_digit(rest[at]); ++at) {
    const auto digit = static_cast<std::uint64_t>(rest[at] - '0');
    if (whole > (kMax - digit) / 10) return failed("is too large a size");
    whole = whole * 10 + digit;
  }
  std::size_t digit_count = at;
  std::string_view decimals;
  if (at < rest.size() && rest[at] == '.') {
    const std::size_t begin = ++at;
    while (at < rest.size() && is_digit(rest[at])) ++at;
    decimals = rest.substr(begin, at - begin);
    digit_count += decimals.size();
  }
  if (digit_count == 0) return failed("is not a size");
  const std::string_view unit_text = trim(rest.substr(at));
  const std::optional<std::uint64_t> unit = parse_unit(unit_text);
  if (!unit) return failed("is not a size");

  if (whole > kMax / *unit) return failed("is too large a size");
  // 0.d1d2d3... * unit, by long division from the last digit; digits past the 18th weigh less than
  // a byte of a tebibyte.
  decimals = decimals.substr(0, 18);
  unsigned __int128 numerator = 0, denominator = 1;
  for (const char c : decimals) {
    numerator = numerator * 10 + static_cast<unsigned>(c - '0');
    denominator *= 10;
  }
  const auto part = static_cast<std::uint64_t>(numerator * *unit / denominator);
  if (whole * *unit > kMax - part) return failed("is too large a size");
  const std::uint64_t size = whole * *unit + part;
  if (unit_text.empty() && size > 0 && size < kBareSizeMin) {
    const std::string_view number = rest.substr(0, at);
    return error(StatusCode::kInvalidArgument,
                 "'{0}' has no unit, and would be bytes; write {0}GiB or {0}MiB, or {0}B if bytes "
                 "are meant",
                 number);
  }
  return size;
}

std::string format_size(std::uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  constexpr std::array<std::string_view, 6> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  // 1023.95 would print as 1024.0.
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  // As people write it: 64 MiB, where it is that to the byte.
  const bool is_whole = bytes % (std::uint64_t{1} << (10 * (unit + 1))) == 0;
  return fmt::format("{:.{}f} {}", value, is_whole ? 0 : 1, kUnits[unit]);
}

std::string format_seconds(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  if (seconds < 0.9995e-3) return fmt::format("{:.0f} us", seconds * 1e6);
  if (seconds < 0.99995) return fmt::format("{:.1f} ms", seconds * 1e3);
  if (seconds < 119.5) return fmt::format("{:.2f} s", seconds);
  const double rounded = std::round(seconds);
  return fmt::format("{:.0f} min {:02.0f} s", std::floor(rounded / 60), std::fmod(rounded, 60));
}

std::string format_rate(double bytes_per_second) {
  if (!std::isfinite(bytes_per_second) || bytes_per_second < 0) return "?";
  if (bytes_per_second < 999.5) return fmt::format("{:.0f} B/s", bytes_per_second);
  constexpr std::array<std::string_view, 4> kUnits = {"kB/s", "MB/s", "GB/s", "TB/s"};
  double value = bytes_per_second / 1000;
  std::size_t unit = 0;
  while (value >= 999.995 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{:.2f} {}", value, kUnits[unit]);
}

}  // namespace flashmoe
