#ifndef FLASHMOE_TOKENIZER_JSON_NODE_H_
#define FLASHMOE_TOKENIZER_JSON_NODE_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace flashmoe {

/// A value inside tokenizer.json together with its path, so that every complaint says where. Refers
/// to the document, which must outlive it. Errors: kCorrupt for absent fields and wrong types.
class JsonNode {
 public:
  JsonNode(const nlohmann::json& value, std::string path)
      : value_(&value), path_(std::move(path)) {}

  const nlohmann::json& value() const { return *value_; }
  const std::string& path() const { return path_; }

  bool is_null() const { return value_->is_null(); }
  bool is_object() const { return value_->is_object(); }

  /// The field `name`; a null node if it is absent or this is no object.
  JsonNode field(std::string_view name) const;

  /// This node's value. Error if it has another type.
  Result<std::string> as_string() const;
  Result<std::vector<JsonNode>> as_array() const;
  Result<std::int64_t> as_integer() const;

  /// Fields. Without a `fallback` the field is required; null counts as absent.
  Result<std::string> string(std::string_view name) const;
  Result<std::optional<std::string>> optional_string(std::string_view name) const;
  Result<bool> boolean(std::string_view name, bool fallback) const;
  Result<std::vector<JsonNode>> array(std::string_view name) const;

  /// The "type" of a pipeline node.
  Result<std::string> type() const { return string("type"); }

  /// kCorrupt: "PATH: MESSAGE".
  Status corrupt(std::string_view message) const;
  /// kUnsupported: "PATH: MESSAGE".
  Status unsupported(std::string_view message) const;

 private:
  const nlohmann::json* value_;
  std::string path_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_TOKENIZER_JSON_NODE_H_
