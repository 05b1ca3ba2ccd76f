// POST /api/chat and /api/generate
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>
#include <string_view>
#include <utility>

#include "server/dialect.h"
#include "server/openai_common.h"

namespace flashmoe::server {
namespace {

std::int64_t nanoseconds(double seconds) { return static_cast<std::int64_t>(seconds * 1e9); }

/// NDJSON, a line per event; calls are told whole, with their arguments as objects.
class OllamaWriter : public ReplyWriter {
 public:
  OllamaWriter(std::string model, bool is_stream, bool is_chat)
      : model_(std::move(model)), is_stream_(is_stream), is_chat_(is_chat) {}

  bool is_stream() const override { return is_stream_; }
  std::string_view content_type() const override {
    return is_stream_ ? "application/x-ndjson" : "application/json";
  }

  std::string waiting() const override { return keep_alive(); }
  std::string keep_alive() const override {
    std::string line;
    append_line(line, said({}, {}));
    return line;
  }

  std::size_t bytes_kept(std::optional<std::size_t> top_logprobs) const override {
    return bytes_kept_as_tokens(top_logprobs);
  }

  void event(std::size_t, const OutputEvent& event, std::vector<TokenInfo>& tokens,
             std::string& out) override {
    choice_.add(event, "call_");
    if (!is_stream_) return move_tokens(tokens, choice_.tokens);
    switch (event.kind) {
      case OutputEvent::Kind::kText: {
        Json part = said(event.text, {});
        if (!tokens.empty()) part["logprobs"] = logprobs(std::exchange(tokens, {}));
        return append_line(out, part);
      }
      case OutputEvent::Kind::kReasoning:
        return append_line(out, said({}, event.text));
      case OutputEvent::Kind::kCallEnd: {
        Json message = {{"role", "assistant"}, {"content", ""}};
        message["tool_calls"] = Json::array({call_json(choice_.calls.back())});
        return append_line(out, {{"message", message}});
      }
      default:
        return;
    }
  }

  void end_choice(std::size_t, const ChoiceEnd& end, std::vector<TokenInfo>& tokens,
                  std::string& /*out*/) override {
    move_tokens(tokens, choice_.tokens);
    choice_.end = end;
  }

  void finish(const ReplyCounts& counts, std::string& out) override {
    Json line = frame();
    line.update(is_stream_ ? said({}, {}) : said(choice_.text, choice_.reasoning));
    if (!is_stream_) {
      for (const CollectedCall& call : choice_.calls) {
        line["message"]["tool_calls"].push_back(call_json(call));
      }
    }
    // Of a stream, those that were left over.
    if (!choice_.tokens.empty()) line["logprobs"] = logprobs(choice_.tokens);
    line["done"] = true;
    line["done_reason"] = choice_.end.reason == EndReason::kLength ? "length" : "stop";
    const GenerationStatistics& run = counts.statistics;
    line["total_duration"] =
        nanoseconds(run.queue_seconds + run.prefill_seconds + run.decode_seconds);
    line["load_duration"] = 0;
    line["prompt_eval_count"] = counts.prompt_tokens;
    line["prompt_eval_duration"] = nanoseconds(run.prefill_seconds);
    line["eval_count"] = counts.completion_tokens;
    line["eval_duration"] = nanoseconds(run.decode_seconds);
    out += dump(line);
    if (is_stream_) out += '\n';
  }

  void fail(const ApiError& error, std::string& out) override {
    out += ollama_error_json(error) + "\n";
  }

 private:
  Json frame() const { return {{"model", model_}, {"created_at", rfc3339(unix_seconds())}}; }

  Json said(const std::string& text, const std::string& thinking) const {
    if (!is_chat_) {
      Json part = {{"response", text}};
      if (!thinking.empty()) part["thinking"] = thinking;
      return part;
    }
    Json message = {{"role", "assistant"}, {"content", text}};
    if (!thinking.empty()) message["thinking"] = thinking;
    return {{"message", message}};
  }

  static Json logprobs(const std::vector<TokenInfo>& tokens) {
    Json list = Json::array();
    for (const TokenInfo& token : tokens) {
      list.push_back(openai_logprob(token));
      if (token.top.empty()) list.back().erase("top_logprobs");
    }
    return list;
  }

  static Json call_json(const CollectedCall& call) {
    Json arguments = Json::parse(call.arguments, nullptr, false);
    if (!arguments.is_object()) arguments = Json::object();
    return {{"id", call.id}, {"function", {{"name", call.name}, {"arguments", arguments}}}};
  }

