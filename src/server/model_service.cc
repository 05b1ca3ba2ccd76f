#include "server/model_service.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <random>
#include <utility>

#include "chat/harmony.h"
#include "chat/marks.h"

namespace flashmoe::server {
namespace {

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

/// Special tokens have no text, but for those of `markup`.
std::shared_ptr<const TokenTable> make_token_table(const Engine& engine,
                                                   const std::vector<std::int32_t>& markup) {
  std::vector<std::string> bytes(engine.info().vocab_size);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto id = static_cast<std::int32_t>(i);
    const bool has_text =
        !engine.is_special_token(id) || std::ranges::find(markup, id) != markup.end();
    if (has_text) bytes[i] = engine.token_bytes(id);
  }
  return std::make_shared<TokenTable>(std::move(bytes), engine.info().eos_token_ids);
}

std::uint64_t random_seed() {
  static thread_local std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

/// `is_exact`: there are no more than that. `is_answered`: something is to be generated.
ApiError too_long(const Engine& engine, std::size_t tokens, bool is_exact, bool is_answered) {
  const std::size_t context = engine.memory_plan().context;
  const bool has_larger = context < engine.info().max_position_embeddings;
  return {.status = 400,
          .message = fmt::format("the prompt is {}{} tokens, and the context holds {}{}; shorten "
                                 "it{}",
                                 is_exact ? "" : "at least ", tokens, context,
                                 is_answered ? ", with at least one of the answer" : "",
                                 has_larger ? ", or start the server with a larger --context" : ""),
          .code = "context_length_exceeded",
          .prompt_tokens = tokens,
          .context = context};
}

/// Has prompts of several choices remembered to where they begin to differ.
void share_prompts(PreparedRequest& request) {
  for (std::size_t i = 0; i < request.prompts.size(); ++i) {
    PreparedPrompt& prompt = request.prompts[i];
    if (std::ranges::count(request.choices, i) > 1) {
      prompt.checkpoints.push_back(prompt.token_count - 1);
    }
  }
}

}  // namespace

ModelService::ModelService(const Engine& engine, bool allow_control_tokens)
    : engine_(engine),
      allow_control_tokens_(allow_control_tokens),
      tool_syntax_(find_tool_syntax(engine)),
      answer_style_(find_answer_style(engine)),
      call_turns_(find_call_turn_traits(engine)),
      can_think_(server::can_think(engine, answer_style_)),
      keeps_system_in_place_(server::keeps_system_in_place(engine)) {
  const CallSyntax* const syntax = call_syntax(tool_syntax_);
  if (syntax != nullptr) {
    call_mark_ = only_token_of(engine, std::string(syntax->marks().block_open).c_str());
  }
  turn_mark_ = find_turn_mark(engine);
  thought_markup_ = find_markup(engine, answer_style_, nullptr);
  call_markup_ = find_markup(engine, answer_style_, syntax);
  tokens_ = make_token_table(engine, thought_markup_);
  call_tokens_ = call_markup_ == thought_markup_ ? tokens_ : make_token_table(engine, call_markup_);
  for (const FillMarks& marks : kFillMarks) {
    const bool has_all = std::ranges::all_of(
        std::array{marks.before, marks.after, marks.gap},
        [&](const char* mark) { return only_token_of(engine, mark).has_value(); });
    if (has_all) fill_marks_ = marks;
  }
}

void ModelService::fit_call_turns(Json& messages) const {
  for (Json& message : messages) {
    if (!message.contains("tool_calls")) continue;
    if (call_turns_.reads_thinking && message.contains("reasoning_content")) {
      // Such templates take thoughts or a text, and put either where thoughts are.
      std::string thoughts = message["reasoning_content"].get<std::string>();
      const Json& content = message["content"];
      if (content.is_string() && content != "") thoughts += "\n\n" + content.get<std::string>();
      message["content"] = "";
      message["thinking"] = std::move(thoughts);
    }
    if (call_turns_.needs_null_content && message["content"] == "") message["content"] = nullptr;
  }
}

ApiResult<ChatPrompt> ModelService::render(ChatRequest request, bool add_generation_prompt) const {
  fit_call_turns(request.messages);
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
    Result<std::vector<std::int32_t>> ids, bool is_answered) const {
  ApiResult<std::vector<std::int32_t>> all = counted(std::move(ids), token_max());
  if (all.ok() && all->size() + (is_answered ? 1 : 0) > engine_.memory_plan().context) {
    return too_long(engine_, all->size(), /*is_exact=*/true, is_answered);
  }
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
  return too_long(engine_, token_max + 1, /*is_exact=*/false, /*is_answered=*/true);
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

ApiResult<PreparedPrompt> ModelService::prepare_prompt(ChatRequest request,
                                                       bool is_answered) const {
  PreparedPrompt prompt;
  const CallSyntax* const syntax = call_syntax(tool_syntax_);
  // No token stands for a call without marks: where none is wanted, it is text.
  const bool may_call = syntax != nullptr && !(syntax->marks().is_bare &&
                                               request.tool_choice.kind == ToolChoice::Kind::kNone);
  const ToolSyntax tools = !request.tools.empty() && may_call ? tool_syntax_ : ToolSyntax::kNone;
  ApiResult<ChatPrompt> rendered = request.continues_last
                                       ? render_to_continue(std::move(request))
                                       : render(std::move(request), /*add_generation_prompt=*/true);
  if (!rendered.ok()) return rendered.error();
  ApiResult<std::vector<std::int32_t>> ids =
      within_context(engine_.tokenize(*rendered, token_max()), is_answered);
  if (!ids.ok()) return ids.error();
  prompt.checkpoints = checkpoints_of(*ids);
  prompt.parsing = find_opening(*rendered, answer_style_);
  prompt.parsing.tools = tools;
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
  AnswerForms forms(tool_syntax_, answer_style_);
  if (auto error = forms.read(request, prepared.notes)) return *std::move(error);
  // Thoughts take time that nobody who wants a form has asked for, unless they say so. Where no
  // template can ask for none, the model is used to them.
  const bool is_in_messages = answer_style_ == AnswerStyle::kHarmony;
  if (forms.is_bound() && can_think_ && !is_in_messages &&
      !request.template_kwargs.contains("enable_thinking")) {
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
  // Whether or not the end token is among those of this checkpoint.
  const CallSyntax* const syntax = call_syntax(tool_syntax_);
  const bool ends_answer = syntax != nullptr && syntax->marks().ends_answer;
  prepared.ends_after_call = !request.tools.empty() && (!request.has_parallel_calls || ends_answer);
  const bool may_think = can_think_ && !request.continues_last &&
                         request.template_kwargs.value("enable_thinking", Json()) != false;
  ApiResult<PreparedPrompt> prompt =
      prepare_prompt(std::move(request), prepared.settings.max_tokens != 0);
  if (!prompt.ok()) return prompt.error();
  const bool is_in_text =
      is_in_messages && harmony_place(prompt->parsing.opening) == HarmonyPlace::kText;
  prepared.form = forms.form(prompt->parsing.begins_in_reasoning ? Thoughts::kBegun
                             : is_in_text                        ? Thoughts::kOver
                             : may_think                         ? Thoughts::kPossible
                                                                 : Thoughts::kNone);
  prepared.prompts.push_back(std::move(*prompt));
  prepared.choices.assign(prepared.settings.choices, 0);
  share_prompts(prepared);
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
  AnswerForms forms(ToolSyntax::kNone, AnswerStyle::kThink);
  if (auto error = forms.read(request, prepared.notes)) return *std::move(error);
  prepared.form = forms.form(Thoughts::kNone);
  const bool is_answered = request.settings.max_tokens != 0;
  std::vector<std::size_t> first_uses;  // of the prompts that differ
  for (std::size_t i = 0; i < request.prompts.size(); ++i) {
    const auto& wanted = request.prompts[i];
    const auto known = std::ranges::find_if(
        first_uses, [&](std::size_t first) { return request.prompts[first] == wanted; });
    const auto place = static_cast<std::size_t>(known - first_uses.begin());
    prepared.choices.insert(prepared.choices.end(), request.settings.choices, place);
    if (known != first_uses.end()) continue;
    first_uses.push_back(i);
    PreparedPrompt prompt;
    prompt.parsing.is_plain = true;
    if (const auto* text = std::get_if<std::string>(&wanted)) {
      ApiResult<std::string> whole =
          request.suffix.empty() ? *text : prompt_to_fill(*text, request.suffix);
      if (!whole.ok()) return whole.error();
      ApiResult<std::vector<std::int32_t>> ids =
          within_context(engine_.tokenize_raw(*whole, token_max()), is_answered);
      if (!ids.ok()) return ids.error();
      prompt.ids = std::move(*ids);
      if (request.echo) prompt.echo = *text;
    } else {
      if (!request.suffix.empty()) {
        return bad_request("suffix", "goes with a prompt that is a text, not with token ids");
      }
      ApiResult<std::vector<std::int32_t>> ids =
          within_context(std::get<std::vector<std::int32_t>>(wanted), is_answered);
      if (!ids.ok()) return ids.error();
      prompt.ids = std::move(*ids);
      if (request.echo) {
        const Result<std::string> text = engine_.detokenize(prompt.ids);
        if (!text.ok()) return error_of(text.status());
        prompt.echo = *text;
      }
    }
    if (prompt.ids.empty()) return bad_request("prompt", "the prompt is empty");
    prompt.token_count = prompt.ids.size();
    prepared.prompts.push_back(std::move(prompt));
  }
  share_prompts(prepared);
  prepared.scores_prompts = request.echo && request.settings.top_logprobs.has_value();
  if (prepared.scores_prompts && !request.suffix.empty()) {
    return bad_request("suffix", "suffix: does not go with the logprobs of an echo");
  }
  prepared.settings = std::move(request.settings);
  return prepared;
}

GenerationRequest ModelService::generation(const PreparedRequest& request,
                                           std::size_t choice) const {
  const PreparedPrompt& prompt = request.prompts[request.choices[choice]];
  const GenerationSettings& settings = request.settings;
  GenerationRequest generation;
  generation.prompt = prompt.ids;
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
  if (const CallSyntax* const syntax = call_syntax(prompt.parsing.tools)) {
    for (const auto& [open, close] : syntax->passages()) {
      generation.stop_free.push_back({std::string(open), std::string(close)});
    }
  }
  if (!prompt.parsing.is_plain && prompt.parsing.style == AnswerStyle::kHarmony) {
    for (const auto& [open, close] : harmony_headers()) {
      generation.stop_free.push_back({std::string(open), std::string(close)});
    }
  }
  const bool may_call = prompt.parsing.tools != ToolSyntax::kNone;
  if (!prompt.parsing.is_plain) generation.markup = may_call ? call_markup_ : thought_markup_;
  generation.ignore_eos = settings.ignore_eos;
  generation.top_logprobs = settings.top_logprobs;
  generation.scores_prompt = request.scores_prompts && request.leader_of(choice) == choice;
  if (request.form != nullptr) {
    generation.constraint =
        std::make_unique<FormConstraint>(may_call ? call_tokens_ : tokens_, request.form);
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
