#ifndef FLASHMOE_CHAT_SCHEMA_CONTEXT_H_
#define FLASHMOE_CHAT_SCHEMA_CONTEXT_H_

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/result.h"
#include "chat/json_schema.h"
#include "chat/schema_references.h"

namespace flashmoe {

using SchemaJson = nlohmann::ordered_json;

/// Schemas that all hold for one value.
using SchemaList = std::vector<const SchemaJson*>;

/// What the parts that read one schema share: the document, where they are in it, and what they
/// have to say.
class SchemaContext {
 public:
  SchemaContext(const SchemaJson& document, const SchemaOptions& options, SchemaGraph& graph,
                std::vector<std::string>& hints)
      : graph(graph), references(document), options_(options), hints_(hints) {
    places_[&document] = "";
  }

  SchemaGraph& graph;
  const SchemaReferences references;
  std::map<std::string, RegularLanguage::Term, std::less<>> patterns;  // that have been compiled
  std::size_t trials_size = 0;  // what it took to find out that they can be

  /// Where `schema` stands, as a JSON pointer.
  const std::string& place_of(const SchemaJson& schema) { return places_[&schema]; }
  void set_place(const SchemaJson& schema, std::string place) {
    places_.emplace(&schema, std::move(place));
  }
  /// The schema `inner`, which stands under `key` of `outer`.
  const SchemaJson* child(const SchemaJson& outer, std::string_view key, const SchemaJson& inner) {
    SchemaJson::json_pointer step;
    step /= std::string(key);
    set_place(inner, place_of(outer) + step.to_string());
    return &inner;
  }

  template <typename... Args>
  Status fail(const SchemaJson& schema, fmt::format_string<Args...> format, Args&&... args) {
    return error(StatusCode::kInvalidArgument, "JSON schema at #{}: {}", place_of(schema),
                 fmt::format(format, std::forward<Args>(args)...));
  }

  /// `what` is in the schema, and cannot be held to: an error where that is strict, else a hint.
  Status not_held(const SchemaJson& schema, std::string_view what) {
    if (options_.is_strict) {
      return fail(schema, "{} cannot be held to; leave it out, or do not ask for strict", what);
    }
    std::string hint = fmt::format("the schema's {} at #{} is not held to", what, place_of(schema));
    if (said_.insert(hint).second && hints_.size() < kHintsMax) hints_.push_back(std::move(hint));
    return Status();
  }

 private:
  static constexpr std::size_t kHintsMax = 16;

  const SchemaOptions options_;
  std::vector<std::string>& hints_;
  std::unordered_map<const SchemaJson*, std::string> places_;
  std::unordered_set<std::string> said_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_SCHEMA_CONTEXT_H_
