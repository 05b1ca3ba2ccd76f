#include "chat/json_schema.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "base/check.h"
#include "chat/characters.h"
#include "chat/pattern.h"
#include "chat/schema_alternatives.h"
#include "chat/schema_context.h"
#include "chat/schema_disjointness.h"
#include "chat/schema_nulls.h"
#include "chat/schema_pruning.h"
#include "chat/schema_scalars.h"

namespace flashmoe {
namespace {

using Id = SchemaNode::Id;
using Kind = SchemaNode::Kind;
using Term = RegularLanguage::Term;

constexpr std::size_t kNodesMax = 20'000;
constexpr std::size_t kDepthMax = 64;
constexpr std::size_t kTextBytesMax = std::size_t{1} << 20;
/// Values that may come once each: which of them have come is kept in so many bits.
constexpr std::size_t kUniqueMax = 64;
/// Patterns of properties: what matches some of them and not others is told apart.
constexpr std::size_t kPatternsMax = 4;
/// Names that a pattern or a list lets properties have, up to which each is a property of its own.
constexpr std::size_t kListedNamesMax = 1'000;
constexpr std::size_t kListedNameLengthMax = 200;
constexpr std::size_t kExclusivePairsMax = 2'000;
constexpr std::size_t kDisjointTextsMax = 1'000'000;

/// What a value may be, a bit each.
enum Types : unsigned {
  kNullType = 1,
  kBooleanType = 2,
  kIntegerType = 4,
  kFractionType = 8,
  kStringType = 16,
  kArrayType = 32,
  kObjectType = 64,
  kAllTypes = 127,
};
constexpr unsigned kNumberType = kIntegerType | kFractionType;

std::string json_text(const SchemaJson& value) {
  return value.dump(-1, ' ', false, SchemaJson::error_handler_t::replace);
}

std::u32string text_characters(const std::string& text) {
  return characters_of(text).value_or(std::u32string(1, U'\uFFFD'));
}

unsigned type_named(std::string_view name) {
  if (name == "null") return kNullType;
  if (name == "boolean") return kBooleanType;
  if (name == "integer") return kIntegerType;
  if (name == "number") return kNumberType;
  if (name == "string") return kStringType;
  if (name == "array") return kArrayType;
  if (name == "object") return kObjectType;
  return 0;
}

unsigned type_bit_of(const SchemaJson& value) {
  if (value.is_null()) return kNullType;
  if (value.is_boolean()) return kBooleanType;
  if (value.is_number_float()) {
    const std::optional<Decimal> number = Decimal::of(value);
    const bool is_whole = number && number->fraction.empty();
    return is_whole ? kNumberType : unsigned{kFractionType};
  }
  if (value.is_number()) return kIntegerType;
  if (value.is_string()) return kStringType;
  return value.is_array() ? kArrayType : kObjectType;
}

/// What a schema without a type speaks of.
unsigned types_spoken_of(const SchemaJson& schema) {
  unsigned types = 0;
  const auto has = [&](std::initializer_list<const char*> words) {
    return std::any_of(words.begin(), words.end(),
                       [&](const char* word) { return schema.contains(word); });
  };
  if (has({"properties", "required", "additionalProperties", "patternProperties", "propertyNames",
           "minProperties", "maxProperties"})) {
    types |= kObjectType;
  }
  if (has({"items", "prefixItems", "minItems", "maxItems", "uniqueItems"})) types |= kArrayType;
  if (has({"minLength", "maxLength", "pattern", "format"})) types |= kStringType;
  if (has({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})) {
    types |= kNumberType;
  }
  return types;
}

/// Turns schemas into nodes. A list of schemas that hold together becomes one node, once:
/// references may go in circles.
class SchemaCompiler {
 public:
  explicit SchemaCompiler(SchemaContext& context)
      : context_(context), graph_(context.graph), alternatives_(context) {}

