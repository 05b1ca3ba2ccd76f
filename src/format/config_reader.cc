#include "format/config_reader.h"

#include <fmt/ranges.h>

#include <cmath>
#include <optional>
#include <utility>

#include "format/printable.h"

namespace flashmoe {
namespace {

using nlohmann::json;

/// The member of `object` at the dotted path `name`; null if it is absent or null itself.
const json* find_path(const json& object, std::string_view name) {
  const json* value = &object;
  for (std::string_view rest = name; !rest.empty();) {
    const std::size_t dot = rest.find('.');
    const std::string key(rest.substr(0, dot));
    rest = dot == std::string_view::npos ? std::string_view() : rest.substr(dot + 1);
    if (!value->is_object()) return nullptr;
    const auto member = value->find(key);
    if (member == value->end()) return nullptr;
    value = &*member;
  }
  return value->is_null() ? nullptr : value;
}

/// A whole number of at least 0, which some tools write as 24.0; or nothing.
std::optional<std::uint64_t> natural_number(const json& value) {
  // The parser yields unsigned numbers, code that builds JSON signed ones as well.
  if (value.is_number_unsigned()) return value.get<std::uint64_t>();
  if (value.is_number_integer()) {
    const auto number = value.get<std::int64_t>();
    return number >= 0 ? std::optional(static_cast<std::uint64_t>(number)) : std::nullopt;
  }
  if (!value.is_number_float()) return std::nullopt;
  const auto number = value.get<double>();
  constexpr double kExactMax = 9007199254740992;  // 2^53: beyond, neighbours are one number
  if (!(number >= 0) || number > kExactMax || number != std::floor(number)) return std::nullopt;
  return static_cast<std::uint64_t>(number);
}

std::string number_within(double min, double max) {
  return fmt::format("a number from {} to {}", min, max);
}

/// A value as messages quote it.
std::string shown(const json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return fmt::format("a list of {}", value.size());
  if (value.is_number_float()) return fmt::format("{}", value.get<double>());  // infinity as well
  return printable(value.dump(-1, ' ', false, json::error_handler_t::replace));
}

}  // namespace

ConfigReader::Found ConfigReader::find(const FieldNames& field) const {
  for (const std::string_view name : field.names()) {
    if (const json* value = find_path(*object_, name)) return {name, value};
  }
  return {};
}

bool ConfigReader::has(const FieldNames& field) const { return find(field).value != nullptr; }

Result<ConfigReader::Found> ConfigReader::require(const FieldNames& field,
                                                  std::string_view expected) const {
  const Found found = find(field);
  if (found.value != nullptr) return found;
  return error(StatusCode::kNotFound,
               "{}: field {}{} is absent, which should be {}; download the file again, or add the "
               "field",
               file_, prefix_, fmt::join(field.names(), " or "), expected);
}

Status ConfigReader::wrong(std::string_view name, const json& value,
                           std::string_view expected) const {
  return error(StatusCode::kCorrupt,
               "{}: field {}{} is {}, which should be {}; download the file again, or correct the "
               "field",
               file_, prefix_, name, shown(value), expected);
}

Status ConfigReader::reject(StatusCode code, const FieldNames& field,
                            std::string_view reason) const {
  const Found found = find(field);
  const std::string_view name = found.value != nullptr ? found.name : field.names().front();
  return error(code, "{}: field {}{}: {}", file_, prefix_, name, reason);
}

Result<std::uint64_t> ConfigReader::as_uint(std::string_view name, const json& value,
                                            std::uint64_t min, std::uint64_t max) const {
  const std::optional<std::uint64_t> number = natural_number(value);
  if (number && *number >= min && *number <= max) return *number;
  return wrong(name, value, fmt::format("a whole number from {} to {}", min, max));
}

Result<std::uint64_t> ConfigReader::uint(const FieldNames& field, std::uint64_t min,
                                         std::uint64_t max) const {
  FM_ASSIGN_OR_RETURN(const Found found,
                      require(field, fmt::format("a whole number from {} to {}", min, max)));
  return as_uint(found.name, *found.value, min, max);
}

Result<std::uint64_t> ConfigReader::uint_or(const FieldNames& field, std::uint64_t fallback,
                                            std::uint64_t min, std::uint64_t max) const {
  if (!has(field)) return fallback;
  return uint(field, min, max);
}

Result<double> ConfigReader::number(const FieldNames& field, double min, double max) const {
  FM_ASSIGN_OR_RETURN(const Found found, require(field, number_within(min, max)));
  return as_number(found.name, *found.value, min, max);
}

Result<double> ConfigReader::as_number(std::string_view name, const json& value, double min,
                                       double max) const {
  if (value.is_number()) {
    const auto number = value.get<double>();
    if (std::isfinite(number) && number >= min && number <= max) return number;
  }
  return wrong(name, value, number_within(min, max));
}

Result<double> ConfigReader::number_or(const FieldNames& field, double fallback, double min,
                                       double max) const {
  if (!has(field)) return fallback;
  return number(field, min, max);
}

Result<bool> ConfigReader::boolean(const FieldNames& field) const {
  FM_ASSIGN_OR_RETURN(const Found found, require(field, "true or false"));
  if (!found.value->is_boolean()) return wrong(found.name, *found.value, "true or false");
  return found.value->get<bool>();
}

Result<bool> ConfigReader::boolean_or(const FieldNames& field, bool fallback) const {
  if (!has(field)) return fallback;
  return boolean(field);
}

Result<std::string> ConfigReader::string(const FieldNames& field) const {
  FM_ASSIGN_OR_RETURN(const Found found, require(field, "a string"));
  if (!found.value->is_string()) return wrong(found.name, *found.value, "a string");
  return found.value->get<std::string>();
}

Result<std::string> ConfigReader::string_or(const FieldNames& field, std::string fallback) const {
  if (!has(field)) return fallback;
  return string(field);
}

Result<std::vector<std::uint64_t>> ConfigReader::uint_list(const FieldNames& field,
                                                           std::uint64_t min,
                                                           std::uint64_t max) const {
  const std::string expected =
      fmt::format("a whole number from {} to {}, or a list of them", min, max);
  FM_ASSIGN_OR_RETURN(const Found found, require(field, expected));
  std::vector<std::uint64_t> numbers;
  if (found.value->is_number()) {
    FM_ASSIGN_OR_RETURN(const std::uint64_t number, as_uint(found.name, *found.value, min, max));
    numbers.push_back(number);
    return numbers;
  }
  if (!found.value->is_array()) return wrong(found.name, *found.value, expected);
  for (std::size_t i = 0; i < found.value->size(); ++i) {
    FM_ASSIGN_OR_RETURN(const std::uint64_t number,
                        as_uint(fmt::format("{}[{}]", found.name, i), (*found.value)[i], min, max));
    numbers.push_back(number);
  }
  return numbers;
}

Result<std::vector<std::string>> ConfigReader::string_list(const FieldNames& field) const {
  FM_ASSIGN_OR_RETURN(const Found found, require(field, "a list of strings"));
  if (!found.value->is_array()) return wrong(found.name, *found.value, "a list of strings");
  std::vector<std::string> strings;
  for (std::size_t i = 0; i < found.value->size(); ++i) {
    const json& element = (*found.value)[i];
    if (!element.is_string()) {
      return wrong(fmt::format("{}[{}]", found.name, i), element, "a string");
    }
    strings.push_back(element.get<std::string>());
  }
  return strings;
}

Result<std::vector<double>> ConfigReader::number_list(const FieldNames& field, double min,
                                                      double max) const {
  FM_ASSIGN_OR_RETURN(const Found found, require(field, "a list of numbers"));
  if (!found.value->is_array()) return wrong(found.name, *found.value, "a list of numbers");
  std::vector<double> numbers;
  for (std::size_t i = 0; i < found.value->size(); ++i) {
    FM_ASSIGN_OR_RETURN(const double number, as_number(fmt::format("{}[{}]", found.name, i),
                                                       (*found.value)[i], min, max));
    numbers.push_back(number);
  }
  return numbers;
}

Result<ConfigReader> ConfigReader::object(const FieldNames& field) const {
  FM_ASSIGN_OR_RETURN(const Found found, require(field, "an object"));
  if (!found.value->is_object()) return wrong(found.name, *found.value, "an object");
  return ConfigReader(*found.value, file_, fmt::format("{}{}.", prefix_, found.name));
}

}  // namespace flashmoe
