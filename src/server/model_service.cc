#include "server/model_service.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <random>
#include <utility>

#include "chat/marks.h"

namespace flashmoe::server {
namespace {

constexpr const char* kCallMark = "<tool_call>";

/// How a template writes a call that is in the conversation is how the model writes its own.
ToolSyntax find_tool_syntax(const Engine& engine) {
  const Json tool = {
      {"type", "function"},
      {"function",
       {{"name", "probe_tool"},
        {"description", "A tool."},
        {"parameters",
         {{"type", "object"}, {"properties", {{"probe_key", {{"type", "string"}}}}}}}}}};
  const Json call = {
      {"id", "call_0"},
      {"type", "function"},
      {"function", {{"name", "probe_tool"}, {"arguments", R"({"probe_key": "x"})"}}}};
  Json answer = {{"role", "assistant"}, {"content", ""}};
  answer["tool_calls"] = Json::array({call});
  const Json messages = Json::array({{{"role", "user"}, {"content", "probe"}}, answer});
  const std::string tools = dump(Json::array({tool}));
  const Result<ChatPrompt> prompt =
      engine.render_chat(dump(messages), {.add_generation_prompt = false, .tools_json = tools});
  if (!prompt.ok()) return ToolSyntax::kNone;
  const std::string_view text = prompt->text;
  const std::size_t name = text.rfind("probe_tool");
  if (name == std::string::npos) return ToolSyntax::kNone;
  // Not the list of tools, which comes first, but the call.
  const std::string_view last = text.substr(name > 64 ? name - 64 : 0);
  if (last.find("<function=probe_tool>") != std::string_view::npos) return ToolSyntax::kQwenXml;
  if (last.find(R"("name": "probe_tool")") != std::string_view::npos &&
      last.find(kCallMark) != std::string_view::npos) {
    return ToolSyntax::kHermes;
  }
  return ToolSyntax::kNone;
}

/// Those of Qwen's models, of StarCoder and who follows it, and of DeepSeek's.
constexpr FillMarks kFillMarks[] = {
    {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"},
    {"<fim_prefix>", "<fim_suffix>", "<fim_middle>"},
    {"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"},
};

/// The token that `text` is, if it is one.
std::optional<std::int32_t> only_token_of(const Engine& engine, const char* text) {
  const Result<std::vector<std::int32_t>> ids = engine.tokenize(text);
  if (!ids.ok() || ids->size() != 1) return std::nullopt;
  return ids->front();
}

std::shared_ptr<const TokenTable> make_token_table(const Engine& engine) {
  auto table = std::make_shared<TokenTable>();
  table->eos_ids = engine.info().eos_token_ids;
  table->bytes.resize(engine.info().vocab_size);
  for (std::size_t i = 0; i < table->bytes.size(); ++i) {
    const auto id = static_cast<std::int32_t>(i);
    if (!engine.is_special_token(id)) table->bytes[i] = engine.token_bytes(id);
  }
  return table;
}

std::uint64_t random_seed() {
  static thread_local std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

bool ends_in_thought(std::string_view prompt) {
  const std::size_t last = prompt.find_last_not_of(kWhiteSpace);
  return last != std::string_view::npos && prompt.substr(0, last + 1).ends_with("<think>");
}

ApiError too_long(std::size_t tokens, std::size_t context) {
  return {
      .status = 400,
      .message = fmt::format("the prompt is {} tokens, and the context holds {}; shorten it, or "
                             "start the server with a larger --context",
                             tokens, context),
      .code = "context_length_exceeded",
      .prompt_tokens = tokens,
      .context = context};
}

}  // namespace

ModelService::ModelService(const Engine& engine, bool allow_control_tokens)
    : engine_(engine),
      allow_control_tokens_(allow_control_tokens),
      tool_syntax_(find_tool_syntax(engine)),
      tokens_(make_token_table(engine)) {
  const Json hello = Json::array({{{"role", "user"}, {"content", "Hello"}}});
  const Result<ChatPrompt> prompt = engine.render_chat(dump(hello), {});
  const Result<ChatPrompt> quick =
      engine.render_chat(dump(hello), {.kwargs_json = R"({"enable_thinking": false})"});
  can_think_ =
      prompt.ok() && (ends_in_thought(prompt->text) || (quick.ok() && quick->text != prompt->text));
  call_mark_ = only_token_of(engine, kCallMark);
  for (const FillMarks& marks : kFillMarks) {
    const bool has_all = std::ranges::all_of(
        std::array{marks.before, marks.after, marks.gap},
        [&](const char* mark) { return only_token_of(engine, mark).has_value(); });
    if (has_all) fill_marks_ = marks;
  }
}

ApiResult<ChatPrompt> ModelService::render(const ChatRequest& request,
                                           bool add_generation_prompt) const {
  const std::string tools = request.tools.empty() ? "null" : dump(request.tools);
  const std::string kwargs = dump(request.template_kwargs);
  Result<ChatPrompt> prompt =
      engine_.render_chat(dump(request.messages), {.add_generation_prompt = add_generation_prompt,
                                                   .tools_json = tools,
                                                   .kwargs_json = kwargs,
                                                   .allow_control_tokens = allow_control_tokens_});
  if (!prompt.ok()) return error_of(prompt.status());
  return std::move(*prompt);
}

ApiResult<std::vector<std::int32_t>> ModelService::within_context(
    Result<std::vector<std::int32_t>> ids) const {
  if (!ids.ok()) return error_of(ids.status());
  const std::size_t context = engine_.memory_plan().context;
  if (ids->size() >= context) return too_long(ids->size(), context);
  return std::move(*ids);
}

ApiResult<std::size_t> ModelService::count_tokens(const ChatRequest& request) const {
  ApiResult<ChatPrompt> prompt = render(request, /*add_generation_prompt=*/true);
  if (!prompt.ok()) return prompt.error();
  const Result<std::vector<std::int32_t>> ids = engine_.tokenize(*prompt);
  if (!ids.ok()) return error_of(ids.status());
  return ids->size();
}

std::optional<std::size_t> ModelService::tokens_of(const std::string& part,
                                                   const ChatPrompt& prompt,
                                                   const std::vector<std::int32_t>& ids) const {
  if (!prompt.text.starts_with(part)) return std::nullopt;
  const Result<std::vector<std::int32_t>> rest = engine_.tokenize(prompt, part.size());
  if (!rest.ok() || rest->size() >= ids.size()) return std::nullopt;
  const std::size_t at = ids.size() - rest->size();
  if (!std::equal(rest->begin(), rest->end(), ids.begin() + static_cast<std::ptrdiff_t>(at))) {
    return std::nullopt;
  }
  return at;
}

std::vector<std::size_t> ModelService::checkpoints_of(const ChatRequest& request,
                                                      const ChatPrompt& prompt,
                                                      const std::vector<std::int32_t>& ids) const {
  std::vector<std::size_t> checkpoints;
  const auto add = [&](const ChatRequest& part) {
    ApiResult<ChatPrompt> before = render(part, /*add_generation_prompt=*/false);
    if (!before.ok()) return;
    if (const auto at = tokens_of(before->text, prompt, ids)) checkpoints.push_back(*at);
  };
  add(request);
  if (request.messages.size() < 2) return checkpoints;
  ChatRequest earlier;
  earlier.messages = request.messages;
  earlier.messages.erase(earlier.messages.size() - 1);
  earlier.tools = request.tools;
  earlier.template_kwargs = request.template_kwargs;
  add(earlier);
  return checkpoints;
}

/// The last message without what a template puts behind it, as transformers does for
/// continue_final_message.
ApiResult<ChatPrompt> ModelService::render_to_continue(const ChatRequest& request) const {
  ApiResult<ChatPrompt> prompt = render(request, /*add_generation_prompt=*/false);
  if (!prompt.ok()) return prompt;
  std::string content = request.messages.back().at("content").get<std::string>();
  content.resize(content.find_last_not_of(kWhiteSpace) + 1);
  const std::size_t at = prompt->text.rfind(content);
  if (request.messages.back()["role"] != "assistant" || content.empty() ||
      at == std::string::npos) {
    return bad_request("messages",
                       "the last message is no assistant's text that could be continued");
  }
  prompt->truncate(at + content.size());
  return prompt;
}

ApiResult<PreparedPrompt> ModelService::prepare_prompt(const ChatRequest& request) const {
  ApiResult<ChatPrompt> rendered = request.continues_last
                                       ? render_to_continue(request)
                                       : render(request, /*add_generation_prompt=*/true);
  if (!rendered.ok()) return rendered.error();
  ApiResult<std::vector<std::int32_t>> ids = within_context(engine_.tokenize(*rendered));
  if (!ids.ok()) return ids.error();
  PreparedPrompt prompt;
  if (!request.continues_last) prompt.checkpoints = checkpoints_of(request, *rendered, *ids);
  prompt.parsing.begins_in_reasoning = ends_in_thought(rendered->text);
  if (!request.tools.empty()) prompt.parsing.tools = tool_syntax_;
  prompt.ids = std::move(*ids);
  return prompt;
}

ApiResult<PreparedRequest> ModelService::prepare(ChatRequest request) const {
  PreparedRequest prepared;
  const bool must_call = request.tool_choice.kind == ToolChoice::Kind::kRequired ||
                         request.tool_choice.kind == ToolChoice::Kind::kNamed;
  if (must_call) {
    ApiResult<std::shared_ptr<const OutputForm>> form = call_form(request);
    if (!form.ok()) return form.error();
    prepared.form = *form;
  } else {
    ApiResult<std::shared_ptr<const OutputForm>> form =
        answer_form(request.answer_schema, request.is_schema_strict);
    if (!form.ok()) return form.error();
    prepared.form = *form;
  }
  // A form is for the answer: thoughts have none.
  if (prepared.form != nullptr && can_think_) request.template_kwargs["enable_thinking"] = false;
  for (const Json& tool : request.tools) {
    const Json& function = tool["function"];
    prepared.schemas[function["name"].get<std::string>()] = function.value("parameters", Json());
  }
  ApiResult<PreparedPrompt> prompt = prepare_prompt(request);
  if (!prompt.ok()) return prompt.error();
  prepared.settings = std::move(request.settings);
  if (request.tool_choice.kind == ToolChoice::Kind::kNone && call_mark_) {
    prepared.settings.logit_bias.emplace_back(*call_mark_, -100);
  }
  prepared.ends_after_call = !request.tools.empty() && !request.has_parallel_calls;
  prepared.prompts.assign(prepared.settings.choices, *prompt);
  return prepared;
}

ApiResult<std::string> ModelService::prompt_to_fill(const std::string& before,
                                                    const std::string& after) const {
  if (!fill_marks_) {
    return bad_request("suffix", "this model has no tokens that mark a gap to be filled in");
  }
  return fmt::format("{}{}{}{}{}", fill_marks_->before, before, fill_marks_->after, after,
                     fill_marks_->gap);
}

ApiResult<PreparedRequest> ModelService::prepare(CompletionRequest request) const {
  PreparedRequest prepared;
  ApiResult<std::shared_ptr<const OutputForm>> form =
      answer_form(request.answer_schema, request.is_schema_strict);
  if (!form.ok()) return form.error();
  prepared.form = *form;
  for (const auto& wanted : request.prompts) {
    PreparedPrompt prompt;
    if (const auto* text = std::get_if<std::string>(&wanted)) {
      ApiResult<std::string> whole =
          request.suffix.empty() ? *text : prompt_to_fill(*text, request.suffix);
      if (!whole.ok()) return whole.error();
      ApiResult<std::vector<std::int32_t>> ids = within_context(engine_.tokenize_raw(*whole));
      if (!ids.ok()) return ids.error();
      prompt.ids = std::move(*ids);
      if (request.echo) prompt.echo = *text;
    } else {
      if (!request.suffix.empty()) {
        return bad_request("suffix", "goes with a prompt that is a text, not with token ids");
      }
      prompt.ids = std::get<std::vector<std::int32_t>>(wanted);
      const std::size_t context = engine_.memory_plan().context;
      if (prompt.ids.size() >= context) return too_long(prompt.ids.size(), context);
      if (request.echo) {
        const Result<std::string> text = engine_.detokenize(prompt.ids);
        if (!text.ok()) return error_of(text.status());
        prompt.echo = *text;
      }
    }
    if (prompt.ids.empty()) return bad_request("prompt", "the prompt is empty");
    for (std::size_t i = 0; i < request.settings.choices; ++i) prepared.prompts.push_back(prompt);
  }
  prepared.settings = std::move(request.settings);
  return prepared;
}

ApiResult<std::shared_ptr<const OutputForm>> ModelService::answer_form(
    const std::optional<Json>& schema, bool is_strict) const {
  if (!schema) return std::shared_ptr<const OutputForm>();
  Result<JsonSchema> compiled = JsonSchema::compile(*schema, is_strict);
  if (!compiled.ok()) return bad_request("response_format", compiled.status().message());
  auto form = std::make_shared<OutputForm>();
  form->tracks.push_back(
      {OutputForm::Value{std::make_shared<const JsonSchema>(std::move(*compiled))}});
  return std::shared_ptr<const OutputForm>(std::move(form));
}

/// One call of one of the tools that may be called, as the model would write it.
ApiResult<std::shared_ptr<const OutputForm>> ModelService::call_form(
    const ChatRequest& request) const {
  auto form = std::make_shared<OutputForm>();
  for (const Json& tool : request.tools) {
    const std::string name = tool["function"]["name"].get<std::string>();
    if (request.tool_choice.kind == ToolChoice::Kind::kNamed && name != request.tool_choice.name) {
      continue;
    }
    if (tool_syntax_ == ToolSyntax::kQwenXml) {
      form->tracks.push_back({OutputForm::Literal{"<tool_call>\n<function=" + name + ">\n"},
                              OutputForm::Until{"</function>"},
                              OutputForm::Literal{"\n</tool_call>"}});
      continue;
    }
    // What narrows values further is the tool's to check.
    Result<JsonSchema> schema = JsonSchema::compile(
        tool["function"].value("parameters", Json{{"type", "object"}}), /*is_strict=*/false);
    if (!schema.ok()) return bad_request("tools", name + ": " + schema.status().message());
    form->tracks.push_back(
        {OutputForm::Literal{"<tool_call>\n{\"name\": " + dump(Json(name)) + ", \"arguments\": "},
         OutputForm::Value{std::make_shared<const JsonSchema>(std::move(*schema))},
         OutputForm::Literal{"}\n</tool_call>"}});
  }
  if (tool_syntax_ == ToolSyntax::kNone) {
    return bad_request("tool_choice", "this model's template does not know tools");
  }
  if (form->tracks.empty()) {
    return bad_request("tool_choice", "names no tool of this request");
  }
  return std::shared_ptr<const OutputForm>(std::move(form));
}

GenerationRequest ModelService::generation(const PreparedRequest& request,
                                           std::size_t choice) const {
  const PreparedPrompt& prompt = request.prompts[choice];
  const GenerationSettings& settings = request.settings;
  GenerationRequest generation;
  generation.prompt = prompt.ids;
  generation.checkpoints = prompt.checkpoints;
  generation.max_tokens =
      settings.max_tokens.value_or(engine_.memory_plan().context - prompt.ids.size());
  SamplingOptions& sampling = generation.sampling;
  sampling = engine_.recommended_sampling();
  sampling.temperature = settings.temperature.value_or(sampling.temperature);
  sampling.top_p = settings.top_p.value_or(sampling.top_p);
  sampling.min_p = settings.min_p.value_or(sampling.min_p);
  sampling.top_k = settings.top_k.value_or(sampling.top_k);
  sampling.repeat_penalty = settings.repeat_penalty.value_or(sampling.repeat_penalty);
  sampling.repeat_window = settings.repeat_window.value_or(sampling.repeat_window);
  sampling.presence_penalty = settings.presence_penalty.value_or(0);
  sampling.frequency_penalty = settings.frequency_penalty.value_or(0);
  sampling.logit_bias = settings.logit_bias;
  sampling.seed = settings.seed ? *settings.seed + choice : random_seed();
  generation.stop = settings.stop;
  generation.ignore_eos = settings.ignore_eos;
  generation.top_logprobs = settings.top_logprobs;
  if (request.form != nullptr) {
    generation.constraint = std::make_unique<FormConstraint>(tokens_, request.form);
  }
  return generation;
}

TokenInfo ModelService::token_info(const GeneratedToken& token) const {
  const auto alternative = [&](const TokenLogprob& of) {
    return TokenInfo::Alternative{of.id, engine_.token_bytes(of.id), of.logprob};
  };
  TokenInfo info{.picked = alternative(*token.logprob)};
  for (const TokenLogprob& other : token.top_logprobs) info.top.push_back(alternative(other));
  return info;
}

}  // namespace flashmoe::server