  Result<Id> compile(const SchemaJson& schema) {
    FM_ASSIGN_OR_RETURN(const Id root, node_of({&schema}, schema));
    FM_RETURN_IF_ERROR(check_exclusive());
    return root;
  }

 private:
  Result<Id> add(const SchemaJson& place) {
    if (graph_.nodes.size() >= kNodesMax) {
      return context_.fail(place, "more than {} subschemas", kNodesMax);
    }
    graph_.nodes.emplace_back();
    return static_cast<Id>(graph_.nodes.size() - 1);
  }

  Result<Id> add(const SchemaJson& place, SchemaNode node) {
    FM_ASSIGN_OR_RETURN(const Id id, add(place));
    graph_.nodes[id] = std::move(node);
    return id;
  }

  /// `place` is for messages.
  Result<Id> node_of(const SchemaList& schemas, const SchemaJson& place) {
    if (const auto known = known_.find(schemas); known != known_.end()) return known->second;
    if (depth_ >= kDepthMax)
      return context_.fail(place, "schemas may be nested {} deep", kDepthMax);
    FM_ASSIGN_OR_RETURN(const Id id, add(place));
    known_.emplace(schemas, id);
    ++depth_;
    FM_ASSIGN_OR_RETURN(const std::vector<SchemaList> ways, alternatives_.of(schemas));
    std::vector<Id> nodes;
    for (const SchemaList& way : ways) {
      FM_RETURN_IF_ERROR(add_way(way, place, ways.size() == 1 ? &id : nullptr, nodes));
    }
    --depth_;
    set_any_of(id, std::move(nodes));
    return id;
  }

  void set_any_of(Id id, std::vector<Id> nodes) {
    if (nodes.size() == 1 && nodes.front() == id) return;
    SchemaNode node{.kind = nodes.empty() ? Kind::kNever : Kind::kAnyOf};
    node.alternatives = std::move(nodes);
    graph_.nodes[id] = std::move(node);
  }

  /// The nodes of schemas that hold all together, a node for each type. `only`: where the node is
  /// to be, if it is one.
  Status add_way(const SchemaList& way, const SchemaJson& place, const Id* only,
                 std::vector<Id>& out) {
    if (way.empty()) {
      out.push_back(SchemaGraph::kAny);
      return Status();
    }
    if (const auto known = known_ways_.find(way); known != known_ways_.end()) {
      out.insert(out.end(), known->second.begin(), known->second.end());
      return Status();
    }
    // Recursion comes back to the node that is begun here, not to this list.
    std::vector<Id> nodes;
    unsigned types = kAllTypes;
    FM_RETURN_IF_ERROR(read_types(way, types));
    bool has_values = false;
    FM_RETURN_IF_ERROR(add_values(way, types, place, nodes, has_values));
    if (!has_values) {
      const bool is_one = types != 0 && (types == kNumberType || (types & (types - 1)) == 0);
      for (const unsigned type :
           {unsigned{kStringType}, kNumberType, unsigned{kBooleanType}, unsigned{kNullType},
            unsigned{kArrayType}, unsigned{kObjectType}}) {
        if ((types & type) == 0) continue;
        Id id = 0;
        if (is_one && only != nullptr) {
          id = *only;
        } else {
          FM_ASSIGN_OR_RETURN(id, add(place));
        }
        SchemaNode node;
        FM_RETURN_IF_ERROR(fill(way, types & type, node));
        graph_.nodes[id] = std::move(node);
        nodes.push_back(id);
      }
    }
    out.insert(out.end(), nodes.begin(), nodes.end());
    known_ways_.emplace(way, std::move(nodes));
    return Status();
  }

