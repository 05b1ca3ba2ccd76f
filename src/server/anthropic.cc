// POST /v1/messages
#include <fmt/format.h>

#include <utility>

#include "server/dialect.h"

namespace flashmoe::server {
namespace {

std::string_view anthropic_error_type(unsigned status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
      return "overloaded_error";
    default:
      return status < 500 ? "invalid_request_error" : "api_error";
  }
}

Json anthropic_error(const ApiError& error) {
  std::string message = error.message;
  // Clients look for these words to know that they should make the conversation shorter.
  if (error.code == "context_length_exceeded" && error.prompt_tokens && error.context) {
    message = fmt::format("prompt is too long: {} tokens > {} maximum", *error.prompt_tokens,
                          *error.context);
  }
  return {{"type", "error"},
          {"error", {{"type", anthropic_error_type(error.status)}, {"message", message}}}};
}

/// A call's arguments as the object that this API wants, also where a call broke off.
Json input_of(const CollectedCall& call) {
  Json input = Json::parse(call.arguments, nullptr, false);
  return input.is_object() ? input : Json::object();
}

class AnthropicWriter : public EventStreamWriter {
 public:
  AnthropicWriter(std::string model, bool is_stream)
      : EventStreamWriter(is_stream), model_(std::move(model)), id_(random_id("msg_")) {}

  std::string keep_alive() const override { return "event: ping\ndata: {\"type\":\"ping\"}\n\n"; }

  void begin(std::size_t prompt_tokens, std::size_t cached_tokens, std::string& out) override {
    if (!is_stream()) return;
    Json message = frame();
    message["content"] = Json::array();
    message["stop_reason"] = nullptr;
    message["stop_sequence"] = nullptr;
    message["usage"] = usage({.prompt_tokens = prompt_tokens, .cached_tokens = cached_tokens});
    append_sse(out, "message_start", {{"type", "message_start"}, {"message", message}});
    out += keep_alive();
  }

  void event(std::size_t, const OutputEvent& event, std::vector<TokenInfo>& tokens,
             std::string& out) override {
    tokens.clear();
    if (!goes_on(blocks_, event)) {
      if (event.is_layout) return;  // no block begins with it
      open_block(event, out);
    }
    Block& block = blocks_.back();
    switch (event.kind) {
      case OutputEvent::Kind::kText:
        block.text += event.text;
        append_delta(out, {{"type", "text_delta"}, {"text", event.text}});
        break;
      case OutputEvent::Kind::kReasoning:
        block.text += event.text;
        append_delta(out, {{"type", "thinking_delta"}, {"thinking", event.text}});
        break;
      case OutputEvent::Kind::kCallArguments:
        block.call.arguments += event.text;
        append_delta(out, {{"type", "input_json_delta"}, {"partial_json", event.text}});
        break;
      case OutputEvent::Kind::kCallBegin:
        break;
      case OutputEvent::Kind::kCallEnd:
        block.call.is_complete = event.is_complete;
        close_block(out);
        break;
    }
  }

  void end_choice(std::size_t, const ChoiceEnd& end, std::vector<TokenInfo>& tokens,
                  std::string& out) override {
    tokens.clear();
    end_ = end;
    close_block(out);
  }

  void finish(const ReplyCounts& counts, std::string& out) override {
    const Json stop_sequence = end_.reason == EndReason::kStopText ? Json(end_.stop_text) : Json();
    if (is_stream()) {
      Json delta = {{"type", "message_delta"},
                    {"delta", {{"stop_reason", stop_reason()}, {"stop_sequence", stop_sequence}}},
                    {"usage", usage(counts)}};
      append_sse(out, "message_delta", delta);
      append_sse(out, "message_stop", {{"type", "message_stop"}});
      return;
    }
    Json message = frame();
    message["content"] = Json::array();
    for (const Block& block : blocks_) message["content"].push_back(block_json(block));
    message["stop_reason"] = stop_reason();
    message["stop_sequence"] = stop_sequence;
    message["usage"] = usage(counts);
    message["timings"] = timings_json(counts);
    out += dump(message);
  }

  void fail(const ApiError& error, std::string& out) override {
    append_sse(out, "error", anthropic_error(error));
  }

 private:
  /// Blocks come one after another: the last one may be open.
  struct Block {
    OutputEvent::Kind kind = OutputEvent::Kind::kText;  // kCallBegin: a call
    std::string text;
    CollectedCall call;
    bool is_open = true;
  };

  Json frame() const {
    return {{"id", id_}, {"type", "message"}, {"role", "assistant"}, {"model", model_}};
  }

  void open_block(const OutputEvent& event, std::string& out) {
    close_block(out);
    Block& block = blocks_.emplace_back();
    block.kind = event.kind;
    if (event.kind == OutputEvent::Kind::kCallBegin) {
      block.call = {.id = random_id("toolu_"), .name = event.text};
    }
    if (!is_stream()) return;
    append_sse(out, "content_block_start",
               {{"type", "content_block_start"},
                {"index", blocks_.size() - 1},
                {"content_block", block_json(block)}});
  }

