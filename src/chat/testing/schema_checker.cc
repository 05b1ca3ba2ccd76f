#include "chat/testing/schema_checker.h"

#include <cmath>
#include <regex>

#include "chat/characters.h"

namespace flashmoe::testing {
namespace {

using CheckedJson = nlohmann::ordered_json;

bool is_of_type(const CheckedJson& value, const std::string& type) {
  if (type == "integer") {
    return value.is_number_integer() ||
           (value.is_number() && std::floor(value.get<double>()) == value.get<double>());
  }
  if (type == "number") return value.is_number();
  return type == value.type_name();
}

std::string type_fault(const CheckedJson& value, const CheckedJson& schema) {
  if (!schema.contains("type")) return {};
  const CheckedJson types =
      schema["type"].is_array() ? schema["type"] : CheckedJson::array({schema["type"]});
  for (const CheckedJson& type : types) {
    if (is_of_type(value, type)) return {};
  }
  if (value.is_null() && schema.value("nullable", false)) return {};
  return "type";
}

std::string number_fault(const CheckedJson& value, const CheckedJson& schema) {
  const double x = value.get<double>();
  const auto of = [&](const char* name) { return schema[name].get<double>(); };
  if (schema.contains("minimum") && x < of("minimum")) return "minimum";
  if (schema.contains("maximum") && x > of("maximum")) return "maximum";
  if (schema.contains("exclusiveMinimum") && x <= of("exclusiveMinimum")) return "exclusiveMinimum";
  if (schema.contains("exclusiveMaximum") && x >= of("exclusiveMaximum")) return "exclusiveMaximum";
  if (!schema.contains("multipleOf")) return {};
  const double count = x / of("multipleOf");
  return std::fabs(count - std::round(count)) > 1e-6 * std::max(1.0, std::fabs(count))
             ? "multipleOf"
             : std::string();
}

std::string string_fault(const std::string& text, const CheckedJson& schema) {
  const std::size_t length = characters_of(text).value().size();
  if (length < schema.value("minLength", std::size_t{0})) return "minLength";
  if (length > schema.value("maxLength", std::size_t{1} << 40)) return "maxLength";
  if (!schema.contains("pattern")) return {};
  return std::regex_search(text, std::regex(schema["pattern"].get<std::string>())) ? "" : "pattern";
}

std::string array_fault(const CheckedJson& value, const CheckedJson& schema,
                        const CheckedJson& document) {
  if (value.size() < schema.value("minItems", std::size_t{0})) return "minItems";
  if (value.size() > schema.value("maxItems", std::size_t{1} << 40)) return "maxItems";
  CheckedJson prefix = schema.value("prefixItems", CheckedJson::array());
  CheckedJson items = schema.value("items", CheckedJson(true));
  if (items.is_array()) {
    prefix = items;
    items = schema.value("additionalItems", CheckedJson(true));
  }
  for (std::size_t i = 0; i < value.size(); ++i) {
    const std::string fault =
        fault_by_schema(value[i], i < prefix.size() ? prefix[i] : items, document);
    if (!fault.empty()) return "item: " + fault;
    for (std::size_t k = 0; k < i && schema.value("uniqueItems", false); ++k) {
      if (value[i] == value[k]) return "uniqueItems";
    }
  }
  return {};
}

std::string object_fault(const CheckedJson& value, const CheckedJson& schema,
                         const CheckedJson& document) {
  if (value.size() < schema.value("minProperties", std::size_t{0})) return "minProperties";
  if (value.size() > schema.value("maxProperties", std::size_t{1} << 40)) return "maxProperties";
  for (const CheckedJson& name : schema.value("required", CheckedJson::array())) {
    if (!value.contains(name.get<std::string>())) return "required " + name.dump();
  }
  const CheckedJson named = schema.value("properties", CheckedJson::object());
  for (const auto& [key, member] : value.items()) {
    bool is_known = named.contains(key);
    std::string fault = is_known ? fault_by_schema(member, named[key], document) : "";
    const CheckedJson patterns = schema.value("patternProperties", CheckedJson::object());
    for (const auto& [pattern, inner] : patterns.items()) {
      if (!std::regex_search(key, std::regex(pattern))) continue;
      is_known = true;
      if (fault.empty()) fault = fault_by_schema(member, inner, document);
    }
    if (!is_known && schema.contains("additionalProperties")) {
      fault = fault_by_schema(member, schema["additionalProperties"], document);
    }
    if (fault.empty() && schema.contains("propertyNames")) {
      fault = fault_by_schema(CheckedJson(key), schema["propertyNames"], document);
    }
    if (!fault.empty()) return key + ": " + fault;
  }
  return {};
}

}  // namespace

std::string fault_by_schema(const CheckedJson& value, const CheckedJson& schema,
                            const CheckedJson& document) {
  if (schema.is_boolean()) return schema.get<bool>() ? "" : "false";
  if (schema.contains("$ref")) {
    const std::string pointer = schema["$ref"].get<std::string>().substr(1);
    std::string fault =
        fault_by_schema(value, document.at(CheckedJson::json_pointer(pointer)), document);
    if (!fault.empty()) return fault;
  }
  for (const CheckedJson& each : schema.value("allOf", CheckedJson::array())) {
    if (std::string fault = fault_by_schema(value, each, document); !fault.empty()) return fault;
  }
  for (const char* const name : {"anyOf", "oneOf"}) {
    if (!schema.contains(name)) continue;
    int count = 0;
    for (const CheckedJson& each : schema[name]) {
      count += fault_by_schema(value, each, document).empty() ? 1 : 0;
    }
    if (count == 0 || (std::string(name) == "oneOf" && count > 1)) return name;
  }
  if (schema.contains("const") && value != schema["const"]) return "const";
  if (schema.contains("enum") &&
      std::find(schema["enum"].begin(), schema["enum"].end(), value) == schema["enum"].end()) {
    return "enum";
  }
  if (std::string fault = type_fault(value, schema); !fault.empty()) return fault;
  if (value.is_number()) return number_fault(value, schema);
  if (value.is_string()) return string_fault(value.get<std::string>(), schema);
  if (value.is_array()) return array_fault(value, schema, document);
  return value.is_object() ? object_fault(value, schema, document) : "";
}

}  // namespace flashmoe::testing