  Status read_types(const SchemaList& way, unsigned& types) {
    unsigned spoken_of = 0;
    bool is_said = false;
    for (const SchemaJson* const schema : way) {
      spoken_of |= types_spoken_of(*schema);
      is_said |= schema->contains("enum") || schema->contains("const");
      const auto type = schema->find("type");
      if (type == schema->end() || type->is_null()) continue;
      const SchemaJson names = type->is_string() ? SchemaJson::array({*type}) : *type;
      if (!names.is_array() || names.empty()) {
        return context_.fail(*schema, "type must be a name or a list of names");
      }
      unsigned allowed = 0;
      for (const SchemaJson& name : names) {
        if (!name.is_string()) {
          return context_.fail(*schema, "type must be a name or a list of names");
        }
        const unsigned named = type_named(name.get<std::string>());
        if (named == 0) {
          FM_RETURN_IF_ERROR(context_.not_held(
              *schema,
              fmt::format("type \"{}\", which is none of JSON's,", name.get<std::string>())));
        }
        allowed |= named == 0 ? unsigned{kAllTypes} : named;
      }
      const auto nullable = schema->find("nullable");
      if (nullable != schema->end() && !nullable->is_boolean()) {
        return context_.fail(*schema, "nullable must be true or false");
      }
      if (nullable != schema->end() && nullable->get<bool>()) allowed |= kNullType;
      types &= allowed;
      is_said = true;
    }
    // A schema that speaks of properties alone lets other values in: nobody means that in a form.
    if (!is_said && spoken_of != 0) types = spoken_of;
    return Status();
  }

  /// Those of enum and const that everything else allows.
  Status add_values(const SchemaList& way, unsigned types, const SchemaJson& place,
                    std::vector<Id>& out, bool& has_values) {
    std::optional<SchemaJson> values;
    for (const SchemaJson* const schema : way) {
      for (const char* const name : {"enum", "const"}) {
        const auto found = schema->find(name);
        if (found == schema->end()) continue;
        const bool is_enum = std::string_view(name) == "enum";
        if (is_enum && (!found->is_array() || found->empty())) {
          return context_.fail(*schema, "enum must be a list of values");
        }
        const SchemaJson list = is_enum ? *found : SchemaJson::array({*found});
        if (!values) {
          values = list;
          continue;
        }
        SchemaJson kept = SchemaJson::array();
        for (const SchemaJson& value : *values) {
          if (std::find(list.begin(), list.end(), value) != list.end()) kept.push_back(value);
        }
        values = std::move(kept);
      }
    }
    has_values = values.has_value();
    if (!has_values) return Status();
    return add_enum(way, types, place, *values, out);
  }

  Status add_enum(const SchemaList& way, unsigned types, const SchemaJson& place,
                  const SchemaJson& values, std::vector<Id>& out) {
    FM_ASSIGN_OR_RETURN(const Term strings, string_language(context_, way));
    FM_ASSIGN_OR_RETURN(const Term numbers, number_language(context_, way, /*is_integer=*/false));
    SchemaNode string{.kind = Kind::kString};
    SchemaNode text{.kind = Kind::kText};
    std::vector<std::u32string> string_texts;
    std::vector<std::u32string> texts;
    for (const SchemaJson& value : values) {
      if ((type_bit_of(value) & types) == 0) continue;
      const std::string json = json_text(value);
      FM_RETURN_IF_ERROR(count_text(json, place));
      if (value.is_structured()) {
        FM_ASSIGN_OR_RETURN(const Id id, add_const(value, place, 0));
        out.push_back(id);
      } else if (value.is_string()) {
        std::u32string characters = text_characters(value.get_ref<const std::string&>());
        if (!graph_.texts.accepts(strings, characters)) continue;
        string_texts.push_back(std::move(characters));
        string.values.push_back(json);
      } else {
        const std::u32string characters = text_characters(json);
        if (value.is_number() && !graph_.texts.accepts(numbers, characters)) continue;
        texts.push_back(characters);
        text.values.push_back(json);
      }
    }
    if (!string_texts.empty()) {
      string.text = graph_.texts.one_of(std::move(string_texts));
      FM_ASSIGN_OR_RETURN(const Id id, add(place, std::move(string)));
      out.push_back(id);
    }
    if (texts.empty()) return Status();
    text.text = graph_.texts.one_of(std::move(texts));
    FM_ASSIGN_OR_RETURN(const Id id, add(place, std::move(text)));
    out.push_back(id);
    return Status();
  }

