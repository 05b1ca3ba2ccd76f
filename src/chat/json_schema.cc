#include "chat/json_schema.h"

#include <algorithm>
#include <initializer_list>
#include <set>
#include <string_view>
#include <utility>

namespace flashmoe {
namespace {

using SchemaJson = nlohmann::ordered_json;
using Kind = SchemaNode::Kind;

constexpr std::size_t kNodesMax = 20'000;
constexpr std::size_t kDepthMax = 64;
constexpr std::size_t kTextBytesMax = std::size_t{1} << 20;

std::string json_text(const SchemaJson& value) {
  return value.dump(-1, ' ', false, SchemaJson::error_handler_t::replace);
}

/// Without the quotes around it.
std::string key_text(const std::string& key) {
  const std::string quoted = json_text(SchemaJson(key));
  return quoted.substr(1, quoted.size() - 2);
}

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

}  // namespace

const SchemaNode& JsonSchema::any() {
  static const SchemaNode node;
  return node;
}

const SchemaNode& JsonSchema::any_object() {
  static const SchemaNode node = [] {
    SchemaNode object{.kind = Kind::kObject};
    object.additional = &JsonSchema::any();
    return object;
  }();
  return node;
}

/// Turns one schema into nodes. A place in the document, named by its JSON pointer, is compiled
/// once: references may go in circles.
class SchemaCompiler {
 public:
  SchemaCompiler(const SchemaJson& document, bool is_strict, JsonSchema& out)
      : document_(document), is_strict_(is_strict), out_(out) {}

  Result<const SchemaNode*> compile(const SchemaJson& schema, const std::string& place,
                                    std::size_t depth) {
    if (const auto known = places_.find(place); known != places_.end()) return known->second;
    if (depth > kDepthMax) return fail(place, "schemas may be nested {} deep", kDepthMax);
    FM_ASSIGN_OR_RETURN(SchemaNode* const node, add(place));
    places_[place] = node;
    FM_RETURN_IF_ERROR(fill(schema, place, depth, *node));
    return node;
  }

 private:
  template <typename... Args>
  static Status fail(const std::string& place, fmt::format_string<Args...> format, Args&&... args) {
    return error(StatusCode::kInvalidArgument, "JSON schema at #{}: {}", place,
                 fmt::format(format, std::forward<Args>(args)...));
  }

  Result<SchemaNode*> add(const std::string& place) {
    if (out_.nodes_.size() >= kNodesMax) {
      return fail(place, "more than {} subschemas", kNodesMax);
    }
    out_.nodes_.push_back(std::make_unique<SchemaNode>());
    return out_.nodes_.back().get();
  }

  Status fill(const SchemaJson& schema, const std::string& place, std::size_t depth,
              SchemaNode& node) {
    if (schema.is_boolean()) {
      if (schema.get<bool>()) return Status();
      return fail(place, "false allows nothing");
    }
    if (!schema.is_object()) return fail(place, "must be an object, not {}", schema.type_name());
    FM_RETURN_IF_ERROR(check_keywords(schema, place));
    if (schema.contains("$ref")) return fill_reference(schema["$ref"], place, depth, node);
    if (schema.contains("enum") || schema.contains("const")) return fill_enum(schema, place, node);
    for (const char* name : {"anyOf", "oneOf", "allOf"}) {
      if (!schema.contains(name)) continue;
      return fill_alternatives(schema[name], place + "/" + name, std::string_view(name) == "allOf",
                               depth, node);
    }
    return fill_types(schema, place, depth, node);
  }

  Status check_keywords(const SchemaJson& schema, const std::string& place) const {
    if (!is_strict_) return Status();
    for (const auto& [key, value] : schema.items()) {
      if (is_one_of(key, {"type",      "properties",  "required",      "additionalProperties",
                          "items",     "prefixItems", "minItems",      "maxItems",
                          "minLength", "maxLength",   "enum",          "const",
                          "anyOf",     "oneOf",       "allOf",         "$ref",
                          "$defs",     "definitions", "title",         "description",
                          "default",   "examples",    "example",       "$schema",
                          "$id",       "$comment",    "deprecated",    "readOnly",
                          "writeOnly", "nullable",    "discriminator", "strict"})) {
        continue;
      }
      return fail(place, "{} is not supported; leave it out, or check it yourself", key);
    }
    return Status();
  }

