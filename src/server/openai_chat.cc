// POST /v1/chat/completions
#include <fmt/format.h>

#include <utility>

#include "server/dialect.h"
#include "server/openai_common.h"

namespace flashmoe::server {
namespace {

class OpenAiChatWriter : public EventStreamWriter {
 public:
  struct Options {
    bool is_stream = false;
    bool includes_usage = false;
    bool has_logprobs = false;
    std::size_t choices = 1;
    ClientTools tools;              // those that are custom
    bool has_one_function = false;  // calls are told as function_call, of which there is one
  };

  OpenAiChatWriter(std::string model, Options options)
      : EventStreamWriter(options.is_stream),
        model_(std::move(model)),
        id_(random_id("chatcmpl-")),
        created_(unix_seconds()),
        options_(std::move(options)),
        choices_(options_.choices),
        inputs_(options_.choices),
        chunk_head_(dump(frame("chat.completion.chunk"))) {
    chunk_head_.pop_back();  // the brace that closes it
  }

  void begin(std::size_t, std::size_t, std::string& out) override {
    if (!is_stream()) return;
    for (std::size_t i = 0; i < choices_.size(); ++i) {
      append_chunk(out, i, {{"role", "assistant"}, {"content", ""}}, Json(), {});
    }
  }

  void event(std::size_t index, const OutputEvent& event, std::vector<TokenInfo>& tokens,
             std::string& out) override {
    CollectedChoice& choice = choices_[index];
    choice.add(event, "call_");
    if (!is_stream()) {
      move_tokens(tokens, choice.tokens);
      return;
    }
    if (const Json delta = delta_of(index, event); !delta.empty()) {
      append_chunk(out, index, delta, Json(), std::exchange(tokens, {}));
    }
  }

  void end_choice(std::size_t index, const ChoiceEnd& end, std::vector<TokenInfo>& tokens,
                  std::string& out) override {
    CollectedChoice& choice = choices_[index];
    choice.end = end;
    if (is_stream()) {
      append_chunk(out, index, Json::object(), finish_reason(end.reason),
                   std::exchange(tokens, {}));
    } else {
      move_tokens(tokens, choice.tokens);
    }
  }

  void finish(const ReplyCounts& counts, std::string& out) override {
    if (!is_stream()) {
      out += dump(whole(counts));
      return;
    }
    if (options_.includes_usage) {
      Json chunk = frame("chat.completion.chunk");
      chunk["choices"] = Json::array();
      chunk["usage"] = openai_usage(counts);
      chunk["timings"] = timings_json(counts);
      append_sse(out, {}, chunk);
    }
    out += "data: [DONE]\n\n";
  }

  void fail(const ApiError& error, std::string& out) override {
    out += "data: " + openai_error_json(error) + "\n\n";
  }

 private:
  Json frame(const char* object) const {
    return {{"id", id_},
            {"object", object},
            {"created", created_},
            {"model", model_},
            {"system_fingerprint", "flash-moe"}};
  }

  std::string_view finish_reason(EndReason reason) const {
    const bool is_call = reason == EndReason::kToolCalls && options_.has_one_function;
    return is_call ? "function_call" : openai_finish_reason(reason);
  }

  bool is_custom(const CollectedCall& call) const {
    return options_.tools.find(call.name) != nullptr;
  }

  Json call_json(const CollectedCall& call) const {
    if (is_custom(call)) {
      return {{"id", call.id},
              {"type", "custom"},
              {"custom", {{"name", call.name}, {"input", custom_input_of(call.arguments)}}}};
    }
    return {{"id", call.id},
            {"type", "function"},
            {"function", {{"name", call.name}, {"arguments", call.arguments}}}};
  }

  /// What a chunk says of an event; nothing, where that has been said.
  Json delta_of(std::size_t index, const OutputEvent& event) {
    const CollectedChoice& choice = choices_[index];
    switch (event.kind) {
      case OutputEvent::Kind::kText:
        return {{"content", event.text}};
      case OutputEvent::Kind::kReasoning:
        return {{"reasoning_content", event.text}};
      case OutputEvent::Kind::kCallBegin:
        inputs_[index] = {};
        return call_delta(choice, call_json({.id = choice.calls.back().id, .name = event.text}));
      case OutputEvent::Kind::kCallArguments:
        if (!is_custom(choice.calls.back())) {
          return call_delta(choice, {{"function", {{"arguments", event.text}}}});
        }
        return input_delta(choice, inputs_[index].add(event.text));
      case OutputEvent::Kind::kCallEnd:
        if (!is_custom(choice.calls.back())) return {};
        return input_delta(choice, inputs_[index].finish());
    }
    return {};
  }

