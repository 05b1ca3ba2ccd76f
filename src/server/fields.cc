#include "server/fields.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

namespace flashmoe::server {
namespace {

/// The integer that a number is, also one written as 5.0 or 1e3; none where 64 bits do not hold it.
std::optional<std::int64_t> as_integer(const Json& number) {
  if (number.is_number_unsigned()) {
    const auto value = number.get<std::uint64_t>();
    if (!std::in_range<std::int64_t>(value)) return std::nullopt;
    return static_cast<std::int64_t>(value);
  }
  if (number.is_number_integer()) return number.get<std::int64_t>();
  constexpr double kEnd = 0x1p63;
  const auto value = number.get<double>();
  if (!(value >= -kEnd && value < kEnd) || std::trunc(value) != value) return std::nullopt;
  return static_cast<std::int64_t>(value);
}

}  // namespace

Fields::Fields(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
  if (!object.is_object()) {
    error_ = bad_request(where_, fmt::format("must be a JSON object, not {}", object.type_name()));
  }
}

const Json* Fields::find(std::string_view name) const {
  if (!object_.is_object()) return nullptr;
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

void Fields::fail(std::string_view name, std::string message) {
  if (error_) return;
  const std::string field = path(name);
  error_ = bad_request(field, fmt::format("{}: {}", field, message));
}

std::optional<double> Fields::number(std::string_view name, double min, double max) {
  const Json* const value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) {
    fail(name, fmt::format("must be a number, not {}", value->type_name()));
    return std::nullopt;
  }
  const double number = value->get<double>();
  if (number >= min && number <= max) return number;
  fail(name, fmt::format("{} is not from {} to {}", number, min, max));
  return std::nullopt;
}

std::optional<std::int64_t> Fields::integer(std::string_view name, std::int64_t min,
                                            std::int64_t max) {
  const Json* const value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) {
    fail(name, fmt::format("must be a number, not {}", value->type_name()));
    return std::nullopt;
  }
  const std::optional<std::int64_t> integer = as_integer(*value);
  if (integer && *integer >= min && *integer <= max) return integer;
  const bool is_fraction = std::trunc(value->get<double>()) != value->get<double>();
  fail(name, is_fraction ? fmt::format("{} is no integer", dump(*value))
                         : fmt::format("{} is not from {} to {}", dump(*value), min, max));
  return std::nullopt;
}

std::optional<bool> Fields::boolean(std::string_view name) {
  const Json* const value = find(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_boolean()) return value->get<bool>();
  fail(name, fmt::format("must be true or false, not {}", value->type_name()));
  return std::nullopt;
}

std::optional<std::string> Fields::text(std::string_view name) {
  const Json* const value = find(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) return value->get<std::string>();
  fail(name, fmt::format("must be a text, not {}", value->type_name()));
  return std::nullopt;
}

std::vector<std::string> Fields::texts(std::string_view name, std::size_t count_max) {
  const Json* const value = find(name);
  if (value == nullptr) return {};
  if (value->is_string()) return {value->get<std::string>()};
  std::vector<std::string> texts;
  if (value->is_array()) {
    for (const Json& item : *value) {
      if (item.is_string()) texts.push_back(item.get<std::string>());
    }
  }
  if (!value->is_array() || texts.size() != value->size()) {
    fail(name, "must be a text or a list of texts");
  } else if (texts.size() > count_max) {
    fail(name, fmt::format("has {} texts; {} are the most", texts.size(), count_max));
  }
  return texts;
}

const Json* Fields::object(std::string_view name) {
  const Json* const value = find(name);
  if (value == nullptr || value->is_object()) return value;
  fail(name, fmt::format("must be an object, not {}", value->type_name()));
  return nullptr;
}

const Json* Fields::array(std::string_view name) {
  const Json* const value = find(name);
  if (value == nullptr || value->is_array()) return value;
  fail(name, fmt::format("must be a list, not {}", value->type_name()));
  return nullptr;
}

const Json& member(const Json& object, std::string_view name) {
  static const Json kNull;
  const auto found = object.find(name);
  return found == object.end() ? kNull : *found;
}

std::string dump(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace flashmoe::server