  /// An alternative of one: the node itself may not be complete yet.
  Status fill_reference(const SchemaJson& reference, const std::string& place, std::size_t depth,
                        SchemaNode& node) {
    const auto* const text = reference.get_ptr<const std::string*>();
    if (text == nullptr || !text->starts_with('#')) {
      return fail(place, "$ref must be a text that begins with #");
    }
    const std::string target = text->substr(1);
    SchemaJson::json_pointer pointer;
    try {
      pointer = SchemaJson::json_pointer(target);
    } catch (const SchemaJson::exception&) {
      return fail(place, "$ref {} is no JSON pointer", *text);
    }
    if (!document_.contains(pointer)) return fail(place, "$ref {} leads nowhere", *text);
    FM_ASSIGN_OR_RETURN(const SchemaNode* const referred,
                        compile(document_.at(pointer), target, depth + 1));
    node.kind = Kind::kAnyOf;
    node.alternatives = {referred};
    return check_loops(place, &node);
  }

  /// A value that is itself, and nothing else, would never begin.
  static Status check_loops(const std::string& place, const SchemaNode* node) {
    std::set<const SchemaNode*> seen;
    std::vector<const SchemaNode*> open = {node};
    while (!open.empty()) {
      const SchemaNode* const next = open.back();
      open.pop_back();
      for (const SchemaNode* alternative : next->alternatives) {
        if (alternative == node) return fail(place, "refers to itself alone");
        if (seen.insert(alternative).second) open.push_back(alternative);
      }
    }
    return Status();
  }

  Status fill_enum(const SchemaJson& schema, const std::string& place, SchemaNode& node) {
    const SchemaJson values =
        schema.contains("enum") ? schema["enum"] : SchemaJson::array({schema["const"]});
    if (!values.is_array() || values.empty()) return fail(place, "enum must be a list of values");
    node.kind = Kind::kEnum;
    for (const SchemaJson& value : values) {
      node.texts.push_back(json_text(value));
      text_bytes_ += node.texts.back().size();
    }
    if (text_bytes_ > kTextBytesMax)
      return fail(place, "enums of more than {} bytes", kTextBytesMax);
    return Status();
  }

  Status fill_alternatives(const SchemaJson& schemas, const std::string& place, bool needs_all,
                           std::size_t depth, SchemaNode& node) {
    if (!schemas.is_array() || schemas.empty()) return fail(place, "must be a list of schemas");
    if (needs_all && schemas.size() > 1) {
      return fail(place, "allOf of several schemas is not supported; merge them");
    }
    node.kind = Kind::kAnyOf;
    for (std::size_t i = 0; i < schemas.size(); ++i) {
      FM_ASSIGN_OR_RETURN(const SchemaNode* const alternative,
                          compile(schemas[i], fmt::format("{}/{}", place, i), depth + 1));
      node.alternatives.push_back(alternative);
    }
    return check_loops(place, &node);
  }

  Status fill_types(const SchemaJson& schema, const std::string& place, std::size_t depth,
                    SchemaNode& node) {
    SchemaJson type = schema.value("type", SchemaJson());
    if (type.is_null()) {
      if (schema.contains("properties")) type = "object";
      if (schema.contains("items")) type = "array";
    }
    if (type.is_null()) return Status();
    if (type.is_string() && !schema.value("nullable", SchemaJson(false)).is_boolean()) {
      return fail(place, "nullable must be true or false");
    }
    if (type.is_string() && schema.value("nullable", false)) {
      type = SchemaJson::array({type, "null"});
    }
    if (type.is_string()) return fill_type(type.get<std::string>(), schema, place, depth, node);
    if (!type.is_array() || type.empty())
      return fail(place, "type must be a name or a list of names");
    node.kind = Kind::kAnyOf;
    for (const SchemaJson& name : type) {
      if (!name.is_string()) return fail(place, "type must be a name or a list of names");
      FM_ASSIGN_OR_RETURN(SchemaNode* const alternative, add(place));
      FM_RETURN_IF_ERROR(fill_type(name.get<std::string>(), schema, place, depth, *alternative));
      node.alternatives.push_back(alternative);
    }
    return Status();
  }

  Status fill_type(const std::string& type, const SchemaJson& schema, const std::string& place,
                   std::size_t depth, SchemaNode& node) {
    if (type == "object") return fill_object(schema, place, depth, node);
    if (type == "array") return fill_array(schema, place, depth, node);
    if (type == "string") {
      node.kind = Kind::kString;
      return fill_counts(schema, "minLength", "maxLength", place, node);
    }
    if (type == "number") {
      node.kind = Kind::kNumber;
    } else if (type == "integer") {
      node.kind = Kind::kInteger;
    } else if (type == "boolean") {
      node.kind = Kind::kBoolean;
    } else if (type == "null") {
      node.kind = Kind::kNull;
    } else {
      return fail(place, "type {} is none of JSON's", type);
    }
    return Status();
  }