  void close_block(std::string& out) {
    if (blocks_.empty() || !blocks_.back().is_open) return;
    blocks_.back().is_open = false;
    if (!is_stream()) return;
    if (blocks_.back().kind == OutputEvent::Kind::kReasoning) {
      append_delta(out, {{"type", "signature_delta"}, {"signature", ""}});
    }
    append_sse(out, "content_block_stop",
               {{"type", "content_block_stop"}, {"index", blocks_.size() - 1}});
  }

  void append_delta(std::string& out, const Json& delta) const {
    if (!is_stream()) return;
    append_sse(out, "content_block_delta",
               {{"type", "content_block_delta"}, {"index", blocks_.size() - 1}, {"delta", delta}});
  }

  static Json block_json(const Block& block) {
    switch (block.kind) {
      case OutputEvent::Kind::kCallBegin:
        return {{"type", "tool_use"},
                {"id", block.call.id},
                {"name", block.call.name},
                {"input", input_of(block.call)}};
      case OutputEvent::Kind::kReasoning:
        return {{"type", "thinking"}, {"thinking", block.text}, {"signature", ""}};
      default:
        return {{"type", "text"}, {"text", block.text}};
    }
  }

  Json stop_reason() const {
    switch (end_.reason) {
      case EndReason::kLength:
        return "max_tokens";
      case EndReason::kStopText:
        return "stop_sequence";
      case EndReason::kToolCalls:
        return "tool_use";
      case EndReason::kStop:
        break;
    }
    return "end_turn";
  }

  static Json usage(const ReplyCounts& counts) {
    return {{"input_tokens", counts.prompt_tokens - counts.cached_tokens},
            {"cache_creation_input_tokens", 0},
            {"cache_read_input_tokens", counts.cached_tokens},
            {"output_tokens", counts.completion_tokens}};
  }

  const std::string model_;
  const std::string id_;
  std::vector<Block> blocks_;
  ChoiceEnd end_;
};

/// The text of a tool_result's content.
std::string result_text(Fields& block, Omissions& omitted) {
  std::string text = read_content(block, "content", omitted);
  if (block.boolean("is_error").value_or(false)) text = "Error: " + text;
  return text;
}

/// Texts and results of tools, in the order in which they come.
void read_user_blocks(Fields& fields, const Json& content, const std::string& where, Json& messages,
                      Omissions& omitted) {
  const std::size_t count_before = messages.size();
  std::string text;
  const auto end_text = [&] {
    if (!text.empty()) messages.push_back({{"role", "user"}, {"content", std::exchange(text, {})}});
  };
  for (std::size_t i = 0; i < content.size(); ++i) {
    const std::string path = fmt::format("{}content[{}]", where, i);
    Fields block(content[i], path + ".");
    if (block.text("type") == "tool_result") {
      end_text();
      Json result = {{"role", "tool"}, {"content", result_text(block, omitted)}};
      if (const auto id = block.text("tool_use_id")) result["tool_call_id"] = *id;
      messages.push_back(std::move(result));
    } else if (!block.error()) {
      if (!text.empty()) text += '\n';
      text += read_block(fields, "content", content[i], path, omitted);
    }
    if (block.error()) return fields.fail("content", block.error()->message);
  }
  end_text();
  // A turn without words is a turn all the same, as one of an empty text is.
  if (messages.size() == count_before) messages.push_back({{"role", "user"}, {"content", ""}});
}

void read_assistant_blocks(Fields& fields, const Json& content, const std::string& where,
                           Json& messages, Omissions& omitted) {
  Json message = {{"role", "assistant"}, {"content", ""}};
  std::string text;
  for (std::size_t i = 0; i < content.size(); ++i) {
    const std::string path = fmt::format("{}content[{}]", where, i);
    Fields block(content[i], path + ".");
    const std::string type = block.text("type").value_or("");
    if (type == "text") {
      text += block.text("text").value_or("");
    } else if (type == "thinking") {
      message["reasoning_content"] = block.text("thinking").value_or("");
    } else if (type == "redacted_thinking") {
      omitted.add(path, type);  // thoughts of another model, for no one to read
    } else if (type == "tool_use") {
      const Json* const input = block.object("input");
      Json call = {{"type", "function"},
                   {"function",
                    {{"name", block.text("name").value_or("")},
                     {"arguments", input != nullptr ? *input : Json::object()}}}};
      if (const auto id = block.text("id")) call["id"] = *id;
      message["tool_calls"].push_back(std::move(call));
    } else if (!block.error()) {
      append_line(text, read_block(fields, "content", content[i], path, omitted));
    }
    if (block.error()) return fields.fail("content", block.error()->message);
  }
  message["content"] = text;
  messages.push_back(std::move(message));
}

void read_anthropic_message(const Json& item, std::size_t index, Json& messages, Omissions& omitted,
                            std::optional<ApiError>& error) {
  const std::string where = fmt::format("messages[{}].", index);
  Fields fields(item, where);
  const std::string role = fields.text("role").value_or("");
  const Json* const content = fields.find("content");
  if (role != "user" && role != "assistant" && role != "system") {
    fields.fail("role", fmt::format("\"{}\" is neither user nor assistant", role));
  } else if (content == nullptr) {
    fields.fail("content", "is missing");
  } else if (role == "system") {
    messages.push_back(
        {{"role", role}, {"content", read_system_content(fields, "content", omitted)}});
  } else if (content->is_string()) {
    messages.push_back({{"role", role}, {"content", *content}});
  } else if (!content->is_array()) {
    fields.fail("content", "must be a text or a list of blocks");
  } else if (role == "user") {
    read_user_blocks(fields, *content, where, messages, omitted);
  } else {
    read_assistant_blocks(fields, *content, where, messages, omitted);
  }
  error = fields.error();
}

void read_anthropic_tools(Fields& fields, ChatRequest& request, std::vector<std::string>& notes) {
  std::vector<std::string> left_out;
  if (const Json* const tools = fields.array("tools")) {
    for (const Json& tool : *tools) {
      // Tools that Anthropic's servers run are none of ours; some have no name.
      const Json& type = member(tool, "type");
      const Json& name = member(tool, "name");
      if (type.is_string() && type != "custom") {
        left_out.push_back((name.is_string() ? name : type).get<std::string>());
        continue;
      }
      if (!name.is_string()) return fields.fail("tools", "must have a name each");
      Json function = {{"name", name}};
      if (tool.value("strict", Json()) == true) request.strict_tools.insert(name);
      if (const Json& text = member(tool, "description"); !text.is_null())
        function["description"] = text;
      const Json& schema = member(tool, "input_schema");
      function["parameters"] = schema.is_null() ? Json{{"type", "object"}} : schema;
      add_tool(fields, std::move(function), request);
    }
  }
  const Json* const choice = fields.object("tool_choice");
  if (choice == nullptr) return;
  const Json type = choice->value("type", Json("auto"));
  request.has_parallel_calls = choice->value("disable_parallel_tool_use", Json(false)) != true;
  if (type == "any") {
    request.tool_choice.kind = ToolChoice::Kind::kRequired;
  } else if (type == "none") {
    request.tool_choice.kind = ToolChoice::Kind::kNone;
  } else if (type == "tool" && choice->value("name", Json()).is_string()) {
    request.tool_choice = {ToolChoice::Kind::kRequired, {(*choice)["name"].get<std::string>()}};
  } else if (type != "auto") {
    fields.fail("tool_choice", "must be of type auto, any, none, or tool with a name");
  }
  drop_choice_of(left_out, request, notes);
}

/// The schema of an answer, where it stands now and where it stood in a beta.
void read_answer_schema(Fields& fields, ChatRequest& request) {
  const char* name = "output_format";
  const Json* format = fields.object(name);
  if (const Json* const config = fields.object("output_config");
      config != nullptr && !member(*config, "format").is_null()) {
    name = "output_config.format";
    format = &member(*config, "format");
  }
  if (format == nullptr) return;
  if (member(*format, "type") != "json_schema" || member(*format, "schema").is_null()) {
    return fields.fail(name, "must be of type json_schema, with a schema");
  }
  request.answer_schema = member(*format, "schema");
}

}  // namespace

