// POST /v1/responses
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "server/dialect.h"
#include "server/openai_common.h"
#include "server/response_items.h"

namespace flashmoe::server {
namespace {

constexpr std::string_view kLogprobsIncluded = "message.output_text.logprobs";

class ResponseWriter : public EventStreamWriter {
 public:
  struct Options {
    bool is_stream = false;
    Json echoed = Json::object();     // what a response repeats of its request
    ClientTools tools;                // that the client knows otherwise than the model
    bool hands_out_thoughts = false;  // in a form that clients hand back
    /// Called with the whole response and its id, if it comes to an end.
    std::function<void(const std::string& id, const Json& whole)> on_whole;
  };

  ResponseWriter(std::string model, Options options)
      : EventStreamWriter(options.is_stream),
        model_(std::move(model)),
        id_(random_id("resp_")),
        created_(unix_seconds()),
        options_(std::move(options)) {}

  void begin(std::size_t, std::size_t, std::string& out) override {
    append(out, "response.created", {{"response", response("in_progress")}});
    append(out, "response.in_progress", {{"response", response("in_progress")}});
  }

  void event(std::size_t, const OutputEvent& event, std::vector<TokenInfo>& tokens,
             std::string& out) override {
    if (!goes_on(items_, event)) {
      if (event.is_layout) return;  // no item begins with it
      open_item(event, out);
    }
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
        if (item.is_custom) {
          append_input(out, item.input.add(event.text));
        } else {
          append_item(out, "response.function_call_arguments.delta", {{"delta", event.text}});
        }
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
    if (!items_.empty() && items_.back().is_open) {
      items_.back().is_cut = end.reason == EndReason::kLength;
    }
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
    if (options_.on_whole) options_.on_whole(id_, whole);
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
    CollectedCall call;      // its name is the client's
    std::string name_space;  // of the tool
    bool is_custom = false;  // called with a text:
    CustomInput input;
    bool is_open = true;
    bool is_cut = false;
  };

