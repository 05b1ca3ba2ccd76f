// POST /v1/responses
#include <fmt/format.h>

#include <utility>

#include "server/dialect.h"
#include "server/openai_common.h"

namespace flashmoe::server {
namespace {

class ResponseWriter : public EventStreamWriter {
 public:
  /// `echoed`: what a response repeats of its request.
  ResponseWriter(std::string model, bool is_stream, Json echoed)
      : EventStreamWriter(is_stream),
        model_(std::move(model)),
        id_(random_id("resp_")),
        created_(unix_seconds()),
        echoed_(std::move(echoed)) {}

  void begin(std::size_t, std::string& out) override {
    append(out, "response.created", {{"response", response("in_progress")}});
    append(out, "response.in_progress", {{"response", response("in_progress")}});
  }

  void event(std::size_t, const OutputEvent& event, std::vector<TokenInfo>& tokens,
             std::string& out) override {
    if (items_.empty() || !items_.back().is_open || !adds_to(items_.back().kind, event))
      open_item(event, out);
    Item& item = items_.back();
    switch (event.kind) {
      case OutputEvent::Kind::kText: {
        item.text += event.text;
        Json logprobs = Json::array();
        for (const TokenInfo& token : tokens) logprobs.push_back(openai_logprob(token));
        for (const Json& entry : logprobs) item.logprobs.push_back(entry);
        append_part(out, "response.output_text.delta",
                    {{"delta", event.text}, {"logprobs", logprobs}});
        break;
      }
      case OutputEvent::Kind::kReasoning:
        item.text += event.text;
        append_part(out, "response.reasoning_text.delta", {{"delta", event.text}});
        break;
      case OutputEvent::Kind::kCallArguments:
        item.call.arguments += event.text;
        append_item(out, "response.function_call_arguments.delta", {{"delta", event.text}});
        break;
      case OutputEvent::Kind::kCallBegin:
        break;
      case OutputEvent::Kind::kCallEnd:
        item.call.is_complete = event.is_complete;
        close_item(out);
        break;
    }
    tokens.clear();
  }

  void end_choice(std::size_t, const ChoiceEnd& end, std::vector<TokenInfo>& tokens,
                  std::string& out) override {
    tokens.clear();
    end_ = end;
    close_item(out);
  }

  void finish(const ReplyCounts& counts, std::string& out) override {
    const bool is_cut = end_.reason == EndReason::kLength;
    Json whole = response(is_cut ? "incomplete" : "completed");
    if (is_cut) whole["incomplete_details"] = {{"reason", "max_output_tokens"}};
    whole["usage"] = {{"input_tokens", counts.prompt_tokens},
                      {"input_tokens_details", {{"cached_tokens", counts.cached_tokens}}},
                      {"output_tokens", counts.completion_tokens},
                      {"output_tokens_details", {{"reasoning_tokens", counts.reasoning_tokens}}},
                      {"total_tokens", counts.prompt_tokens + counts.completion_tokens}};
    whole["timings"] = timings_json(counts);
    if (!is_stream()) {
      out += dump(whole);
      return;
    }
    append(out, is_cut ? "response.incomplete" : "response.completed", {{"response", whole}});
  }

  void fail(const ApiError& error, std::string& out) override {
    Json failed = response("failed");
    failed["error"] = {{"code", error.code.empty() ? "server_error" : error.code},
                       {"message", error.message}};
    append(out, "response.failed", {{"response", failed}});
  }

 private:
  struct Item {
    OutputEvent::Kind kind = OutputEvent::Kind::kText;  // kCallBegin: a call
    std::string id;
    std::string text;
    Json logprobs = Json::array();
    CollectedCall call;
    bool is_open = true;
  };

  void open_item(const OutputEvent& event, std::string& out) {
    close_item(out);
    Item& item = items_.emplace_back();
    item.kind = event.kind;
    if (event.kind == OutputEvent::Kind::kCallBegin) {
      item.id = random_id("fc_");
      item.call = {.id = random_id("call_"), .name = event.text};
    } else {
      item.id = random_id(event.kind == OutputEvent::Kind::kReasoning ? "rs_" : "msg_");
    }
    Json added = item_json(item);
    if (event.kind != OutputEvent::Kind::kCallBegin) added["content"] = Json::array();
    append(out, "response.output_item.added", {{"output_index", index()}, {"item", added}});
    if (event.kind != OutputEvent::Kind::kCallBegin) {
      append_part(out, "response.content_part.added", {{"part", part_json(item)}});
    }
  }

