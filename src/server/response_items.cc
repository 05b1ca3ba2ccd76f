#include "server/response_items.h"

#include <fmt/format.h>

#include <utility>

#include "server/client_tools.h"

namespace flashmoe::server {
namespace {

constexpr std::string_view kCallSuffix = "_call";
constexpr std::string_view kOutputSuffix = "_call_output";

/// The name by which the model knows the tool that an item calls.
std::string tool_name(Fields& fields) {
  return ClientTools::offered_name(fields.text("namespace").value_or(""),
                                   fields.text("name").value_or(""));
}

/// By which a call and its result find each other.
std::optional<std::string> call_id(Fields& fields) {
  std::optional<std::string> id = fields.text("call_id");
  return id ? id : fields.text("id");
}

/// Whether a part of a result is one that the API knows. Results have types of their own as well.
bool is_block(const Json& part) {
  const Json& type = member(part, "type");
  if (!type.is_string()) return member(part, "text").is_string() && part.size() == 1;
  const std::string name = type.get<std::string>();
  return name.starts_with("input_") || name.starts_with("output_") || name == "text" ||
         name == "image" || name == "image_url" || name == "file" || name == "computer_screenshot";
}

}  // namespace

std::optional<ApiError> ResponseItemReader::read(const Json& item, const std::string& where) {
  Fields fields(item, where + ".");
  if (fields.error()) return fields.error();
  std::string type = fields.text("type").value_or("");
  if (type.empty()) {
    type = fields.has("id") && !fields.has("role") ? "item_reference" : "message";
  }
  if (type == "item_reference" && store_ != nullptr) {
    const std::optional<Json> found = store_->item(fields.text("id").value_or(""));
    if (found) return read(*found, where);
  }
  read_typed(fields, type, item, where);
  return fields.error();
}

void ResponseItemReader::read_typed(Fields& fields, const std::string& type, const Json& item,
                                    const std::string& where) {
  if (type == "message") return read_message(fields);
  if (type == "reasoning") return read_reasoning(fields, where);
  if (type == "function_call") {
    return add_call(fields, tool_name(fields), fields.text("arguments").value_or("{}"));
  }
  if (type == "custom_tool_call") {
    return add_call(fields, tool_name(fields), custom_arguments(fields.text("input").value_or("")));
  }
  if (type == "mcp_call") return read_mcp_call(fields, where);
  if (type.ends_with(kOutputSuffix)) return add_result(fields, read_output(fields, where));
  if (read_call_by_type(fields, type)) return;
  if (type == "item_reference") return omitted_.add(where, type);  // to what is not known any more
  std::string placeholder = omit(item, where, omitted_);
  if (type.find("compaction") != std::string::npos) {
    // It stands for the beginning of the conversation, which was not the assistant's alone.
    messages_.push_back({{"role", "user"}, {"content", std::move(placeholder)}});
    return;
  }
  std::string& content = assistant_message()["content"].get_ref<std::string&>();
  if (content.empty()) placeholder_ = messages_.size() - 1;
  append_line(content, placeholder);
}

void ResponseItemReader::read_message(Fields& fields) {
  std::string role = fields.text("role").value_or("");
  if (role == "developer") role = "system";
  if (role != "system" && role != "user" && role != "assistant") {
    return fields.fail(
        "role", fmt::format("\"{}\" is none of system, developer, user and assistant", role));
  }
  const std::string text = role == "system" ? read_system_content(fields, "content", omitted_)
                                            : read_content(fields, "content", omitted_);
  if (role == "assistant" && !messages_.empty() && messages_.back()["role"] == "assistant") {
    // Thoughts, calls and placeholders before it are of the same message.
    std::string& content = messages_.back()["content"].get_ref<std::string&>();
    if (content.empty() || placeholder_ == messages_.size() - 1) {
      append_line(content, text);
      placeholder_ = static_cast<std::size_t>(-1);
      return;
    }
  }
  messages_.push_back({{"role", role}, {"content", text}});
}

void ResponseItemReader::read_reasoning(Fields& fields, const std::string& where) {
  std::string thought = read_content(fields, "content", omitted_);
  const std::string hidden = fields.text("encrypted_content").value_or("");
  if (thought.empty() && hidden.starts_with(kThoughtPrefix)) {
    thought = hidden.substr(std::string_view(kThoughtPrefix).size());
  } else if (thought.empty() && !hidden.empty()) {
    omitted_.add(where, "encrypted reasoning");
  }
  if (thought.empty()) return;
  messages_.push_back({{"role", "assistant"}, {"content", ""}, {"reasoning_content", thought}});
}

/// A call that a server of tools has answered: both are known.
void ResponseItemReader::read_mcp_call(Fields& fields, const std::string& where) {
  add_call(fields, fields.text("name").value_or(""), fields.text("arguments").value_or("{}"));
  std::string text = read_output(fields, where);
  if (const Json* const error = fields.find("error")) {
    append_line(text, "Error: " + (error->is_string() ? error->get<std::string>() : dump(*error)));
  }
  add_result(fields, std::move(text));
}

/// A call of a tool that has a type of its own, as local_shell_call: what it does is its argument.
bool ResponseItemReader::read_call_by_type(Fields& fields, std::string_view type) {
  if (!type.ends_with(kCallSuffix) || !fields.has("call_id")) return false;
  for (const char* const member : {"action", "operation", "arguments"}) {
    const Json* const value = fields.find(member);
    if (value == nullptr || !value->is_object()) continue;
    type.remove_suffix(kCallSuffix.size());
    add_call(fields, std::string(type), *value);
    return true;
  }
  return false;
}

/// What a tool returned: a text, a list of parts, or any JSON.
std::string ResponseItemReader::read_output(Fields& fields, const std::string& where) {
  const Json* const output = fields.find("output");
  if (output == nullptr) return {};
  if (!output->is_array()) return read_output_part(fields, *output, where + ".output");
  std::string text;
  for (std::size_t i = 0; i < output->size(); ++i) {
    append_line(text,
                read_output_part(fields, (*output)[i], fmt::format("{}.output[{}]", where, i)));
  }
  return text;
}

/// A text, a block, what a shell printed, or JSON's text of anything else.
std::string ResponseItemReader::read_output_part(Fields& fields, const Json& part,
                                                 const std::string& where) {
  if (part.is_string()) return part.get<std::string>();
  if (!part.is_object()) return dump(part);
  if (is_block(part)) return read_block(fields, "output", part, where, omitted_);
  std::string text;
  bool is_printed = false;
  for (const char* const name : {"stdout", "stderr"}) {
    const Json& words = member(part, name);
    if (!words.is_string()) continue;
    is_printed = true;
    append_line(text, words.get<std::string>());
  }
  return is_printed ? text : dump(part);
}

void ResponseItemReader::add_call(Fields& fields, const std::string& name, Json arguments) {
  Json call = {{"type", "function"},
               {"function", {{"name", name}, {"arguments", std::move(arguments)}}}};
  if (const auto id = call_id(fields)) call["id"] = *id;
  assistant_message()["tool_calls"].push_back(std::move(call));
}

void ResponseItemReader::add_result(Fields& fields, std::string text) {
  Json result = {{"role", "tool"}, {"content", std::move(text)}};
  if (const auto id = call_id(fields)) result["tool_call_id"] = *id;
  messages_.push_back(std::move(result));
}

Json& ResponseItemReader::assistant_message() {
  if (messages_.empty() || messages_.back()["role"] != "assistant") {
    messages_.push_back({{"role", "assistant"}, {"content", ""}});
  }
  return messages_.back();
}

}  // namespace flashmoe::server
