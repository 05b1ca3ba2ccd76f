#include "cli/option_values.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "format/printable.h"

namespace flashmoe::cli {
namespace {

/// From here on a bound is there to keep arithmetic safe, and says nothing to a reader.
constexpr std::uint64_t kBoundWorthTelling = std::uint64_t{1} << 30;

bool parse(std::string_view text, std::uint64_t& number) {
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  return failure == std::errc() && end == text.data() + text.size();
}

bool parse(std::string_view text, double& number) {
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  return failure == std::errc() && end == text.data() + text.size() && std::isfinite(number);
}

}  // namespace

std::string check_whole_number(std::string_view text, const WholeRange& range) {
  std::uint64_t number = 0;
  if (parse(text, number) && number >= range.min && number <= range.max) return "";
  const std::string expected =
      range.max == std::numeric_limits<std::uint64_t>::max()
          ? (range.min == 0 ? "0 to 2^64 - 1" : fmt::format("{} on", range.min))
          : (range.max >= kBoundWorthTelling ? fmt::format("{} on", range.min)
                                             : fmt::format("{} to {}", range.min, range.max));
  return fmt::format("'{}' is not a whole number from {}", printable(text), expected);
}

std::string check_decimal(std::string_view text, const DecimalRange& range) {
  double number = 0;
  if (parse(text, number) && number >= range.min && number <= range.max) return "";
  const std::string expected = range.max >= static_cast<double>(kBoundWorthTelling)
                                   ? fmt::format("{} on", range.min)
                                   : fmt::format("{} to {}", range.min, range.max);
  return fmt::format("'{}' is not a number from {}", printable(text), expected);
}

std::uint64_t whole_number(std::string_view text) {
  std::uint64_t number = 0;
  parse(text, number);
  return number;
}

double decimal_number(std::string_view text) {
  double number = 0;
  parse(text, number);
  return number;
}

CLI::Option* choose_from(CLI::Option* option, std::vector<std::string> names) {
  option->type_name(fmt::format("{}", fmt::join(names, "|")));
  return option->check([names = std::move(names)](const std::string& text) {
    if (std::ranges::find(names, text) != names.end()) return std::string();
    return fmt::format("'{}' is not one of {}", printable(text), fmt::join(names, ", "));
  });
}

namespace internal {

CLI::Option* add_checked(CLI::App& command, const std::string& names, const std::string& help,
                         const std::function<std::string(const std::string&)>& check,
                         const std::function<void(const std::string&)>& set) {
  return command.add_option_function<std::string>(names, set, help)->check(check);
}

std::string shown_default(double value) { return fmt::format("{}", value); }

}  // namespace internal

}  // namespace flashmoe::cli
