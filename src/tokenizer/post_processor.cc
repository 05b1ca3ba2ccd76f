#include "tokenizer/post_processor.h"

#include <string>

#include "tokenizer/vocabulary.h"

namespace flashmoe {
namespace {

// The ids of the special token `name` in the table "special_tokens" of a TemplateProcessing node.
Result<std::vector<TokenId>> ids_of(const JsonNode& node, const std::string& name) {
  FM_ASSIGN_OR_RETURN(const std::vector<JsonNode> entries,
                      node.field("special_tokens").field(name).array("ids"));
  std::vector<TokenId> ids;
  for (const JsonNode& entry : entries) {
    FM_ASSIGN_OR_RETURN(const std::int64_t id, entry.as_integer());
    if (id < 0 || id >= Vocabulary::kIdEnd) {
      return entry.corrupt(fmt::format("{} is not in [0, {})", id, Vocabulary::kIdEnd));
    }
    ids.push_back(static_cast<TokenId>(id));
  }
  return ids;
}

Status read_template(const JsonNode& node, SpecialTokenFrame& frame) {
  bool behind_text = false;
  FM_ASSIGN_OR_RETURN(const std::vector<JsonNode> parts, node.array("single"));
  for (const JsonNode& part : parts) {
    if (const JsonNode special = part.field("SpecialToken"); special.is_object()) {
      FM_ASSIGN_OR_RETURN(const std::string name, special.string("id"));
      FM_ASSIGN_OR_RETURN(const std::vector<TokenId> ids, ids_of(node, name));
      std::vector<TokenId>& side = behind_text ? frame.suffix : frame.prefix;
      side.insert(side.end(), ids.begin(), ids.end());
    } else if (part.field("Sequence").is_object() && !behind_text) {
      behind_text = true;
    } else {
      return part.unsupported("expected SpecialToken, or Sequence once");
    }
  }
  if (!behind_text) return node.field("single").corrupt("has no Sequence: the text itself");
  return Status();
}

}  // namespace

Result<SpecialTokenFrame> SpecialTokenFrame::from_json(const JsonNode& node) {
  SpecialTokenFrame frame;
  if (node.is_null()) return frame;
  FM_ASSIGN_OR_RETURN(const std::string type, node.type());
  if (type == "TemplateProcessing") {
    FM_RETURN_IF_ERROR(read_template(node, frame));
  } else if (type == "Sequence") {
    FM_ASSIGN_OR_RETURN(const std::vector<JsonNode> parts, node.array("processors"));
    for (const JsonNode& part : parts) {
      FM_ASSIGN_OR_RETURN(const SpecialTokenFrame inner, from_json(part));
      frame.prefix.insert(frame.prefix.begin(), inner.prefix.begin(), inner.prefix.end());
      frame.suffix.insert(frame.suffix.end(), inner.suffix.begin(), inner.suffix.end());
    }
  } else if (type != "ByteLevel") {
    return node.unsupported(
        fmt::format("post_processor type {} is not supported; known are TemplateProcessing, "
                    "ByteLevel and Sequence",
                    type));
  }
  return frame;
}

}  // namespace flashmoe
