#ifndef FLASHMOE_CHAT_JSON_SCHEMA_H_
#define FLASHMOE_CHAT_JSON_SCHEMA_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"

namespace flashmoe {

/// What a JSON value may be, as a tree (with loops, where a schema refers to itself) that
/// JsonAutomaton walks.
struct SchemaNode {
  enum class Kind : std::uint8_t {
    kAny,
    kObject,
    kArray,
    kString,
    kNumber,
    kInteger,
    kBoolean,
    kNull,
    kEnum,   // one of `texts`
    kAnyOf,  // as one of `alternatives`
  };
  struct Property {
    std::string key;  // as JSON writes it, without quotes
    const SchemaNode* value = nullptr;
    bool is_required = false;
  };

  Kind kind = Kind::kAny;
  std::vector<Property> properties;
  const SchemaNode* additional = nullptr;  // of objects: other properties; null: there are none
  const SchemaNode* items = nullptr;       // of arrays, after `prefix`; null: no more
  std::vector<const SchemaNode*> prefix;
  std::size_t count_min = 0;  // items, or code points
  std::size_t count_max = std::numeric_limits<std::size_t>::max();
  std::vector<std::string> texts;  // JSON
  std::vector<const SchemaNode*> alternatives;
};

/// A JSON schema, read. Understood are type, properties, required, additionalProperties, items,
/// prefixItems, minItems, maxItems, minLength, maxLength, enum, const, anyOf, oneOf (as anyOf),
/// allOf of one, $ref within the document, and descriptions. What narrows numbers and strings
/// further (minimum, pattern, format, ...) is refused where `is_strict`, and else ignored.
class JsonSchema {
 public:
  /// Any JSON value at all; any object at all.
  static const SchemaNode& any();
  static const SchemaNode& any_object();

  /// Errors: kInvalidArgument, naming the place in the schema: a keyword that is not understood, a
  /// reference to nowhere, or a schema that is too large or too deep.
  static Result<JsonSchema> compile(const nlohmann::ordered_json& schema, bool is_strict);

  const SchemaNode& root() const { return *root_; }

 private:
  friend class SchemaCompiler;
  std::vector<std::unique_ptr<SchemaNode>> nodes_;
  const SchemaNode* root_ = nullptr;
};

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_JSON_SCHEMA_H_
