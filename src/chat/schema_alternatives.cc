#include "chat/schema_alternatives.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace flashmoe {
namespace {

constexpr std::size_t kWaysMax = 512;
constexpr std::size_t kNestedMax = 64;
/// Schemas added to lists, over all of a document.
constexpr std::size_t kWorkMax = 1'000'000;

/// Keywords that say something of the value where they stand.
bool says_something(const SchemaJson& schema) {
  static constexpr std::string_view kWords[] = {"type",
                                                "enum",
                                                "const",
                                                "properties",
                                                "required",
                                                "additionalProperties",
                                                "propertyNames",
                                                "minItems",
                                                "patternProperties",
                                                "minProperties",
                                                "maxItems",
                                                "maxProperties",
                                                "items",
                                                "prefixItems",
                                                "uniqueItems",
                                                "minLength",
                                                "maxLength",
                                                "pattern",
                                                "format",
                                                "minimum",
                                                "maximum",
                                                "multipleOf",
                                                "nullable",
                                                "exclusiveMinimum",
                                                "unevaluatedProperties",
                                                "exclusiveMaximum"};
  return std::any_of(std::begin(kWords), std::end(kWords),
                     [&](std::string_view word) { return schema.contains(word); });
}

}  // namespace

Result<std::vector<SchemaList>> SchemaAlternatives::of(const SchemaList& schemas) {
  std::vector<SchemaList> ways(1);
  open_.clear();
  choosing_.clear();
  circle_ = nullptr;
  for (const SchemaJson* const schema : schemas) FM_RETURN_IF_ERROR(expand(*schema, ways));
  if (ways.empty() && circle_ != nullptr) return context_.fail(*circle_, "refers to itself alone");
  return ways;
}

Status SchemaAlternatives::expand(const SchemaJson& schema, std::vector<SchemaList>& ways) {
  if (schema.is_boolean()) {
    if (!schema.get<bool>()) ways.clear();
    return Status();
  }
  if (!schema.is_object()) {
    return context_.fail(schema, "must be an object, not {}", schema.type_name());
  }
  if (const auto open = std::find(open_.begin(), open_.end(), &schema); open != open_.end()) {
    const auto depth = static_cast<std::size_t>(open - open_.begin());
    if (choosing_.empty() || choosing_.back() < depth) {
      return context_.fail(schema, "refers to itself alone");
    }
    // An alternative that is the whole choice again allows nothing that the others do not.
    ways.clear();
    circle_ = &schema;
    return Status();
  }
  if (open_.size() > kNestedMax) {
    return context_.fail(schema, "alternatives and references may be nested {} deep", kNestedMax);
  }
  FM_RETURN_IF_ERROR(check_keywords(schema));
  open_.push_back(&schema);
  if (says_something(schema)) {
    for (SchemaList& way : ways) {
      if (std::find(way.begin(), way.end(), &schema) == way.end()) way.push_back(&schema);
    }
    work_ += ways.size();
  }
  FM_RETURN_IF_ERROR(expand_reference(schema, ways));
  if (const auto all = schema.find("allOf"); all != schema.end()) {
    if (!all->is_array()) return context_.fail(schema, "allOf must be a list of schemas");
    for (std::size_t i = 0; i < all->size(); ++i) {
      context_.set_place((*all)[i], fmt::format("{}/allOf/{}", context_.place_of(schema), i));
      FM_RETURN_IF_ERROR(expand((*all)[i], ways));
    }
  }
  FM_RETURN_IF_ERROR(expand_any(schema, "anyOf", ways));
  FM_RETURN_IF_ERROR(expand_any(schema, "oneOf", ways));
  open_.pop_back();
  return Status();
}

Status SchemaAlternatives::expand_reference(const SchemaJson& schema,
                                            std::vector<SchemaList>& ways) {
  const auto reference = schema.find("$ref");
  if (reference == schema.end()) return Status();
  const auto* const text = reference->get_ptr<const std::string*>();
  if (text == nullptr) return context_.fail(schema, "$ref must be a text");
  const SchemaReferences::Target target = context_.references.find(*text);
  switch (target.outcome) {
    case SchemaReferences::Outcome::kElsewhere:
      return context_.not_held(schema, fmt::format("$ref to another document ({})", *text));
    case SchemaReferences::Outcome::kNowhere:
      return context_.fail(schema, "$ref {} leads nowhere", *text);
    case SchemaReferences::Outcome::kFound:
      break;
  }
  context_.set_place(*target.schema, target.place);
  return expand(*target.schema, ways);
}

Status SchemaAlternatives::expand_any(const SchemaJson& schema, const char* name,
                                      std::vector<SchemaList>& ways) {
  const auto list = schema.find(name);
  if (list == schema.end()) return Status();
  if (!list->is_array() || list->empty()) {
    return context_.fail(schema, "{} must be a list of schemas", name);
  }
  std::vector<SchemaList> all;
  choosing_.push_back(open_.size() - 1);
  for (std::size_t i = 0; i < list->size(); ++i) {
    context_.set_place((*list)[i], fmt::format("{}/{}/{}", context_.place_of(schema), name, i));
    std::vector<SchemaList> with = ways;
    FM_RETURN_IF_ERROR(expand((*list)[i], with));
    for (const SchemaList& way : with) work_ += way.size() + 1;
    if (all.size() + with.size() > kWaysMax || work_ > kWorkMax) {
      return context_.fail(schema, "more than {} alternatives, multiplied out", kWaysMax);
    }
    std::move(with.begin(), with.end(), std::back_inserter(all));
  }
  choosing_.pop_back();
  ways = std::move(all);
  const bool is_exclusive = std::string_view(name) == "oneOf" && list->size() > 1;
  if (is_exclusive && std::find(exclusive_.begin(), exclusive_.end(), &*list) == exclusive_.end()) {
    context_.set_place(*list, context_.place_of(schema));
    exclusive_.push_back(&*list);
  }
  return Status();
}

Status SchemaAlternatives::check_keywords(const SchemaJson& schema) {
  if (!checked_.insert(&schema).second) return Status();
  for (const char* const word :
       {"not", "if", "contains", "dependentRequired", "dependentSchemas", "dependencies",
        "unevaluatedItems", "$dynamicRef", "$recursiveRef"}) {
    if (schema.contains(word)) FM_RETURN_IF_ERROR(context_.not_held(schema, word));
  }
  const auto others = schema.find("unevaluatedProperties");
  if (others != schema.end() && others->is_object()) {
    return context_.not_held(schema, "unevaluatedProperties");
  }
  return Status();
}

}  // namespace flashmoe