  /// A value that is given, as a schema of which it is the only one.
  Result<Id> add_const(const SchemaJson& value, const SchemaJson& place, std::size_t depth) {
    if (depth > kDepthMax) return context_.fail(place, "values may be nested {} deep", kDepthMax);
    SchemaNode node;
    if (value.is_object()) {
      node.kind = Kind::kObject;
      for (const auto& [key, inner] : value.items()) {
        FM_ASSIGN_OR_RETURN(const Id id, add_const(inner, place, depth + 1));
        node.properties.push_back({json_text(SchemaJson(key)), id, true});
      }
    } else if (value.is_array()) {
      node.kind = Kind::kArray;
      for (const SchemaJson& inner : value) {
        FM_ASSIGN_OR_RETURN(const Id id, add_const(inner, place, depth + 1));
        node.prefix.push_back(id);
      }
      node.count_min = node.count_max = static_cast<std::uint32_t>(node.prefix.size());
    } else if (value.is_string()) {
      node.kind = Kind::kString;
      node.text = graph_.texts.literal(text_characters(value.get_ref<const std::string&>()));
      node.values = {json_text(value)};
    } else {
      node.kind = Kind::kText;
      node.text = graph_.texts.literal(text_characters(json_text(value)));
      node.values = {json_text(value)};
    }
    return add(place, std::move(node));
  }

  Status count_text(std::string_view text, const SchemaJson& place) {
    text_bytes_ += text.size();
    if (text_bytes_ <= kTextBytesMax) return Status();
    return context_.fail(place, "names and values of more than {} bytes", kTextBytesMax);
  }

  Status fill(const SchemaList& way, unsigned type, SchemaNode& node) {
    if (type == kStringType) {
      node.kind = Kind::kString;
      FM_ASSIGN_OR_RETURN(node.text, string_language(context_, way));
    } else if ((type & kNumberType) != 0) {
      node.kind = Kind::kText;
      FM_ASSIGN_OR_RETURN(node.text, number_language(context_, way, type == kIntegerType));
    } else if (type == kBooleanType || type == kNullType) {
      node.kind = Kind::kText;
      if (type == kBooleanType) node.values = {"true", "false"};
      if (type == kNullType) node.values = {"null"};
      std::vector<std::u32string> texts;
      for (const std::string& value : node.values) texts.push_back(text_characters(value));
      node.text = graph_.texts.one_of(std::move(texts));
    } else if (type == kArrayType) {
      return fill_array(way, node);
    } else {
      return fill_object(way, node);
    }
    return Status();
  }

  Status fill_counts(const SchemaList& way, const char* min, const char* max, SchemaNode& node) {
    for (const SchemaJson* const schema : way) {
      FM_ASSIGN_OR_RETURN(const std::uint32_t least, read_count(context_, *schema, min, 0));
      FM_ASSIGN_OR_RETURN(const std::uint32_t most,
                          read_count(context_, *schema, max, SchemaNode::kUnlimited));
      node.count_min = std::max(node.count_min, least);
      node.count_max = std::min(node.count_max, most);
    }
    return Status();
  }

  /// What one schema says of its arrays' items: some that come first, and the others.
  struct Items {
    const SchemaJson* prefix = nullptr;  // a list
    const SchemaJson* others = nullptr;
  };

  Result<Items> items_of(const SchemaJson& schema) {
    Items items;
    const auto find = [&](const char* name) {
      const auto found = schema.find(name);
      return found == schema.end() ? nullptr : context_.child(schema, name, *found);
    };
    items.prefix = find("prefixItems");
    items.others = find("items");
    if (items.prefix == nullptr && items.others != nullptr && items.others->is_array()) {
      items.prefix = items.others;
      items.others = find("additionalItems");
    }
    if (items.prefix != nullptr && !items.prefix->is_array()) {
      return context_.fail(schema, "prefixItems must be a list of schemas");
    }
    return items;
  }

