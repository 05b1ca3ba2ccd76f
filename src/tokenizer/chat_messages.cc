#include "tokenizer/chat_messages.h"

#include <cstddef>
#include <string>
#include <utility>

namespace flashmoe {
namespace {

using Json = nlohmann::ordered_json;

// {"type": "text", "text": "..."} or a bare string.
const std::string* text_of_part(const Json& part) {
  if (part.is_string()) return part.get_ptr<const std::string*>();
  if (!part.is_object()) return nullptr;
  const auto text = part.find("text");
  return text == part.end() ? nullptr : text->get_ptr<const std::string*>();
}

Result<std::string> join_parts(const Json& parts, std::size_t message_index) {
  std::string joined;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string* text = text_of_part(parts[i]);
    if (text == nullptr) {
      return error(StatusCode::kInvalidArgument,
                   "message {}: content part {} is not text, and the model's chat template takes "
                   "only text",
                   message_index, i);
    }
    if (i > 0) joined += '\n';
    joined += *text;
  }
  return joined;
}

bool has_tool_calls(const Json& message) {
  const auto calls = message.find("tool_calls");
  return calls != message.end() && calls->is_array() && !calls->empty();
}

void adapt_arguments(Json& call, const ChatTemplateTraits& traits) {
  if (!call.is_object()) return;
  const auto function = call.find("function");
  Json& target = function != call.end() && function->is_object() ? *function : call;
  const auto arguments = target.find("arguments");
  if (arguments == target.end()) return;
  if (arguments->is_string() && !traits.takes_argument_strings) {
    Json parsed = Json::parse(arguments->get_ref<const std::string&>(), nullptr, false);
    if (parsed.is_object()) *arguments = std::move(parsed);
  } else if (arguments->is_object() && !traits.takes_argument_objects &&
             traits.takes_argument_strings) {
    *arguments = arguments->dump(-1, ' ', false, Json::error_handler_t::replace);
  }
}

Status adapt_content(Json& message, std::size_t index, const ChatTemplateTraits& traits) {
  const auto content = message.find("content");
  if (content == message.end() || content->is_null()) {
    const bool may_be_null = has_tool_calls(message) && traits.takes_null_content;
    if (!may_be_null) message["content"] = "";
    return Status();
  }
  if (!content->is_array() || traits.takes_content_parts) return Status();
  FM_ASSIGN_OR_RETURN(*content, join_parts(*content, index));
  return Status();
}

}  // namespace

Result<Json> adapt_messages(const Json& messages, const ChatTemplateTraits& traits) {
  if (!messages.is_array()) {
    return error(StatusCode::kInvalidArgument, "messages must be a list, not {}",
                 messages.type_name());
  }
  Json adapted = messages;
  for (std::size_t i = 0; i < adapted.size(); ++i) {
    Json& message = adapted[i];
    if (!message.is_object()) {
      return error(StatusCode::kInvalidArgument, "message {} must be an object, not {}", i,
                   message.type_name());
    }
    FM_RETURN_IF_ERROR(adapt_content(message, i, traits));
    const auto calls = message.find("tool_calls");
    if (calls == message.end() || !calls->is_array()) continue;
    for (Json& call : *calls) adapt_arguments(call, traits);
  }
  return adapted;
}

}  // namespace flashmoe