  void append_line(std::string& out, const Json& part) const {
    Json line = frame();
    line.update(part);
    line["done"] = false;
    out += dump(line);
    out += '\n';
  }

  const std::string model_;
  const bool is_stream_;
  const bool is_chat_;
  CollectedChoice choice_;
};

/// "options", which has other names for some of the settings.
GenerationSettings read_options(Fields& fields) {
  const Json* const options = fields.object("options");
  if (options == nullptr) return {};
  Fields option_fields(*options, "options.");
  GenerationSettings settings = read_settings(option_fields);
  const auto predict = option_fields.integer("num_predict", -2, std::int64_t{1} << 31);
  if (predict && *predict >= 0) settings.max_tokens = static_cast<std::size_t>(*predict);
  if (option_fields.error()) fields.fail("options", option_fields.error()->message);
  return settings;
}

/// "logprobs" and "top_logprobs".
void read_logprobs(Fields& fields, GenerationSettings& settings) {
  const auto top = fields.integer("top_logprobs", 0, 20);
  if (!fields.boolean("logprobs").value_or(false)) return;
  settings.top_logprobs = static_cast<std::size_t>(top.value_or(0));
}

/// "format": "json", or a schema.
void read_format(Fields& fields, std::optional<Json>& schema, bool& is_strict) {
  const Json* const format = fields.find("format");
  if (format == nullptr || *format == "") return;
  if (*format == "json") {
    schema = Json{{"type", "object"}};
    is_strict = false;
  } else if (format->is_object()) {
    schema = *format;
  } else {
    fields.fail("format", R"(must be "json" or a JSON schema)");
  }
}

void read_think(Fields& fields, Json& kwargs) {
  const Json* const think = fields.find("think");
  if (think == nullptr) return;
  kwargs["enable_thinking"] = *think != false;
  if (think->is_string()) kwargs["reasoning_effort"] = *think;
}

/// A length of time as Go writes it ("1h30m", "-1s", "0"), in seconds.
std::optional<double> parse_duration(std::string_view text) {
  constexpr std::pair<std::string_view, double> kUnits[] = {
      {"ns", 1e-9}, {"us", 1e-6}, {"µs", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}};
  const bool is_negative = text.starts_with('-');
  if (is_negative || text.starts_with('+')) text.remove_prefix(1);
  if (text == "0") return 0;
  if (text.empty()) return std::nullopt;
  double seconds = 0;
  while (!text.empty()) {
    double number = 0;
    const auto [end, failure] =
        std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
    if (failure != std::errc() || text.front() == '-') return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    const std::string_view unit = text.substr(0, text.find_first_of("+-.0123456789"));
    const auto known = std::ranges::find(kUnits, unit, &std::pair<std::string_view, double>::first);
    if (known == std::end(kUnits)) return std::nullopt;
    seconds += number * known->second;
    text.remove_prefix(unit.size());
  }
  return is_negative ? -seconds : seconds;
}

/// "keep_alive", in seconds or as Go writes durations: whether the model may go at once.
bool read_unloads(Fields& fields) {
  const Json* const keep_alive = fields.find("keep_alive");
  if (keep_alive == nullptr) return false;
  if (keep_alive->is_number()) return keep_alive->get<double>() == 0;
  const auto duration = keep_alive->is_string()
                            ? parse_duration(keep_alive->get_ref<const std::string&>())
                            : std::nullopt;
  if (!duration) fields.fail("keep_alive", R"(must be seconds, or a duration as "5m")");
  return duration == 0;
}

/// Ollama's clients load a model, or unload it, by asking it nothing. It stays here all the same.
std::string loaded_json(const std::string& model, bool is_chat, bool unloads) {
  Json reply = {{"model", model}, {"created_at", rfc3339(unix_seconds())}};
  if (is_chat) {
    reply["message"] = {{"role", "assistant"}, {"content", ""}};
  } else {
    reply["response"] = "";
  }
  reply["done"] = true;
  reply["done_reason"] = unloads ? "unload" : "load";
  return dump(reply);
}

/// A placeholder for each of "images", which come before the text.
std::string read_images(Fields& fields, Omissions& omitted) {
  std::string text;
  const Json* const images = fields.array("images");
  for (std::size_t i = 0; images != nullptr && i < images->size(); ++i) {
    const std::string where = fmt::format("{}[{}]", fields.path("images"), i);
    append_line(text, omit({{"type", "image"}}, where, omitted));
  }
  return text;
}

Json read_ollama_message(Fields& fields, Omissions& omitted) {
  const std::string role = fields.text("role").value_or("");
  if (role != "system" && role != "user" && role != "assistant" && role != "tool") {
    fields.fail("role", fmt::format("\"{}\" is none of system, user, assistant and tool", role));
  }
  std::string content = read_images(fields, omitted);
  append_line(content, role == "system" ? read_system_content(fields, "content", omitted)
                                        : read_content(fields, "content", omitted));
  Json message = {{"role", role}, {"content", std::move(content)}};
  if (const auto name = fields.text("tool_name"); name && role == "tool") message["name"] = *name;
  if (role != "assistant") return message;
  if (const auto thinking = fields.text("thinking"); thinking && !thinking->empty()) {
    message["reasoning_content"] = *thinking;
  }
  if (const Json* const calls = fields.array("tool_calls")) {
    for (const Json& call : *calls) {
      const Json function = call.is_object() ? call.value("function", Json()) : Json();
      if (!function.is_object() || !function.value("name", Json()).is_string()) {
        fields.fail("tool_calls", R"(must be {"function": {"name", "arguments"}})");
        return message;
      }
      message["tool_calls"].push_back(
          {{"type", "function"},
           {"function",
            {{"name", function["name"]},
             {"arguments", function.value("arguments", Json::object())}}}});
    }
  }
  return message;
}

}  // namespace

std::string ollama_error_json(const ApiError& error) { return dump({{"error", error.message}}); }

ApiResult<DialectRequest> read_ollama_chat(const Json& body, const std::string& model) {
  Fields fields(body);
  ChatRequest request;
  Omissions omitted;
  ClientTools tools;  // custom ones are not of this API: they come back as the functions they are
  request.settings = read_options(fields);
  read_logprobs(fields, request.settings);
  read_openai_tools(fields, request, tools);
  read_format(fields, request.answer_schema, request.is_schema_strict);
  read_think(fields, request.template_kwargs);
  const bool is_stream = fields.boolean("stream").value_or(true);
  const bool unloads = read_unloads(fields);
  const Json* const messages = fields.array("messages");
  if (fields.error()) return *fields.error();
  if (messages == nullptr || messages->empty()) {
    return DialectRequest{.wanted = std::move(request),
                          .writer = nullptr,
                          .answer = loaded_json(model, /*is_chat=*/true, unloads)};
  }
  for (std::size_t i = 0; i < messages->size(); ++i) {
    Fields message_fields((*messages)[i], fmt::format("messages[{}].", i));
    request.messages.push_back(read_ollama_message(message_fields, omitted));
    if (message_fields.error()) return *message_fields.error();
  }
  normalize_messages(request.messages);
  if (request.messages.empty()) return nothing_to_answer("messages");
  return DialectRequest{.wanted = std::move(request),
                        .writer = std::make_unique<OllamaWriter>(model, is_stream, true),
                        .omitted = std::move(omitted)};
}

ApiResult<DialectRequest> read_ollama_generate(const Json& body, const std::string& model) {
  Fields fields(body);
  const bool is_stream = fields.boolean("stream").value_or(true);
  auto writer = std::make_unique<OllamaWriter>(model, is_stream, false);
  Omissions omitted;
  std::string prompt = read_images(fields, omitted);
  append_line(prompt, fields.text("prompt").value_or(""));
  const std::string suffix = fields.text("suffix").value_or("");
  const bool unloads = read_unloads(fields);
  if (const auto text = fields.text("template"); text && !text->empty()) {
    fields.fail("template", "is not supported; use raw");
  }
  if (fields.error()) return *fields.error();
  if (prompt.empty()) {
    return DialectRequest{
        .wanted = {}, .writer = nullptr, .answer = loaded_json(model, /*is_chat=*/false, unloads)};
  }
  if (fields.boolean("raw").value_or(false) || !suffix.empty()) {
    CompletionRequest request;
    request.settings = read_options(fields);
    read_logprobs(fields, request.settings);
    read_format(fields, request.answer_schema, request.is_schema_strict);
    request.prompts.emplace_back(prompt);
    request.suffix = suffix;
    if (fields.error()) return *fields.error();
    return DialectRequest{
        .wanted = std::move(request), .writer = std::move(writer), .omitted = std::move(omitted)};
  }
  ChatRequest request;
  request.settings = read_options(fields);
  read_logprobs(fields, request.settings);
  read_format(fields, request.answer_schema, request.is_schema_strict);
  read_think(fields, request.template_kwargs);
  add_system_message(fields, "system", request.messages, omitted);
  request.messages.push_back({{"role", "user"}, {"content", prompt}});
  if (fields.error()) return *fields.error();
  return DialectRequest{
      .wanted = std::move(request), .writer = std::move(writer), .omitted = std::move(omitted)};
}

}  // namespace flashmoe::server