  Status fill_array(const SchemaList& way, SchemaNode& node) {
    node.kind = Kind::kArray;
    FM_RETURN_IF_ERROR(fill_counts(way, "minItems", "maxItems", node));
    std::vector<Items> all;
    std::size_t prefix_size = 0;
    bool is_unique = false;
    bool says_others = false;
    for (const SchemaJson* const schema : way) {
      FM_ASSIGN_OR_RETURN(const Items items, items_of(*schema));
      if (items.prefix != nullptr) prefix_size = std::max(prefix_size, items.prefix->size());
      says_others |= items.others != nullptr;
      is_unique |= schema->value("uniqueItems", SchemaJson()) == true;
      all.push_back(items);
    }
    const SchemaJson& place = *way.front();
    for (std::size_t i = 0; i <= prefix_size; ++i) {
      SchemaList schemas;
      for (const Items& items : all) {
        const bool is_in_prefix = items.prefix != nullptr && i < items.prefix->size();
        if (is_in_prefix) {
          schemas.push_back(context_.child(*items.prefix, std::to_string(i), (*items.prefix)[i]));
        } else if (items.others != nullptr) {
          schemas.push_back(items.others);
        }
      }
      // Behind a prefix nothing comes of which nothing is said, unless it must.
      if (i == prefix_size && prefix_size > 0 && !says_others && node.count_min <= prefix_size) {
        node.items = SchemaGraph::kNever;
        break;
      }
      Id id = SchemaGraph::kAny;
      if (!schemas.empty()) {
        FM_ASSIGN_OR_RETURN(id, node_of(schemas, place));
      }
      if (i < prefix_size) {
        node.prefix.push_back(id);
      } else {
        node.items = id;
      }
    }
    if (!is_unique || node.count_max <= 1) return Status();
    std::set<std::string> values;
    if (node.prefix.empty() && add_values_of(node.items, values, 0) &&
        values.size() <= kUniqueMax) {
      node.unique_items.assign(values.begin(), values.end());
      return Status();
    }
    return context_.not_held(place, "uniqueItems of anything but an enum");
  }

  /// False: there are more than a list of them.
  bool add_values_of(Id id, std::set<std::string>& values, std::size_t depth) const {
    const SchemaNode& node = graph_.nodes[id];
    if (node.kind == Kind::kAnyOf) {
      return depth < kDepthMax &&
             std::all_of(node.alternatives.begin(), node.alternatives.end(),
                         [&](Id each) { return add_values_of(each, values, depth + 1); });
    }
    values.insert(node.values.begin(), node.values.end());
    return !node.values.empty();
  }

  /// What one schema says of its objects' properties.
  struct Properties {
    const SchemaJson* schema = nullptr;
    const SchemaJson* named = nullptr;  // an object; null: none
    std::unordered_map<std::string_view, const SchemaJson*> by_name;
    const SchemaJson* additional = nullptr;  // null: nothing is said
    std::vector<std::pair<Term, const SchemaJson*>> patterns;
    bool is_closed = false;
  };