  void open_item(const OutputEvent& event, std::string& out) {
    close_item(out);
    Item& item = items_.emplace_back();
    item.kind = event.kind;
    if (event.kind == OutputEvent::Kind::kCallBegin) {
      item.call = {.id = random_id("call_"), .name = event.text};
      if (const ClientTool* const tool = options_.tools.find(event.text)) {
        item.call.name = tool->name;
        item.name_space = tool->name_space;
        item.is_custom = tool->is_custom;
      }
      item.id = random_id(item.is_custom ? "ctc_" : "fc_");
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
    if (item.is_custom) {
      append_input(out, item.input.finish());
      append_item(out, "response.custom_tool_call_input.done", {{"input", item.input.text()}});
    } else if (item.kind == OutputEvent::Kind::kCallBegin) {
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

  void append_input(std::string& out, const std::string& text) {
    if (text.empty()) return;
    append_item(out, "response.custom_tool_call_input.delta", {{"delta", text}});
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

  static Json call_json(const Item& item, const char* status) {
    Json call = {{"type", item.is_custom ? "custom_tool_call" : "function_call"},
                 {"id", item.id},
                 {"call_id", item.call.id},
                 {"name", item.call.name}};
    if (!item.name_space.empty()) call["namespace"] = item.name_space;
    if (item.is_custom) {
      call["input"] = item.input.text();
    } else {
      call["arguments"] = item.call.arguments;
    }
    call["status"] = status;
    return call;
  }

  Json item_json(const Item& item) const {
    const bool is_call = item.kind == OutputEvent::Kind::kCallBegin;
    const bool is_whole = is_call ? item.call.is_complete : !item.is_cut;
    const char* const status = item.is_open ? "in_progress" : is_whole ? "completed" : "incomplete";
    switch (item.kind) {
      case OutputEvent::Kind::kCallBegin:
        return call_json(item, status);
      case OutputEvent::Kind::kReasoning: {
        Json thought = {{"type", "reasoning"},
                        {"id", item.id},
                        {"summary", Json::array()},
                        {"content", Json::array({part_json(item)})}};
        if (options_.hands_out_thoughts) thought["encrypted_content"] = kThoughtPrefix + item.text;
        thought["status"] = status;
        return thought;
      }
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
    whole.update(options_.echoed);
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
  const Options options_;
  std::vector<Item> items_;
  std::size_t sequence_ = 0;
  ChoiceEnd end_;
};

/// One tool, which here is not wrapped once more, or the tools of a namespace.
void read_response_tool(Fields& fields, const Json& tool, const std::string& name_space,
                        ChatRequest& request, ClientTools& known,
                        std::vector<std::string>& left_out) {
  if (!tool.is_object()) return fields.fail("tools", "must be objects");
  const Json type = tool.value("type", Json());
  const Json name = tool.value("name", Json());
  const bool is_namespace = type == "namespace" && name_space.empty();
  // Tools that OpenAI's servers run are none of ours.
  if (type != "function" && type != "custom" && !is_namespace) {
    if (type.is_string()) left_out.push_back(type.get<std::string>());
    return;
  }
  if (!name.is_string()) return fields.fail("tools", "must have names");
  if (is_namespace) {
    const Json members = tool.value("tools", Json::array());
    if (!members.is_array()) return fields.fail("tools", "of a namespace must be a list");
    for (const Json& inner : members) {
      read_response_tool(fields, inner, name.get<std::string>(), request, known, left_out);
    }
    return;
  }
  const bool is_custom = type == "custom";
  Json function;
  if (is_custom) {
    function = function_of_custom_tool(tool);
  } else {
    function = {{"name", name}};
    if (const Json& text = member(tool, "description"); !text.is_null()) {
      function["description"] = text;
    }
    const Json& parameters = member(tool, "parameters");
    function["parameters"] = parameters.is_null() ? Json{{"type", "object"}} : parameters;
  }
  if (is_custom || !name_space.empty()) {
    known.add({.name = name.get<std::string>(), .name_space = name_space, .is_custom = is_custom});
    function["name"] = ClientTools::offered_name(name_space, name.get<std::string>());
  }
  if (tool.value("strict", Json()) == true) request.strict_tools.insert(function["name"]);
  add_tool(fields, std::move(function), request);
}

void read_response_tools(Fields& fields, ChatRequest& request, ClientTools& known,
                         std::vector<std::string>& notes) {
  std::vector<std::string> left_out;
  if (const Json* const tools = fields.array("tools")) {
    for (const Json& tool : *tools) read_response_tool(fields, tool, {}, request, known, left_out);
  }
  read_tool_choice(fields, left_out, request);
  drop_choice_of(left_out, request, notes);
}

/// Adds the request's input to `messages`.
std::optional<ApiError> read_input(Fields& fields, ResponseStore* store, Json& messages,
                                   Omissions& omitted) {
  const Json* const input = fields.find("input");
  if (input == nullptr) return std::nullopt;
  if (input->is_string()) {
    messages.push_back({{"role", "user"}, {"content", *input}});
    return std::nullopt;
  }
  if (!input->is_array()) fields.fail("input", "must be a text or a list of items");
  if (fields.error()) return fields.error();
  ResponseItemReader reader(store, messages, omitted);
  for (std::size_t i = 0; i < input->size(); ++i) {
    if (auto error = reader.read((*input)[i], fmt::format("input[{}]", i))) return error;
  }
  return std::nullopt;
}

/// An item of an input as the API lists it: with a type and an id, and its text as a part.
Json listed_item(Json item) {
  const bool is_message = member(item, "type").is_null() || item["type"] == "message";
  const char* const prefix = is_message                        ? "msg_"
                             : item["type"] == "reasoning"     ? "rs_"
                             : item["type"] == "function_call" ? "fc_"
                                                               : "item_";
  if (!member(item, "id").is_string()) item["id"] = random_id(prefix);
  if (!is_message) return item;
  item["type"] = "message";
  if (member(item, "status").is_null()) item["status"] = "completed";
  if (const Json content = member(item, "content"); content.is_string()) {
    Json part = {{"type", "input_text"}, {"text", content}};
    if (item["role"] == "assistant") {
      part = {{"type", "output_text"}, {"text", content}, {"annotations", Json::array()}};
    }
    item["content"] = Json::array({part});
  }
  return item;
}

/// What is listed of an input that could be read. References stand for the items that they name.
Json listed_input(const Json* input, ResponseStore& store) {
  Json items = Json::array();
  if (input == nullptr) return items;
  if (input->is_string()) {
    items.push_back(listed_item({{"role", "user"}, {"content", *input}}));
    return items;
  }
  for (const Json& item : *input) {
    const Json& type = member(item, "type");
    const bool is_reference =
        type == "item_reference" || (type.is_null() && member(item, "role").is_null());
    if (!is_reference) {
      items.push_back(listed_item(item));
      continue;
    }
    const Json& id = member(item, "id");
    if (std::optional<Json> found = store.item(id.is_string() ? id.get<std::string>() : "")) {
      items.push_back(*std::move(found));
    }
  }
  return items;
}

/// Keeps what a response adds to the conversation, and the response.
void keep(ResponseStore& store, const std::string& id, const std::string& previous_id,
          Json messages, const Json& input, const Json& whole) {
  Omissions none;
  ResponseItemReader reader(nullptr, messages, none);
  for (const Json& item : whole["output"]) reader.read(item, "output");
  store.put({.id = id,
             .previous_id = previous_id,
             .messages = std::move(messages),
             .input = input,
             .whole = whole});
}

bool includes(Fields& fields, std::string_view wanted) {
  const std::vector<std::string> included = fields.texts("include", 64);
  return std::ranges::find(included, wanted) != included.end();
}

}  // namespace

ApiResult<DialectRequest> read_openai_response(const Json& body, const std::string& model,
                                               ResponseStore& store) {
  Fields fields(body);
  ChatRequest request;
  Omissions omitted;
  ResponseWriter::Options writing;
  request.settings = read_settings(fields);
  if (const auto limit = fields.integer("max_output_tokens", 1, std::int64_t{1} << 31)) {
    request.settings.max_tokens = static_cast<std::size_t>(*limit);
  }
  const auto top = fields.integer("top_logprobs", 0, 20);
  const std::vector<std::string> include = fields.texts("include", 64);
  if ((top && *top > 0) || std::ranges::find(include, kLogprobsIncluded) != include.end()) {
    request.settings.top_logprobs = static_cast<std::size_t>(top.value_or(0));
  }
  std::vector<std::string> notes;
  read_response_tools(fields, request, writing.tools, notes);
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
  writing.is_stream = fields.boolean("stream").value_or(false);
  writing.hands_out_thoughts = includes(fields, "reasoning.encrypted_content");
  const bool is_kept = fields.boolean("store").value_or(true);
  const std::string previous_id = fields.text("previous_response_id").value_or("");
  if (fields.has("conversation")) {
    fields.fail("conversation", "this server keeps none; go on by previous_response_id");
  }
  // Instructions are the request's alone: what it goes on from had its own.
  add_system_message(fields, "instructions", request.messages, omitted);
  if (fields.error()) return *fields.error();
  if (!previous_id.empty()) {
    ApiResult<Json> before = store.conversation(previous_id);
    if (!before.ok()) return before.error();
    for (Json& message : *before) request.messages.push_back(std::move(message));
  }
  const std::size_t known = request.messages.size();
  if (auto error = read_input(fields, &store, request.messages, omitted)) return *error;
  if (request.messages.empty()) {
    const Json* const input = fields.find("input");
    if (input != nullptr && input->is_array() && !input->empty()) return nothing_to_answer("input");
    return bad_request("input",
                       "input: must be a text or a list of items, which may be empty where there "
                       "are instructions or a previous_response_id");
  }
  if (is_kept) {
    Json added = Json::array();
    for (std::size_t i = known; i < request.messages.size(); ++i) {
      added.push_back(request.messages[i]);
    }
    writing.on_whole = [&store, previous_id, added = std::move(added),
                        input = listed_input(fields.find("input"), store)](const std::string& id,
                                                                           const Json& whole) {
      keep(store, id, previous_id, added, input, whole);
    };
  }
  normalize_messages(request.messages);
  if (request.messages.empty()) return nothing_to_answer("input");
  writing.echoed = {{"parallel_tool_calls", request.has_parallel_calls}, {"store", is_kept}};
  for (const char* name :
       {"instructions", "max_output_tokens", "metadata", "previous_response_id", "temperature",
        "top_p", "tools", "tool_choice", "text", "reasoning", "truncation", "user"}) {
    if (const Json* const value = fields.find(name)) writing.echoed[name] = *value;
  }
  if (!writing.echoed.contains("tools")) writing.echoed["tools"] = Json::array();
  if (!writing.echoed.contains("tool_choice")) writing.echoed["tool_choice"] = "auto";
  auto writer = std::make_unique<ResponseWriter>(model, std::move(writing));
  return DialectRequest{.wanted = std::move(request),
                        .writer = std::move(writer),
                        .omitted = std::move(omitted),
                        .notes = std::move(notes)};
}

}  // namespace flashmoe::server