  static Json input_delta(const CollectedChoice& choice, const std::string& text) {
    if (text.empty()) return {};
    const Json entry = {{"index", choice.calls.size() - 1}, {"custom", {{"input", text}}}};
    return {{"tool_calls", Json::array({entry})}};
  }

  /// `part`: of the last call.
  Json call_delta(const CollectedChoice& choice, const Json& part) const {
    if (options_.has_one_function) {
      return choice.calls.size() > 1 ? Json() : Json{{"function_call", part["function"]}};
    }
    Json entry = {{"index", choice.calls.size() - 1}};
    entry.update(part);
    return {{"tool_calls", Json::array({entry})}};
  }

  /// What is the same in all chunks is written once: there is one for each token.
  void append_chunk(std::string& out, std::size_t index, const Json& delta, const Json& reason,
                    const std::vector<TokenInfo>& tokens) const {
    out += "data: ";
    out += chunk_head_;
    out += fmt::format(R"(,"choices":[{{"index":{},"delta":)", index);
    out += dump(delta);
    out += R"(,"finish_reason":)";
    out += dump(reason);
    out += R"(,"logprobs":)";
    out += options_.has_logprobs && !tokens.empty() ? dump(logprobs(tokens)) : "null";
    out += options_.includes_usage ? R"(}],"usage":null})" : "}]}";
    out += "\n\n";
  }

  static Json logprobs(const std::vector<TokenInfo>& tokens) {
    Json content = Json::array();
    for (const TokenInfo& token : tokens) content.push_back(openai_logprob(token));
    return {{"content", content}, {"refusal", nullptr}};
  }

  Json whole(const ReplyCounts& counts) const {
    Json reply = frame("chat.completion");
    reply["choices"] = Json::array();
    for (std::size_t i = 0; i < choices_.size(); ++i) {
      const CollectedChoice& choice = choices_[i];
      Json message = {
          {"role", "assistant"},
          {"content", choice.text.empty() && !choice.calls.empty() ? Json() : Json(choice.text)},
          {"refusal", nullptr}};
      if (!choice.reasoning.empty()) message["reasoning_content"] = choice.reasoning;
      for (const CollectedCall& call : choice.calls) {
        if (options_.has_one_function) {
          message["function_call"] = {{"name", call.name}, {"arguments", call.arguments}};
          break;
        }
        message["tool_calls"].push_back(call_json(call));
      }
      reply["choices"].push_back(
          {{"index", i},
           {"message", message},
           {"logprobs", options_.has_logprobs ? logprobs(choice.tokens) : Json()},
           {"finish_reason", finish_reason(choice.end.reason)}});
    }
    reply["usage"] = openai_usage(counts);
    reply["timings"] = timings_json(counts);
    return reply;
  }