  Result<Properties> properties_of(const SchemaJson& schema, SchemaNode& node) {
    Properties out{.schema = &schema};
    if (const auto named = schema.find("properties"); named != schema.end()) {
      if (!named->is_object()) return context_.fail(schema, "properties must be an object");
      out.named = context_.child(schema, "properties", *named);
      // Finding one by its name in an ordered object looks at all before it.
      for (const auto& [key, value] : named->items()) out.by_name.emplace(key, &value);
    }
    const auto additional = schema.find("additionalProperties");
    if (additional != schema.end() && !additional->is_null()) {
      out.additional = context_.child(schema, "additionalProperties", *additional);
    }
    if (const auto patterns = schema.find("patternProperties"); patterns != schema.end()) {
      if (!patterns->is_object()) {
        return context_.fail(schema, "patternProperties must be an object");
      }
      const SchemaJson* const place = context_.child(schema, "patternProperties", *patterns);
      for (const auto& [pattern, value] : patterns->items()) {
        Result<Term> keys = string_language(context_, {pattern_schema(pattern)});
        if (!keys.ok()) return keys.status();
        out.patterns.emplace_back(*keys, context_.child(*place, pattern, value));
      }
    }
    const auto required = schema.find("required");
    if (required != schema.end() && !required->is_null() && !required->is_boolean()) {
      if (!required->is_array()) return context_.fail(schema, "required must be a list of names");
      for (const SchemaJson& name : *required) {
        if (!name.is_string()) return context_.fail(schema, "required must be a list of names");
      }
    }
    out.is_closed = (out.named != nullptr || !out.patterns.empty()) && out.additional == nullptr;
    const auto others = schema.find("unevaluatedProperties");
    out.is_closed |= others != schema.end() && *others == false;
    node.kind = Kind::kObject;
    return out;
  }

  /// {"pattern": ...}, kept for as long as this compiles.
  const SchemaJson* pattern_schema(const std::string& pattern) {
    made_.push_back(std::make_unique<SchemaJson>(SchemaJson{{"pattern", pattern}}));
    return made_.back().get();
  }

  /// The keys that propertyNames allows. Those of an enum are in `listed`, too, in its order.
  Result<Term> key_language(const SchemaJson& names, std::vector<std::u32string>& listed) {
    FM_ASSIGN_OR_RETURN(const std::vector<SchemaList> ways, alternatives_.of({&names}));
    std::vector<Term> terms;
    for (const SchemaList& way : ways) {
      unsigned types = kAllTypes;
      FM_RETURN_IF_ERROR(read_types(way, types));
      if ((types & kStringType) == 0) continue;
      std::vector<Id> nodes;
      bool has_values = false;
      FM_RETURN_IF_ERROR(add_values(way, kStringType, names, nodes, has_values));
      for (const Id id : nodes) {
        terms.push_back(graph_.nodes[id].text);
        for (const std::string& value : graph_.nodes[id].values) {
          listed.push_back(text_characters(SchemaJson::parse(value).get<std::string>()));
        }
      }
      if (has_values) continue;
      if (way.empty()) return RegularLanguage::kAnything;
      FM_ASSIGN_OR_RETURN(const Term term, string_language(context_, way));
      terms.push_back(term);
    }
    return graph_.texts.either(std::move(terms));
  }

  Status fill_object(const SchemaList& way, SchemaNode& node) {
    FM_RETURN_IF_ERROR(fill_counts(way, "minProperties", "maxProperties", node));
    std::vector<Properties> all;
    Term keys = RegularLanguage::kAnything;
    std::vector<std::u32string> listed;
    for (const SchemaJson* const schema : way) {
      FM_ASSIGN_OR_RETURN(Properties properties, properties_of(*schema, node));
      all.push_back(std::move(properties));
      if (const auto names = schema->find("propertyNames"); names != schema->end()) {
        FM_ASSIGN_OR_RETURN(
            const Term allowed,
            key_language(*context_.child(*schema, "propertyNames", *names), listed));
        keys = graph_.texts.both({keys, allowed});
      }
    }
    // Named ones in their order, then those that are only required.
    std::vector<std::string> names;
    std::set<std::string> has_name;
    std::set<std::string> required;
    const auto add_name = [&](const std::string& name) {
      if (has_name.insert(name).second) names.push_back(name);
    };
    for (const Properties& properties : all) {
      if (properties.named == nullptr) continue;
      for (const auto& [key, value] : properties.named->items()) add_name(key);
    }
    for (const SchemaJson* const schema : way) {
      const auto list = schema->find("required");
      if (list == schema->end() || !list->is_array()) continue;
      for (const SchemaJson& name : *list) {
        required.insert(name.get<std::string>());
        add_name(name.get<std::string>());
      }
    }
    for (const std::string& name : names) {
      FM_RETURN_IF_ERROR(add_property(all, name, required.contains(name), keys, node));
    }
    return add_others(all, names, keys, listed, node);
  }

