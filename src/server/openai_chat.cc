// POST /v1/chat/completions
#include <fmt/format.h>

#include <utility>

#include "server/dialect.h"
#include "server/openai_common.h"

namespace flashmoe::server {
namespace {

class OpenAiChatWriter : public EventStreamWriter {
 public:
  OpenAiChatWriter(std::string model, bool is_stream, bool includes_usage, std::size_t choices,
                   bool has_logprobs)
      : EventStreamWriter(is_stream),
        model_(std::move(model)),
        id_(random_id("chatcmpl-")),
        created_(unix_seconds()),
        includes_usage_(includes_usage),
        has_logprobs_(has_logprobs),
        choices_(choices),
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
    if (event.kind == OutputEvent::Kind::kCallEnd) return;
    append_chunk(out, index, delta_of(choice, event), Json(), std::exchange(tokens, {}));
  }

  void end_choice(std::size_t index, const ChoiceEnd& end, std::vector<TokenInfo>& tokens,
                  std::string& out) override {
    CollectedChoice& choice = choices_[index];
    choice.end = end;
    if (is_stream()) {
      append_chunk(out, index, Json::object(), openai_finish_reason(end.reason),
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
    if (includes_usage_) {
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

  static Json delta_of(const CollectedChoice& choice, const OutputEvent& event) {
    switch (event.kind) {
      case OutputEvent::Kind::kReasoning:
        return {{"reasoning_content", event.text}};
      case OutputEvent::Kind::kCallBegin: {
        const CollectedCall& call = choice.calls.back();
        const Json entry = {{"index", choice.calls.size() - 1},
                            {"id", call.id},
                            {"type", "function"},
                            {"function", {{"name", call.name}, {"arguments", ""}}}};
        return {{"tool_calls", Json::array({entry})}};
      }
      case OutputEvent::Kind::kCallArguments: {
        const Json entry = {{"index", choice.calls.size() - 1},
                            {"function", {{"arguments", event.text}}}};
        return {{"tool_calls", Json::array({entry})}};
      }
      default:
        return {{"content", event.text}};
    }
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
    out += has_logprobs_ && !tokens.empty() ? dump(logprobs(tokens)) : "null";
    out += includes_usage_ ? R"(}],"usage":null})" : "}]}";
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
        message["tool_calls"].push_back(
            {{"id", call.id},
             {"type", "function"},
             {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
      }
      reply["choices"].push_back({{"index", i},
                                  {"message", message},
                                  {"logprobs", has_logprobs_ ? logprobs(choice.tokens) : Json()},
                                  {"finish_reason", openai_finish_reason(choice.end.reason)}});
    }
    reply["usage"] = openai_usage(counts);
    reply["timings"] = timings_json(counts);
    return reply;
  }

  const std::string model_;
  const std::string id_;
  const std::int64_t created_;
  const bool includes_usage_;
  const bool has_logprobs_;
  std::vector<CollectedChoice> choices_;
  std::string chunk_head_;
};

/// One message in the common form. Errors through `fields`.
Json read_message(Fields& fields) {
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
  message["content"] = read_content(fields, "content");
  if (message["role"] == "tool") {
    if (const auto id = fields.text("tool_call_id")) message["tool_call_id"] = *id;
    if (const auto name = fields.text("name")) message["name"] = *name;
    return message;
  }
  if (role != "assistant") return message;
  auto reasoning = fields.text("reasoning_content");
  if (!reasoning) reasoning = fields.text("reasoning");
  if (reasoning && !reasoning->empty()) message["reasoning_content"] = *reasoning;
  const Json* const calls = fields.array("tool_calls");
  if (calls == nullptr || calls->empty()) return message;
  for (const Json& call : *calls) {
    const Json function = call.is_object() ? call.value("function", Json()) : Json();
    if (!function.is_object() || !function.value("name", Json()).is_string()) {
      fields.fail("tool_calls", R"(must be {"id", "function": {"name", "arguments"}})");
      return message;
    }
    Json kept = {
        {"type", "function"},
        {"function",
         {{"name", function["name"]}, {"arguments", function.value("arguments", Json("{}"))}}}};
    if (call.contains("id")) kept["id"] = call["id"];
    message["tool_calls"].push_back(std::move(kept));
  }
  return message;
}

}  // namespace

ApiResult<DialectRequest> read_openai_chat(const Json& body, const std::string& model) {
  Fields fields(body);
  ChatRequest request;
  request.settings = read_settings(fields);
  request.settings.choices = read_choices(fields);
  const auto top = fields.integer("top_logprobs", 0, 20);
  const bool has_logprobs = fields.boolean("logprobs").value_or(false);
  if (has_logprobs) request.settings.top_logprobs = static_cast<std::size_t>(top.value_or(0));
  if (top && *top > 0 && !has_logprobs) fields.fail("top_logprobs", "needs logprobs to be true");
  read_openai_tools(fields, request);
  read_response_format(fields, "response_format", request.answer_schema, request.is_schema_strict);
  const bool is_stream = fields.boolean("stream").value_or(false);
  const bool includes_usage = read_includes_usage(fields);
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
    request.messages.push_back(read_message(message_fields));
    if (message_fields.error()) return *message_fields.error();
  }
  request.continues_last = fields.boolean("continue_final_message").value_or(false);
  if (fields.error()) return *fields.error();
  normalize_messages(request.messages);
  if (request.messages.empty()) return nothing_to_answer("messages");
  auto writer = std::make_unique<OpenAiChatWriter>(model, is_stream, includes_usage,
                                                   request.settings.choices, has_logprobs);
  return DialectRequest{.wanted = std::move(request), .writer = std::move(writer)};
}

}  // namespace flashmoe::server
