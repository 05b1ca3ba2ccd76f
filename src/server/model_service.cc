#include "server/model_service.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <random>
#include <utility>

#include "chat/marks.h"
#include "server/template_probe.h"

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
  std::vector<std::string> bytes(engine.info().vocab_size);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto id = static_cast<std::int32_t>(i);
    if (!engine.is_special_token(id)) bytes[i] = engine.token_bytes(id);
  }
  return std::make_shared<TokenTable>(std::move(bytes), engine.info().eos_token_ids);
}

std::uint64_t random_seed() {
  static thread_local std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

bool ends_in_thought(std::string_view prompt) {
  const std::size_t last = prompt.find_last_not_of(kWhiteSpace);
  return last != std::string_view::npos && prompt.substr(0, last + 1).ends_with("<think>");
}

/// `is_exact`: there are no more than that.
ApiError too_long(std::size_t tokens, std::size_t context, bool is_exact = true) {
  return {
      .status = 400,
      .message = fmt::format("the prompt is {}{} tokens, and the context holds {}; shorten it, or "
                             "start the server with a larger --context",
                             is_exact ? "" : "at least ", tokens, context),
      .code = "context_length_exceeded",
      .prompt_tokens = tokens,
      .context = context};
}

}  // namespace

ModelService::ModelService(const Engine& engine, bool allow_control_tokens)
    : engine_(engine),
      allow_control_tokens_(allow_control_tokens),
      tool_syntax_(find_tool_syntax(engine)),
      keeps_system_in_place_(server::keeps_system_in_place(engine)),
      tokens_(make_token_table(engine)) {
  const Json hello = Json::array({{{"role", "user"}, {"content", "Hello"}}});
  const Result<ChatPrompt> prompt = engine.render_chat(dump(hello), {});
  const Result<ChatPrompt> quick =
      engine.render_chat(dump(hello), {.kwargs_json = R"({"enable_thinking": false})"});
  can_think_ =
      prompt.ok() && (ends_in_thought(prompt->text) || (quick.ok() && quick->text != prompt->text));
  call_mark_ = only_token_of(engine, kCallMark);
  turn_mark_ = find_turn_mark(engine);
  for (const FillMarks& marks : kFillMarks) {
    const bool has_all = std::ranges::all_of(
        std::array{marks.before, marks.after, marks.gap},
        [&](const char* mark) { return only_token_of(engine, mark).has_value(); });
    if (has_all) fill_marks_ = marks;
  }
}

ApiResult<ChatPrompt> ModelService::render(ChatRequest request, bool add_generation_prompt) const {
  const std::string tools = request.tools.empty() ? "null" : dump(request.tools);
  const std::string kwargs = dump(request.template_kwargs);
  const std::string messages = dump(request.messages);
  // From here on it is in memory as that text, and not as JSON as well.
  request.messages = Json();
  request.tools = Json();
  Result<ChatPrompt> prompt =
      engine_.render_chat(messages, {.add_generation_prompt = add_generation_prompt,
                                     .tools_json = tools,
                                     .kwargs_json = kwargs,
                                     .allow_control_tokens = allow_control_tokens_});
  if (!prompt.ok()) return error_of(prompt.status());
  return std::move(*prompt);
}

ApiResult<std::vector<std::int32_t>> ModelService::within_context(
    Result<std::vector<std::int32_t>> ids) const {
  ApiResult<std::vector<std::int32_t>> all = counted(std::move(ids), token_max());
  const std::size_t context = engine_.memory_plan().context;
  if (all.ok() && all->size() >= context) return too_long(all->size(), context);
  return all;
}

ApiResult<std::size_t> ModelService::count_tokens(ChatRequest request,
                                                  std::size_t token_max) const {
  ApiResult<ChatPrompt> prompt = render(std::move(request), /*add_generation_prompt=*/true);
  if (!prompt.ok()) return prompt.error();
  ApiResult<std::vector<std::int32_t>> ids =
      counted(engine_.tokenize(*prompt, token_max), token_max);
  if (!ids.ok()) return ids.error();
  return ids->size();
}

ApiResult<std::vector<std::int32_t>> ModelService::tokenize(const std::string& text, bool is_whole,
                                                            std::size_t token_max) const {
  return counted(
      is_whole ? engine_.tokenize_raw(text, token_max) : engine_.tokenize(text, token_max),
      token_max);
}

ApiResult<std::vector<std::int32_t>> ModelService::counted(Result<std::vector<std::int32_t>> ids,
                                                           std::size_t token_max) const {
  if (ids.ok()) return std::move(*ids);
  if (ids.status().code() != StatusCode::kOutOfBudget) return error_of(ids.status());
  return too_long(token_max + 1, engine_.memory_plan().context, /*is_exact=*/false);
}

std::vector<std::size_t> ModelService::checkpoints_of(const std::vector<std::int32_t>& ids) const {
  std::vector<std::size_t> turns;
  for (std::size_t at = 1; turn_mark_ && at < ids.size(); ++at) {
    if (ids[at] == *turn_mark_) turns.push_back(at);
  }
  return turns;
}

/// The last message without what a template puts behind it, as transformers does for
/// continue_final_message.
ApiResult<ChatPrompt> ModelService::render_to_continue(ChatRequest request) const {
  std::string content = request.messages.back().at("content").get<std::string>();
  content.resize(content.find_last_not_of(kWhiteSpace) + 1);
  const bool is_assistants = request.messages.back()["role"] == "assistant";
  ApiResult<ChatPrompt> prompt = render(std::move(request), /*add_generation_prompt=*/false);
  if (!prompt.ok()) return prompt;
  const std::size_t at = prompt->text.rfind(content);
  if (!is_assistants || content.empty() || at == std::string::npos) {
    return bad_request("messages",
                       "the last message is no assistant's text that could be continued");
  }
  prompt->truncate(at + content.size());
  return prompt;
}