std::string anthropic_error_json(const ApiError& error) {
  Json body = anthropic_error(error);
  body["request_id"] = random_id("req_");
  return dump(body);
}

ApiResult<DialectRequest> read_anthropic_messages(const Json& body, const std::string& model) {
  Fields fields(body);
  ChatRequest request;
  Omissions omitted;
  request.settings = read_settings(fields);
  request.settings.stop = fields.texts("stop_sequences", 64);
  if (!request.settings.max_tokens) fields.fail("max_tokens", "is missing");
  const bool is_stream = fields.boolean("stream").value_or(false);
  add_system_message(fields, "system", request.messages, omitted);
  std::vector<std::string> notes;
  read_anthropic_tools(fields, request, notes);
  if (const Json* const thinking = fields.object("thinking")) {
    request.template_kwargs["enable_thinking"] = thinking->value("type", Json()) != "disabled";
  }
  read_answer_schema(fields, request);
  const Json* const messages = fields.array("messages");
  if (messages == nullptr || messages->empty()) {
    fields.fail("messages", "must be a list of at least one message");
  }
  if (fields.error()) return *fields.error();
  for (std::size_t i = 0; i < messages->size(); ++i) {
    std::optional<ApiError> error;
    read_anthropic_message((*messages)[i], i, request.messages, omitted, error);
    if (error) return *error;
  }
  normalize_messages(request.messages);
  if (request.messages.empty()) return nothing_to_answer("messages");
  // What an assistant is said to have begun, it goes on with.
  request.continues_last = request.messages.back()["role"] == "assistant";
  auto writer = std::make_unique<AnthropicWriter>(model, is_stream);
  return DialectRequest{.wanted = std::move(request),
                        .writer = std::move(writer),
                        .omitted = std::move(omitted),
                        .notes = std::move(notes)};
}

}  // namespace flashmoe::server
