#ifndef FLASHMOE_CHAT_JSON_SCHEMA_H_
#define FLASHMOE_CHAT_JSON_SCHEMA_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "chat/regular_language.h"

namespace flashmoe {

/// What a JSON value may be. Nodes refer to each other by their number in the graph, in circles
/// where a schema refers to itself.
struct SchemaNode {
  using Id = std::uint32_t;
  static constexpr std::uint32_t kUnlimited = std::numeric_limits<std::uint32_t>::max();

  enum class Kind : std::uint8_t {
    kNever,   // no value
    kAny,     // any value
    kString,  // whose characters are a text of `text`
    kText,    // what is written is a text of `text`: numbers, literals, enums
    kObject,
    kArray,
    kAnyOf,  // as one of `alternatives`
  };
  struct Property {
    std::string key;  // as JSON writes it, with its quotes
    Id value = 0;
    bool is_required = false;
  };
  /// Properties that have no name of their own in the schema, by their keys.
  struct OtherProperties {
    RegularLanguage::Term key = RegularLanguage::kAnything;
    Id value = 0;
  };

  Kind kind = Kind::kAny;
  RegularLanguage::Term text = RegularLanguage::kNothing;
  std::vector<Property> properties;  // in the order in which they come
  std::vector<OtherProperties> others;
  std::vector<Id> prefix;  // of an array
  Id items = 0;            // after the prefix
  std::uint32_t count_min = 0;
  std::uint32_t count_max = kUnlimited;  // items or properties
  std::vector<std::string> values;       // JSON; not empty: all that there are
  /// Not empty: the items are some of these texts, each at most once.
  std::vector<std::string> unique_items;
  std::vector<Id> alternatives;
};

/// What several schemas allow, in one language of texts.
struct SchemaGraph {
  // Nodes that every graph has.
  static constexpr SchemaNode::Id kNever = 0;
  static constexpr SchemaNode::Id kAny = 1;
  static constexpr SchemaNode::Id kAnyObject = 2;
  static constexpr SchemaNode::Id kAnyArray = 3;

  SchemaGraph();

  std::vector<SchemaNode> nodes;
  RegularLanguage texts;
  RegularLanguage::Term number = RegularLanguage::kNothing;  // any, as JSON writes it
  RegularLanguage::Term word = RegularLanguage::kNothing;    // true, false or null
};

struct SchemaOptions {
  /// What cannot be held to is an error; else a hint.
  bool is_strict = false;
};

/// Adds what a JSON schema allows to `graph`, and says where. Held to are types, properties in the
/// schema's order, required, additionalProperties, patternProperties, propertyNames, counts of
/// properties and items, items and prefixItems, uniqueItems of enums, lengths, patterns, formats,
/// bounds and multiples of numbers, enum, const, anyOf, allOf, oneOf as anyOf, and references
/// within the document; all of them combined. Properties that are not named do not come unless the
/// schema asks for them. `hints` has what is not held to, in sentences. Errors: kInvalidArgument,
/// naming the place in the schema: it is malformed, refers to nowhere, is too large, or allows no
/// value at all.
Result<SchemaNode::Id> compile_schema(const nlohmann::ordered_json& schema,
                                      const SchemaOptions& options, SchemaGraph& graph,
                                      std::vector<std::string>& hints);

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_JSON_SCHEMA_H_