  Status add_property(const std::vector<Properties>& all, const std::string& name, bool is_required,
                      Term keys, SchemaNode& node) {
    const std::u32string characters = text_characters(name);
    SchemaList schemas;
    bool is_allowed = graph_.texts.accepts(keys, characters);
    for (const Properties& properties : all) {
      bool is_known = false;
      if (const auto found = properties.by_name.find(name); found != properties.by_name.end()) {
        schemas.push_back(context_.child(*properties.named, name, *found->second));
        is_known = true;
      }
      for (const auto& [pattern, value] : properties.patterns) {
        if (!graph_.texts.accepts(pattern, characters)) continue;
        schemas.push_back(value);
        is_known = true;
      }
      if (!is_known && properties.additional != nullptr) schemas.push_back(properties.additional);
    }
    Id value = SchemaGraph::kAny;
    if (!is_allowed) {
      value = SchemaGraph::kNever;
    } else if (!schemas.empty()) {
      FM_ASSIGN_OR_RETURN(value, node_of(schemas, *all.front().schema));
    }
    std::string key = json_text(SchemaJson(name));
    FM_RETURN_IF_ERROR(count_text(key, *all.front().schema));
    node.properties.push_back({std::move(key), value, is_required});
    return Status();
  }

  /// Keys without a name: for each choice of patterns, those that match these and no others.
  Status add_others(const std::vector<Properties>& all, const std::vector<std::string>& names,
                    Term keys, const std::vector<std::u32string>& listed, SchemaNode& node) {
    const bool is_open =
        std::any_of(all.begin(), all.end(),
                    [](const auto& p) { return p.additional != nullptr; }) ||
        std::none_of(all.begin(), all.end(), [](const auto& p) { return p.is_closed; });
    std::vector<Term> patterns;
    for (const Properties& properties : all) {
      for (const auto& [pattern, value] : properties.patterns) {
        if (std::find(patterns.begin(), patterns.end(), pattern) == patterns.end()) {
          patterns.push_back(pattern);
        }
      }
    }
    if (patterns.size() > kPatternsMax) {
      FM_RETURN_IF_ERROR(context_.not_held(*all.front().schema, "number of patternProperties"));
      patterns.resize(kPatternsMax);
    }
    if (!is_open && patterns.empty()) return Status();
    std::vector<std::u32string> named;
    for (const std::string& name : names) named.push_back(text_characters(name));
    const Term unnamed = graph_.texts.complement(graph_.texts.one_of(std::move(named)));
    for (unsigned choice = is_open ? 0 : 1; choice < 1u << patterns.size(); ++choice) {
      std::vector<Term> key = {keys, unnamed};
      for (std::size_t i = 0; i < patterns.size(); ++i) {
        const bool matches = (choice >> i & 1) != 0;
        key.push_back(matches ? patterns[i] : graph_.texts.complement(patterns[i]));
      }
      const Term term = graph_.texts.both(std::move(key));
      if (graph_.texts.texts_of(term) != RegularLanguage::Texts::kSome) continue;
      SchemaList schemas;
      for (const Properties& properties : all) {
        bool is_known = false;
        for (const auto& [pattern, value] : properties.patterns) {
          const auto at = std::find(patterns.begin(), patterns.end(), pattern);
          if (at == patterns.end() || (choice >> (at - patterns.begin()) & 1) == 0) continue;
          schemas.push_back(value);
          is_known = true;
        }
        if (!is_known && properties.additional != nullptr) {
          schemas.push_back(properties.additional);
        }
      }
      Id value = SchemaGraph::kAny;
      if (!schemas.empty()) {
        FM_ASSIGN_OR_RETURN(value, node_of(schemas, *all.front().schema));
      }
      node.others.push_back({term, value});
    }
    return name_others(listed, all, node);
  }