ApiResult<PreparedPrompt> ModelService::prepare_prompt(ChatRequest request) const {
  PreparedPrompt prompt;
  if (!request.tools.empty()) prompt.parsing.tools = tool_syntax_;
  ApiResult<ChatPrompt> rendered = request.continues_last
                                       ? render_to_continue(std::move(request))
                                       : render(std::move(request), /*add_generation_prompt=*/true);
  if (!rendered.ok()) return rendered.error();
  ApiResult<std::vector<std::int32_t>> ids =
      within_context(engine_.tokenize(*rendered, token_max()));
  if (!ids.ok()) return ids.error();
  prompt.checkpoints = checkpoints_of(*ids);
  prompt.parsing.begins_in_reasoning = ends_in_thought(rendered->text);
  prompt.token_count = ids->size();
  prompt.ids = std::move(*ids);
  return prompt;
}

/// Where to stop making tokens of a prompt: by then it is too long anyway, and its length is told
/// where it is not much too long.
std::size_t ModelService::token_max() const {
  const std::size_t context = engine_.memory_plan().context;
  return context + context / 2;
}

ApiResult<PreparedRequest> ModelService::prepare(ChatRequest request) const {
  PreparedRequest prepared;
  AnswerForms forms(tool_syntax_);
  if (auto error = forms.read(request, prepared.notes)) return *std::move(error);
  // Thoughts take time that nobody who wants a form has asked for, unless they say so.
  if (forms.is_bound() && can_think_ && !request.template_kwargs.contains("enable_thinking")) {
    request.template_kwargs["enable_thinking"] = false;
  }
  for (const Json& tool : request.tools) {
    const Json& function = tool["function"];
    prepared.schemas[function["name"].get<std::string>()] =
        with_types(function.value("parameters", Json()));
  }
  prepared.settings = std::move(request.settings);
  if (request.tool_choice.kind == ToolChoice::Kind::kNone && call_mark_) {
    prepared.settings.logit_bias.emplace_back(*call_mark_, -100);
  }
  prepared.ends_after_call = !request.tools.empty() && !request.has_parallel_calls;
  const bool may_think = can_think_ && !request.continues_last &&
                         request.template_kwargs.value("enable_thinking", Json()) != false;
  ApiResult<PreparedPrompt> prompt = prepare_prompt(std::move(request));
  if (!prompt.ok()) return prompt.error();
  prepared.form = forms.form(prompt->parsing.begins_in_reasoning ? Thoughts::kBegun
                             : may_think                         ? Thoughts::kPossible
                                                                 : Thoughts::kNone);
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
  AnswerForms forms(ToolSyntax::kNone);
  if (auto error = forms.read(request, prepared.notes)) return *std::move(error);
  prepared.form = forms.form(Thoughts::kNone);
  for (const auto& wanted : request.prompts) {
    PreparedPrompt prompt;
    prompt.parsing.is_plain = true;
    if (const auto* text = std::get_if<std::string>(&wanted)) {
      ApiResult<std::string> whole =
          request.suffix.empty() ? *text : prompt_to_fill(*text, request.suffix);
      if (!whole.ok()) return whole.error();
      ApiResult<std::vector<std::int32_t>> ids =
          within_context(engine_.tokenize_raw(*whole, token_max()));
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
    prompt.token_count = prompt.ids.size();
    for (std::size_t i = 0; i < request.settings.choices; ++i) prepared.prompts.push_back(prompt);
  }
  prepared.scores_prompts = request.echo && request.settings.top_logprobs.has_value();
  if (prepared.scores_prompts && !request.suffix.empty()) {
    return bad_request("suffix", "suffix: does not go with the logprobs of an echo");
  }
  prepared.settings = std::move(request.settings);
  return prepared;
}

GenerationRequest ModelService::generation(PreparedRequest& request, std::size_t choice) const {
  PreparedPrompt& prompt = request.prompts[choice];
  const GenerationSettings& settings = request.settings;
  GenerationRequest generation;
  generation.prompt = std::move(prompt.ids);
  generation.checkpoints = prompt.checkpoints;
  generation.max_tokens =
      settings.max_tokens.value_or(engine_.memory_plan().context - prompt.token_count);
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
  // A stop string ends the text of an answer; in a call's markup there is none.
  for (auto& [open, close] : call_marks(prompt.parsing.tools)) {
    generation.stop_free.push_back({std::move(open), std::move(close)});
  }
  generation.ignore_eos = settings.ignore_eos;
  generation.top_logprobs = settings.top_logprobs;
  generation.scores_prompt = request.scores_prompts;
  if (request.form != nullptr) {
    generation.constraint = std::make_unique<FormConstraint>(tokens_, request.form);
  }
  return generation;
}

TokenInfo ModelService::token_info(const TokenLogprob& token,
                                   std::span<const TokenLogprob> top) const {
  const auto alternative = [&](const TokenLogprob& of) {
    return TokenInfo::Alternative{of.id, engine_.token_bytes(of.id), of.logprob};
  };
  TokenInfo info{.picked = alternative(token), .top = {}};
  for (const TokenLogprob& other : top) info.top.push_back(alternative(other));
  return info;
}

bool ModelService::is_silent(std::int32_t id) const {
  const std::vector<std::int32_t>& eos_ids = engine_.info().eos_token_ids;
  return engine_.is_special_token(id) || engine_.token_bytes(id).empty() ||
         std::ranges::find(eos_ids, id) != eos_ids.end();
}

}  // namespace flashmoe::server