  const std::string model_;
  const std::string id_;
  const std::int64_t created_;
  const Options options_;
  std::vector<CollectedChoice> choices_;
  std::vector<CustomInput> inputs_;  // of each choice's last call, if that is of a custom tool
  std::string chunk_head_;
};

/// A call in an assistant's history, in the common form; none where it is no call.
std::optional<Json> read_call(const Json& call) {
  if (!call.is_object()) return std::nullopt;
  const bool is_custom = call.value("type", Json()) == "custom";
  const Json inner = call.value(is_custom ? "custom" : "function", Json());
  if (!inner.is_object() || !inner.value("name", Json()).is_string()) return std::nullopt;
  Json arguments = inner.value("arguments", Json("{}"));
  if (is_custom) {
    const Json input = inner.value("input", Json(""));
    if (!input.is_string()) return std::nullopt;
    arguments = custom_arguments(input.get<std::string>());
  }
  Json kept = {{"type", "function"},
               {"function", {{"name", inner["name"]}, {"arguments", std::move(arguments)}}}};
  if (call.contains("id")) kept["id"] = call["id"];
  return kept;
}

/// One message in the common form. Errors through `fields`.
Json read_message(Fields& fields, Omissions& omitted) {
  const std::string role = fields.text("role").value_or("");
  Json message = {{"role", role}};
  if (role == "developer") {
    message["role"] = "system";
  } else if (role == "function") {
    message["role"] = "tool";
  } else if (role != "system" && role != "user" && role != "assistant" && role != "tool") {
    fields.fail("role",
                fmt::format("\"{}\" is none of system, developer, user, assistant and tool", role));
  }
  message["content"] = message["role"] == "system" ? read_system_content(fields, "content", omitted)
                                                   : read_content(fields, "content", omitted);
  if (message["role"] == "tool") {
    if (const auto id = fields.text("tool_call_id")) message["tool_call_id"] = *id;
    if (const auto name = fields.text("name")) message["name"] = *name;
    return message;
  }
  if (role != "assistant") return message;
  auto reasoning = fields.text("reasoning_content");
  if (!reasoning) reasoning = fields.text("reasoning");
  if (reasoning && !reasoning->empty()) message["reasoning_content"] = *reasoning;
  if (const Json* const calls = fields.array("tool_calls")) {
    for (const Json& call : *calls) {
      std::optional<Json> kept = read_call(call);
      if (!kept) {
        fields.fail("tool_calls", R"(must be {"id", "function": {"name", "arguments"}})");
        return message;
      }
      message["tool_calls"].push_back(std::move(*kept));
    }
  } else if (const Json* const function = fields.object("function_call")) {
    std::optional<Json> kept = read_call({{"function", *function}});
    if (!kept) {
      fields.fail("function_call", R"(must be {"name", "arguments"})");
      return message;
    }
    message["tool_calls"].push_back(std::move(*kept));
  }
  return message;
}

/// "functions" and "function_call", which came before tools: one call at a time. False: there are
/// none.
bool read_functions(Fields& fields, ChatRequest& request) {
  const Json* const functions = fields.array("functions");
  if (functions == nullptr || functions->empty() || fields.has("tools")) return false;
  for (const Json& function : *functions) {
    if (!function.is_object() || !function.value("name", Json()).is_string()) {
      fields.fail("functions", R"(must be {"name", "description", "parameters"})");
      return false;
    }
    request.tools.push_back({{"type", "function"}, {"function", function}});
  }
  request.has_parallel_calls = false;
  const Json* const choice = fields.find("function_call");
  if (choice == nullptr || *choice == "auto") return true;
  if (*choice == "none") {
    request.tool_choice.kind = ToolChoice::Kind::kNone;
  } else if (choice->is_object() && choice->value("name", Json()).is_string()) {
    request.tool_choice = {ToolChoice::Kind::kRequired, {(*choice)["name"].get<std::string>()}};
  } else {
    fields.fail("function_call", R"(must be "none", "auto" or a function by its name)");
  }
  return true;
}

}  // namespace

ApiResult<DialectRequest> read_openai_chat(const Json& body, const std::string& model) {
  Fields fields(body);
  ChatRequest request;
  Omissions omitted;
  OpenAiChatWriter::Options writing;
  request.settings = read_settings(fields);
  request.settings.choices = read_choices(fields);
  const auto top = fields.integer("top_logprobs", 0, 20);
  const bool has_logprobs = fields.boolean("logprobs").value_or(false);
  if (has_logprobs) request.settings.top_logprobs = static_cast<std::size_t>(top.value_or(0));
  if (top && *top > 0 && !has_logprobs) fields.fail("top_logprobs", "needs logprobs to be true");
  read_openai_tools(fields, request, writing.tools);
  writing.has_one_function = read_functions(fields, request);
  read_response_format(fields, "response_format", request.answer_schema, request.is_schema_strict);
  writing.is_stream = fields.boolean("stream").value_or(false);
  writing.includes_usage = read_includes_usage(fields);
  if (const Json* const kwargs = fields.object("chat_template_kwargs")) {
    request.template_kwargs = *kwargs;
  }
  if (const auto effort = fields.text("reasoning_effort")) {
    request.template_kwargs.emplace("reasoning_effort", *effort);
    if (*effort == "none") request.template_kwargs.emplace("enable_thinking", false);
  }
  const Json* const messages = fields.array("messages");
  if (messages == nullptr || messages->empty()) {
    fields.fail("messages", "must be a list of at least one message");
  }
  if (fields.error()) return *fields.error();
  for (std::size_t i = 0; i < messages->size(); ++i) {
    Fields message_fields((*messages)[i], fmt::format("messages[{}].", i));
    request.messages.push_back(read_message(message_fields, omitted));
    if (message_fields.error()) return *message_fields.error();
  }
  request.continues_last = fields.boolean("continue_final_message").value_or(false);
  if (fields.error()) return *fields.error();
  normalize_messages(request.messages);
  if (request.messages.empty()) return nothing_to_answer("messages");
  writing.choices = request.settings.choices;
  writing.has_logprobs = has_logprobs;
  auto writer = std::make_unique<OpenAiChatWriter>(model, std::move(writing));
  return DialectRequest{
      .wanted = std::move(request), .writer = std::move(writer), .omitted = std::move(omitted)};
}

}  // namespace flashmoe::server