  /// Where names are few, each is a property, which comes once.
  Status name_others(const std::vector<std::u32string>& listed, const std::vector<Properties>& all,
                     SchemaNode& node) {
    std::vector<std::tuple<std::ptrdiff_t, std::u32string, Id>> named;
    std::vector<SchemaNode::OtherProperties> open;
    for (const SchemaNode::OtherProperties& other : node.others) {
      const auto few = graph_.texts.few_texts(other.key, kListedNamesMax, kListedNameLengthMax);
      if (!few) open.push_back(other);
      if (!few) continue;
      for (const std::u32string& name : *few) {
        if (!characters_of(utf8_of(name))) continue;  // no text can have half a surrogate pair
        const auto at = std::find(listed.begin(), listed.end(), name) - listed.begin();
        named.emplace_back(at, name, other.value);
      }
    }
    std::sort(named.begin(), named.end());
    for (const auto& [at, name, value] : named) {
      std::string key = json_text(SchemaJson(utf8_of(name)));
      FM_RETURN_IF_ERROR(count_text(key, *all.front().schema));
      node.properties.push_back({std::move(key), value, false});
    }
    node.others = std::move(open);
    return Status();
  }

  /// oneOf is held as anyOf: that is the same where no value is of two alternatives.
  Status check_exclusive() {
    // More may be found on the way.
    for (std::size_t at = 0; at < alternatives_.exclusive().size(); ++at) {
      const SchemaJson* const list = alternatives_.exclusive()[at];
      std::vector<Id> nodes;
      for (const SchemaJson& each : *list) {
        FM_ASSIGN_OR_RETURN(const Id id, node_of({&each}, each));
        nodes.push_back(id);
      }
      bool is_exclusive = nodes.size() * nodes.size() <= kExclusivePairsMax;
      for (std::size_t i = 0; i < nodes.size() && is_exclusive; ++i) {
        for (std::size_t k = 0; k < i && is_exclusive; ++k) {
          is_exclusive =
              graph_.texts.size() < kDisjointTextsMax && are_disjoint(graph_, nodes[i], nodes[k]);
        }
      }
      if (!is_exclusive) {
        FM_RETURN_IF_ERROR(
            context_.not_held(*list, "oneOf, whose alternatives may hold at once (anyOf does),"));
      }
    }
    return Status();
  }

  SchemaContext& context_;
  SchemaGraph& graph_;
  SchemaAlternatives alternatives_;
  std::map<SchemaList, Id> known_;
  std::map<SchemaList, std::vector<Id>> known_ways_;
  std::vector<std::unique_ptr<SchemaJson>> made_;
  std::size_t depth_ = 0;
  std::size_t text_bytes_ = 0;
};

}  // namespace

SchemaGraph::SchemaGraph() {
  nodes.push_back({.kind = Kind::kNever});
  nodes.push_back({.kind = Kind::kAny});
  nodes.push_back({.kind = Kind::kObject, .others = {{RegularLanguage::kAnything, kAny}}});
  nodes.push_back({.kind = Kind::kArray, .items = kAny});
  const auto pattern = [this](std::string_view text) {
    const Result<Term> term = compile_pattern(text, texts);
    FM_CHECK(term.ok());
    return *term;
  };
  number = pattern(R"(^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$)");
  word = pattern("^(true|false|null)$");
}

Result<SchemaNode::Id> compile_schema(const SchemaJson& written, const SchemaOptions& options,
                                      SchemaGraph& graph, std::vector<std::string>& hints) {
  const SchemaJson schema = without_nulls(written);
  const auto first = static_cast<Id>(graph.nodes.size());
  SchemaContext context(schema, options, graph, hints);
  SchemaCompiler compiler(context);
  FM_ASSIGN_OR_RETURN(const Id root, compiler.compile(schema));
  prune_schema(graph, first);
  if (graph.nodes[root].kind == Kind::kNever) {
    return context.fail(schema, "allows no value at all");
  }
  return root;
}

}  // namespace flashmoe
