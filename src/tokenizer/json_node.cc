#include "tokenizer/json_node.h"

namespace flashmoe {
namespace {
const nlohmann::json kNull;
}  // namespace

JsonNode JsonNode::field(std::string_view name) const {
  std::string path = path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
  if (value_->is_object()) {
    if (const auto found = value_->find(name); found != value_->end()) {
      return JsonNode(*found, std::move(path));
    }
  }
  return JsonNode(kNull, std::move(path));
}

Result<std::string> JsonNode::as_string() const {
  if (is_null()) return corrupt("is missing; expected a string");
  if (!value_->is_string()) {
    return corrupt(fmt::format("is a JSON {}; expected a string", value_->type_name()));
  }
  return value_->get_ref<const std::string&>();
}

Result<std::vector<JsonNode>> JsonNode::as_array() const {
  if (is_null()) return corrupt("is missing; expected an array");
  if (!value_->is_array()) {
    return corrupt(fmt::format("is a JSON {}; expected an array", value_->type_name()));
  }
  std::vector<JsonNode> elements;
  elements.reserve(value_->size());
  for (std::size_t i = 0; i < value_->size(); ++i) {
    elements.emplace_back((*value_)[i], fmt::format("{}[{}]", path_, i));
  }
  return elements;
}

Result<std::int64_t> JsonNode::as_integer() const {
  if (is_null()) return corrupt("is missing; expected an integer");
  const bool fits =
      value_->is_number_integer() &&
      (!value_->is_number_unsigned() || value_->get<std::uint64_t>() <= std::uint64_t{INT64_MAX});
  if (!fits) {
    return corrupt(fmt::format("is {}; expected an integer",
                               value_->is_number() ? value_->dump() : value_->type_name()));
  }
  return value_->get<std::int64_t>();
}

Result<std::string> JsonNode::string(std::string_view name) const {
  return field(name).as_string();
}

Result<std::optional<std::string>> JsonNode::optional_string(std::string_view name) const {
  const JsonNode node = field(name);
  if (node.is_null()) return std::optional<std::string>();
  FM_ASSIGN_OR_RETURN(std::string text, node.as_string());
  return std::optional<std::string>(std::move(text));
}

Result<bool> JsonNode::boolean(std::string_view name, bool fallback) const {
  const JsonNode node = field(name);
  if (node.is_null()) return fallback;
  if (!node.value().is_boolean()) {
    return node.corrupt(
        fmt::format("is a JSON {}; expected true or false", node.value().type_name()));
  }
  return node.value().get<bool>();
}

Result<std::vector<JsonNode>> JsonNode::array(std::string_view name) const {
  return field(name).as_array();
}

Status JsonNode::corrupt(std::string_view message) const {
  return error(StatusCode::kCorrupt, "{}: {}", path_, message);
}

Status JsonNode::unsupported(std::string_view message) const {
  return error(StatusCode::kUnsupported, "{}: {}", path_, message);
}

}  // namespace flashmoe