  void close_item(std::string& out) {
    if (items_.empty() || !items_.back().is_open) return;
    Item& item = items_.back();
    item.is_open = false;
    if (item.kind == OutputEvent::Kind::kCallBegin) {
      append_item(out, "response.function_call_arguments.done",
                  {{"name", item.call.name}, {"arguments", item.call.arguments}});
    } else {
      const bool is_thought = item.kind == OutputEvent::Kind::kReasoning;
      Json done = {{"text", item.text}};
      if (!is_thought) done["logprobs"] = item.logprobs;
      append_part(out, is_thought ? "response.reasoning_text.done" : "response.output_text.done",
                  done);
      append_part(out, "response.content_part.done", {{"part", part_json(item)}});
    }
    append(out, "response.output_item.done",
           {{"output_index", index()}, {"item", item_json(item)}});
  }

  std::size_t index() const { return items_.size() - 1; }

  static Json part_json(const Item& item) {
    if (item.kind == OutputEvent::Kind::kReasoning) {
      return {{"type", "reasoning_text"}, {"text", item.text}};
    }
    return {{"type", "output_text"},
            {"text", item.text},
            {"annotations", Json::array()},
            {"logprobs", item.logprobs}};
  }

  static Json item_json(const Item& item) {
    const char* const status =
        item.is_open                                                           ? "in_progress"
        : item.kind == OutputEvent::Kind::kCallBegin && !item.call.is_complete ? "incomplete"
                                                                               : "completed";
    switch (item.kind) {
      case OutputEvent::Kind::kCallBegin:
        return {{"type", "function_call"},          {"id", item.id},
                {"call_id", item.call.id},          {"name", item.call.name},
                {"arguments", item.call.arguments}, {"status", status}};
      case OutputEvent::Kind::kReasoning:
        return {{"type", "reasoning"},
                {"id", item.id},
                {"summary", Json::array()},
                {"content", Json::array({part_json(item)})},
                {"status", status}};
      default:
        return {{"type", "message"},
                {"id", item.id},
                {"role", "assistant"},
                {"status", status},
                {"content", Json::array({part_json(item)})}};
    }
  }

  Json response(const char* status) const {
    Json whole = {{"id", id_},
                  {"object", "response"},
                  {"created_at", created_},
                  {"status", status},
                  {"model", model_},
                  {"error", nullptr},
                  {"incomplete_details", nullptr},
                  {"output", Json::array()}};
    for (const Item& item : items_) whole["output"].push_back(item_json(item));
    whole.update(echoed_);
    return whole;
  }

  void append(std::string& out, const char* name, Json data) {
    if (!is_stream()) return;
    Json event = {{"type", name}, {"sequence_number", sequence_++}};
    event.update(data);
    append_sse(out, name, event);
  }
  void append_item(std::string& out, const char* name, const Json& data) {
    Json event = {{"item_id", items_.back().id}, {"output_index", index()}};
    event.update(data);
    append(out, name, std::move(event));
  }
  void append_part(std::string& out, const char* name, const Json& data) {
    Json event = {{"content_index", 0}};
    event.update(data);
    append_item(out, name, event);
  }

