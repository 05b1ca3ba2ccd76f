#include "chat/schema_nulls.h"

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <string_view>
#include <utility>

namespace flashmoe {
namespace {

using NullsJson = nlohmann::ordered_json;

/// What is deeper is refused as a schema anyway.
constexpr std::size_t kNullsDepthMax = 256;

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// Of a type, and of one that null is not of.
bool has_another_type(const NullsJson& schema) {
  const auto type = schema.find("type");
  if (type == schema.end() || type->is_null()) return false;
  const auto nullable = schema.find("nullable");
  if (nullable != schema.end() && *nullable == true) return false;
  if (type->is_array()) return std::find(type->begin(), type->end(), "null") == type->end();
  return *type != "null";
}

void drop_nulls(NullsJson& schema, std::size_t depth);

void drop_nulls_of_members(NullsJson& schemas, std::size_t depth) {
  for (auto& [name, schema] : schemas.items()) {
    if (schema.is_null()) schema = true;
    drop_nulls(schema, depth);
  }
}

void drop_nulls(NullsJson& schema, std::size_t depth) {
  if (depth > kNullsDepthMax) return;
  if (schema.is_array()) {
    for (NullsJson& each : schema) drop_nulls(each, depth + 1);
  }
  if (!schema.is_object()) return;
  const bool keeps_const = !has_another_type(schema);
  NullsJson kept = NullsJson::object();
  for (auto& [name, value] : schema.items()) {
    const bool is_said = !value.is_null() || (name == "const" && keeps_const);
    if (is_said) kept.emplace(name, std::move(value));
  }
  schema = std::move(kept);
  for (auto& [name, value] : schema.items()) {
    if (is_one_of(name, {"enum", "const", "default", "examples", "example"})) continue;
    const bool is_by_name = is_one_of(
        name, {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"});
    if (is_by_name && value.is_object()) {
      drop_nulls_of_members(value, depth + 1);
    } else {
      // A schema, a list of them, or more of them that only references lead to.
      drop_nulls(value, depth + 1);
    }
  }
}

}  // namespace

NullsJson without_nulls(const NullsJson& schema) {
  NullsJson out = schema;
  drop_nulls(out, 0);
  return out;
}

}  // namespace flashmoe
