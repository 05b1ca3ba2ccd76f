#ifndef FLASHMOE_CLI_OPTION_VALUES_H_
#define FLASHMOE_CLI_OPTION_VALUES_H_

#include <CLI/App.hpp>
#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace flashmoe::cli {

/// The whole numbers that an option takes, bounds included.
struct WholeRange {
  std::uint64_t min = 0;
  std::uint64_t max = std::numeric_limits<std::uint64_t>::max();
};

/// The numbers that an option takes, bounds included.
struct DecimalRange {
  double min = 0;
  double max = std::numeric_limits<double>::max();
};

/// What is wrong with `text` as a decimal number in `range`, in words; empty: nothing. Neither
/// hexadecimal nor octal: 0x1F90 is refused, and 010 is ten.
std::string check_whole_number(std::string_view text, const WholeRange& range);
std::string check_decimal(std::string_view text, const DecimalRange& range);

/// The number in a text that the checks let through.
std::uint64_t whole_number(std::string_view text);
double decimal_number(std::string_view text);

/// Adds an option whose value is a number. `target`, a number or a std::optional of one, must
/// outlive `command`; a number is shown as the default, an optional is not.
template <typename Target>
CLI::Option* add_whole_number(CLI::App& command, const std::string& names, Target& target,
                              const WholeRange& range, const std::string& help);
template <typename Target>
CLI::Option* add_decimal(CLI::App& command, const std::string& names, Target& target,
                         const DecimalRange& range, const std::string& help);

/// Lets `option` take one of `names` alone; help and completion name them.
CLI::Option* choose_from(CLI::Option* option, std::vector<std::string> names);

namespace internal {

/// Adds an option of one value that `check` finds no fault in and `set` takes.
CLI::Option* add_checked(CLI::App& command, const std::string& names, const std::string& help,
                         const std::function<std::string(const std::string&)>& check,
                         const std::function<void(const std::string&)>& set);

std::string shown_default(double value);

template <typename Target>
struct NumberOf {
  using Type = Target;
};
template <typename Value>
struct NumberOf<std::optional<Value>> {
  using Type = Value;
};

}  // namespace internal

template <typename Target>
CLI::Option* add_whole_number(CLI::App& command, const std::string& names, Target& target,
                              const WholeRange& range, const std::string& help) {
  using Number = typename internal::NumberOf<Target>::Type;
  const WholeRange fitting = {
      range.min, std::min<std::uint64_t>(range.max, std::numeric_limits<Number>::max())};
  CLI::Option* const option = internal::add_checked(
      command, names, help,
      [fitting](const std::string& text) { return check_whole_number(text, fitting); },
      [&target](const std::string& text) { target = static_cast<Number>(whole_number(text)); });
  option->type_name("N");
  if constexpr (std::is_same_v<Target, Number>) option->default_str(std::to_string(target));
  return option;
}

template <typename Target>
CLI::Option* add_decimal(CLI::App& command, const std::string& names, Target& target,
                         const DecimalRange& range, const std::string& help) {
  CLI::Option* const option = internal::add_checked(
      command, names, help, [range](const std::string& text) { return check_decimal(text, range); },
      [&target](const std::string& text) { target = decimal_number(text); });
  option->type_name("X");
  if constexpr (std::is_same_v<Target, double>) {
    option->default_str(internal::shown_default(target));
  }
  return option;
}

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_OPTION_VALUES_H_