  const std::string model_;
  const std::string id_;
  const std::int64_t created_;
  const Json echoed_;
  std::vector<Item> items_;
  std::size_t sequence_ = 0;
  ChoiceEnd end_;
};

/// The assistant's message at the end, to which calls and thoughts belong; a new one where the last
/// message is somebody else's.
Json& assistant_message(Json& messages) {
  if (messages.empty() || messages.back()["role"] != "assistant") {
    messages.push_back({{"role", "assistant"}, {"content", ""}});
  }
  return messages.back();
}

void read_item(Fields& fields, Json& messages) {
  const std::string type = fields.text("type").value_or("message");
  if (type == "message") {
    std::string role = fields.text("role").value_or("");
    if (role == "developer") role = "system";
    if (role != "system" && role != "user" && role != "assistant") {
      return fields.fail(
          "role", fmt::format("\"{}\" is none of system, developer, user and assistant", role));
    }
    const std::string content = read_content(fields, "content");
    const bool completes_thought = role == "assistant" && !messages.empty() &&
                                   messages.back()["role"] == "assistant" &&
                                   messages.back()["content"].get_ref<const std::string&>().empty();
    if (completes_thought) {
      messages.back()["content"] = content;
    } else {
      messages.push_back({{"role", role}, {"content", content}});
    }
  } else if (type == "function_call") {
    Json call = {{"type", "function"},
                 {"function",
                  {{"name", fields.text("name").value_or("")},
                   {"arguments", fields.text("arguments").value_or("{}")}}}};
    if (const auto id = fields.text("call_id")) call["id"] = *id;
    assistant_message(messages)["tool_calls"].push_back(std::move(call));
  } else if (type == "function_call_output") {
    Json result = {{"role", "tool"}, {"content", read_content(fields, "output")}};
    if (const auto id = fields.text("call_id")) result["tool_call_id"] = *id;
    messages.push_back(std::move(result));
  } else if (type == "reasoning") {
    const std::string thought = read_content(fields, "content");
    if (!thought.empty()) {
      messages.push_back({{"role", "assistant"}, {"content", ""}, {"reasoning_content", thought}});
    }
  } else {
    fields.fail("type", fmt::format("\"{}\" is not supported", type));
  }
}

/// Here functions are not wrapped once more.
void read_response_tools(Fields& fields, ChatRequest& request) {
  if (const Json* const tools = fields.array("tools")) {
    for (const Json& tool : *tools) {
      if (!tool.is_object()) return fields.fail("tools", "must be objects");
      // Tools that OpenAI's servers run are none of ours.
      if (tool.value("type", Json()) != "function") continue;
      if (!tool.value("name", Json()).is_string()) return fields.fail("tools", "must have names");
      Json function = {{"name", tool["name"]}};
      if (tool.value("strict", Json()) == true) request.strict_tools.insert(tool["name"]);
      if (const Json& text = member(tool, "description"); !text.is_null())
        function["description"] = text;
      const Json& parameters = member(tool, "parameters");
      function["parameters"] = parameters.is_null() ? Json{{"type", "object"}} : parameters;
      request.tools.push_back({{"type", "function"}, {"function", std::move(function)}});
    }
  }
  const auto name_of = [](const Json& choice) -> const Json* {
    return choice.value("type", Json()) == "function" && choice.contains("name") ? &choice["name"]
                                                                                 : nullptr;
  };
  read_tool_choice(fields, name_of, request);
}

}  // namespace

ApiResult<DialectRequest> read_openai_response(const Json& body, const std::string& model) {
  Fields fields(body);
  ChatRequest request;
  request.settings = read_settings(fields);
  if (const auto limit = fields.integer("max_output_tokens", 1, std::int64_t{1} << 31)) {
    request.settings.max_tokens = static_cast<std::size_t>(*limit);
  }
  if (const auto top = fields.integer("top_logprobs", 0, 20); top && *top > 0) {
    request.settings.top_logprobs = static_cast<std::size_t>(*top);
  }
  if (fields.has("previous_response_id")) {
    fields.fail("previous_response_id",
                "this server keeps no responses; send the whole conversation as input");
  }
  read_response_tools(fields, request);
  if (const Json* const text = fields.object("text")) {
    Fields text_fields(*text, "text.");
    read_response_format(text_fields, "format", request.answer_schema, request.is_schema_strict);
    if (text_fields.error()) return *text_fields.error();
  }
  if (const Json* const reasoning = fields.object("reasoning")) {
    const Json effort = reasoning->value("effort", Json());
    if (effort.is_string()) request.template_kwargs["reasoning_effort"] = effort;
    if (effort == "none") request.template_kwargs["enable_thinking"] = false;
  }
  if (const auto instructions = fields.text("instructions")) {
    request.messages.push_back({{"role", "system"}, {"content", *instructions}});
  }
  const bool is_stream = fields.boolean("stream").value_or(false);
  const Json* const input = fields.find("input");
  if (input == nullptr || (!input->is_string() && !input->is_array()) || input->empty()) {
    fields.fail("input", "must be a text or a list of items");
  }
  if (fields.error()) return *fields.error();
  if (input->is_string()) {
    request.messages.push_back({{"role", "user"}, {"content", *input}});
  } else {
    for (std::size_t i = 0; i < input->size(); ++i) {
      Fields item((*input)[i], fmt::format("input[{}].", i));
      if (!item.error()) read_item(item, request.messages);
      if (item.error()) return *item.error();
    }
  }
  normalize_messages(request.messages);
  if (request.messages.empty()) return nothing_to_answer("input");
  Json echoed = {{"parallel_tool_calls", request.has_parallel_calls}};
  for (const char* name : {"instructions", "max_output_tokens", "metadata", "temperature", "top_p",
                           "tools", "tool_choice", "text", "reasoning", "truncation", "user"}) {
    if (const Json* const value = fields.find(name)) echoed[name] = *value;
  }
  if (!echoed.contains("tools")) echoed["tools"] = Json::array();
  if (!echoed.contains("tool_choice")) echoed["tool_choice"] = "auto";
  auto writer = std::make_unique<ResponseWriter>(model, is_stream, std::move(echoed));
  return DialectRequest{.wanted = std::move(request), .writer = std::move(writer)};
}

}  // namespace flashmoe::server
