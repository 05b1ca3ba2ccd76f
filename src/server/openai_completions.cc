// POST /v1/completions
#include <algorithm>
#include <utility>

#include "server/dialect.h"
#include "server/openai_common.h"

namespace flashmoe::server {
namespace {

constexpr std::size_t kPromptsMax = 64;

class CompletionWriter : public EventStreamWriter {
 public:
  CompletionWriter(std::string model, bool is_stream, bool includes_usage, std::size_t choices,
                   bool has_logprobs)
      : EventStreamWriter(is_stream),
        model_(std::move(model)),
        id_(random_id("cmpl-")),
        created_(unix_seconds()),
        includes_usage_(includes_usage),
        has_logprobs_(has_logprobs),
        choices_(choices),
        offsets_(choices, 0) {}

  void event(std::size_t index, const OutputEvent& event, std::vector<TokenInfo>& tokens,
             std::string& out) override {
    choices_[index].add(event, {});
    if (is_stream()) append_chunk(out, index, event.text, Json(), tokens);
    is_stream() ? tokens.clear() : move_tokens(tokens, choices_[index].tokens);
  }
  void end_choice(std::size_t index, const ChoiceEnd& end, std::vector<TokenInfo>& tokens,
                  std::string& out) override {
    choices_[index].end = end;
    if (is_stream()) append_chunk(out, index, "", openai_finish_reason(end.reason), tokens);
    is_stream() ? tokens.clear() : move_tokens(tokens, choices_[index].tokens);
  }
  void finish(const ReplyCounts& counts, std::string& out) override {
    Json reply = frame();
    reply["choices"] = Json::array();
    reply["usage"] = openai_usage(counts);
    reply["timings"] = timings_json(counts);
    if (is_stream()) {
      if (includes_usage_) append_sse(out, {}, reply);
      out += "data: [DONE]\n\n";
      return;
    }
    for (std::size_t i = 0; i < choices_.size(); ++i) {
      offsets_[i] = 0;
      reply["choices"].push_back(choice_json(
          i, choices_[i].text, openai_finish_reason(choices_[i].end.reason), choices_[i].tokens));
    }
    out += dump(reply);
  }
  void fail(const ApiError& error, std::string& out) override {
    out += "data: " + openai_error_json(error) + "\n\n";
  }

 private:
  Json frame() const {
    return {{"id", id_}, {"object", "text_completion"}, {"created", created_}, {"model", model_}};
  }
  void append_chunk(std::string& out, std::size_t index, const std::string& text,
                    const Json& reason, const std::vector<TokenInfo>& tokens) {
    Json chunk = frame();
    chunk["choices"] = Json::array({choice_json(index, text, reason, tokens)});
    append_sse(out, {}, chunk);
  }
  Json choice_json(std::size_t index, const std::string& text, const Json& reason,
                   const std::vector<TokenInfo>& tokens) {
    return {{"index", index},
            {"text", text},
            {"logprobs", has_logprobs_ ? logprobs(index, tokens) : Json()},
            {"finish_reason", reason}};
  }
  Json logprobs(std::size_t index, const std::vector<TokenInfo>& tokens) {
    Json lists = {{"tokens", Json::array()},
                  {"token_logprobs", Json::array()},
                  {"top_logprobs", Json::array()},
                  {"text_offset", Json::array()}};
    for (const TokenInfo& token : tokens) {
      lists["tokens"].push_back(token.picked.bytes);
      lists["token_logprobs"].push_back(token.picked.logprob);
      Json top = Json::object();
      for (const TokenInfo::Alternative& other : token.top) top[other.bytes] = other.logprob;
      lists["top_logprobs"].push_back(top);
      lists["text_offset"].push_back(offsets_[index]);
      offsets_[index] += token.picked.bytes.size();
    }
    return lists;
  }

  const std::string model_;
  const std::string id_;
  const std::int64_t created_;
  const bool includes_usage_;
  const bool has_logprobs_;
  std::vector<CollectedChoice> choices_;
  std::vector<std::size_t> offsets_;
};

bool is_ids(const Json& value) {
  return value.is_array() && !value.empty() &&
         std::all_of(value.begin(), value.end(), [](const Json& id) {
           return id.is_number_integer() && id >= 0 && id <= 0x7fffffff;
         });
}

void read_prompts(Fields& fields, CompletionRequest& request) {
  const Json* const prompt = fields.find("prompt");
  if (prompt == nullptr) return fields.fail("prompt", "is missing");
  const Json list = prompt->is_array() && !is_ids(*prompt) ? *prompt : Json::array({*prompt});
  if (list.empty() || list.size() > kPromptsMax) {
    return fields.fail("prompt", "must have from 1 to 64 prompts");
  }
  for (const Json& item : list) {
    if (item.is_string()) {
      request.prompts.emplace_back(item.get<std::string>());
    } else if (is_ids(item)) {
      request.prompts.emplace_back(item.get<std::vector<std::int32_t>>());
    } else {
      return fields.fail("prompt", "must be a text, token ids, or a list of those");
    }
  }
}

}  // namespace

ApiResult<DialectRequest> read_openai_completion(const Json& body, const std::string& model) {
  Fields fields(body);
  CompletionRequest request;
  request.settings = read_settings(fields);
  request.settings.choices = read_choices(fields);
  // OpenAI's own default here, and only here.
  if (!request.settings.max_tokens && !fields.has("max_tokens") && !fields.has("n_predict")) {
    request.settings.max_tokens = 16;
  }
  if (const auto logprobs = fields.integer("logprobs", 0, 20)) {
    request.settings.top_logprobs = static_cast<std::size_t>(*logprobs);
  }
  read_prompts(fields, request);
  request.echo = fields.boolean("echo").value_or(false);
  request.suffix = fields.text("suffix").value_or("");
  read_response_format(fields, "response_format", request.answer_schema, request.is_schema_strict);
  const auto best_of = fields.integer("best_of", 1, 64);
  if (best_of && static_cast<std::size_t>(*best_of) != request.settings.choices) {
    fields.fail("best_of", "is not supported beyond n");
  }
  const bool is_stream = fields.boolean("stream").value_or(false);
  const bool includes_usage = read_includes_usage(fields);
  if (fields.error()) return *fields.error();
  const std::size_t choices = request.prompts.size() * request.settings.choices;
  if (choices > kPromptsMax) return bad_request("n", "n times the prompts is more than 64");
  auto writer = std::make_unique<CompletionWriter>(model, is_stream, includes_usage, choices,
                                                   request.settings.top_logprobs.has_value());
  return DialectRequest{.wanted = std::move(request), .writer = std::move(writer)};
}

}  // namespace flashmoe::server