  Status fill_counts(const SchemaJson& schema, const char* min, const char* max,
                     const std::string& place, SchemaNode& node) const {
    for (const auto& [name, count] : {std::pair(min, &node.count_min), {max, &node.count_max}}) {
      if (!schema.contains(name)) continue;
      if (!schema[name].is_number_unsigned()) return fail(place, "{} must be a count", name);
      *count = schema[name].get<std::size_t>();
    }
    if (node.count_min > node.count_max) return fail(place, "{} is more than {}", min, max);
    return Status();
  }

  Status fill_object(const SchemaJson& schema, const std::string& place, std::size_t depth,
                     SchemaNode& node) {
    node.kind = Kind::kObject;
    const SchemaJson properties = schema.value("properties", SchemaJson::object());
    const SchemaJson required = schema.value("required", SchemaJson::array());
    if (!properties.is_object()) return fail(place, "properties must be an object");
    if (!required.is_array()) return fail(place, "required must be a list of names");
    for (const auto& [key, value] : properties.items()) {
      SchemaJson::json_pointer pointer;
      pointer /= key;
      FM_ASSIGN_OR_RETURN(const SchemaNode* const child,
                          compile(value, place + "/properties" + pointer.to_string(), depth + 1));
      const bool is_required =
          std::find(required.begin(), required.end(), SchemaJson(key)) != required.end();
      node.properties.push_back({key_text(key), child, is_required});
      text_bytes_ += key.size();
    }
    if (text_bytes_ > kTextBytesMax)
      return fail(place, "names of more than {} bytes", kTextBytesMax);
    const SchemaJson additional = schema.value("additionalProperties", SchemaJson());
    if (additional.is_object()) {
      FM_ASSIGN_OR_RETURN(node.additional,
                          compile(additional, place + "/additionalProperties", depth + 1));
    } else if (additional.is_null() ? !schema.contains("properties") : additional == true) {
      // JSON schema lets others in by default; a model that is to fill in a form had better not.
      node.additional = &JsonSchema::any();
    }
    for (const SchemaJson& name : required) {
      const auto is_it = [&](const SchemaNode::Property& property) {
        return name.is_string() && property.key == key_text(name.get<std::string>());
      };
      if (std::none_of(node.properties.begin(), node.properties.end(), is_it)) {
        if (!name.is_string()) return fail(place, "required must be a list of names");
        node.properties.push_back({key_text(name.get<std::string>()), &JsonSchema::any(), true});
      }
    }
    return Status();
  }

  Status fill_array(const SchemaJson& schema, const std::string& place, std::size_t depth,
                    SchemaNode& node) {
    node.kind = Kind::kArray;
    node.items = &JsonSchema::any();
    if (schema.contains("prefixItems")) {
      if (!schema["prefixItems"].is_array()) return fail(place, "prefixItems must be a list");
      for (std::size_t i = 0; i < schema["prefixItems"].size(); ++i) {
        FM_ASSIGN_OR_RETURN(const SchemaNode* const child,
                            compile(schema["prefixItems"][i],
                                    fmt::format("{}/prefixItems/{}", place, i), depth + 1));
        node.prefix.push_back(child);
      }
    }
    if (schema.contains("items")) {
      if (schema["items"] == false) {
        node.items = nullptr;
      } else {
        FM_ASSIGN_OR_RETURN(node.items, compile(schema["items"], place + "/items", depth + 1));
      }
    }
    FM_RETURN_IF_ERROR(fill_counts(schema, "minItems", "maxItems", place, node));
    if (node.items == nullptr && node.count_min > node.prefix.size()) {
      return fail(place, "minItems asks for more items than there may be");
    }
    return Status();
  }

  const SchemaJson& document_;
  const bool is_strict_;
  JsonSchema& out_;
  std::map<std::string, const SchemaNode*> places_;
  std::size_t text_bytes_ = 0;
};

Result<JsonSchema> JsonSchema::compile(const SchemaJson& schema, bool is_strict) {
  JsonSchema compiled;
  SchemaCompiler compiler(schema, is_strict, compiled);
  FM_ASSIGN_OR_RETURN(compiled.root_, compiler.compile(schema, "", 0));
  return compiled;
}

}  // namespace flashmoe
