#include "server/template_probe.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "chat/harmony.h"
#include "chat/marks.h"
#include "server/fields.h"

namespace flashmoe::server {
namespace {

Json said(const char* role, std::string_view content) {
  return {{"role", role}, {"content", content}};
}

// Words that no template has.
constexpr std::string_view kQuestion = "probe-question";
constexpr std::string_view kAnswer = "probe-answer";
constexpr std::string_view kRule = "probe-rule";
constexpr std::string_view kNext = "probe-next";
constexpr std::string_view kThought = "probe-thought";
constexpr const char* kTool = "probe_tool";
constexpr const char* kKey = "probe_key";

/// Whether `words` stand in `text` once each, in this order.
bool stand_in_order(std::string_view text, std::initializer_list<std::string_view> words) {
  std::size_t end = 0;
  for (const std::string_view word : words) {
    const std::size_t at = text.find(word);
    if (at == std::string_view::npos || at < end || text.rfind(word) != at) return false;
    end = at + word.size();
  }
  return true;
}

/// A conversation in which a tool is called, by a turn with these members beside the call; empty
/// where it cannot be rendered.
std::string render_call(Json turn, const Engine& engine) {
  const Json tool = {
      {"type", "function"},
      {"function",
       {{"name", kTool},
        {"description", "A tool."},
        {"parameters", {{"type", "object"}, {"properties", {{kKey, {{"type", "string"}}}}}}}}}};
  const Json call = {{"id", "call_0"},
                     {"type", "function"},
                     {"function", {{"name", kTool}, {"arguments", dump({{kKey, "x"}})}}}};
  turn["role"] = "assistant";
  turn["tool_calls"] = Json::array({call});
  const Json messages = Json::array({said("user", kQuestion), turn});
  const Result<ChatPrompt> prompt = engine.render_chat(
      dump(messages), {.add_generation_prompt = false, .tools_json = dump(Json::array({tool}))});
  return prompt.ok() ? prompt->text : std::string();
}

/// What comes behind the question: not the list of tools, which comes first, but what was answered.
std::string answer_in(const std::string& prompt) {
  const std::size_t question = prompt.rfind(kQuestion);
  return question == std::string::npos ? prompt : prompt.substr(question);
}

/// Whether a prompt leaves the model within a thought. Not for kHarmony: see harmony_place().
bool ends_in_thought(std::string_view prompt, AnswerStyle style) {
  const std::size_t last = prompt.find_last_not_of(kWhiteSpace);
  return last != std::string_view::npos &&
         prompt.substr(0, last + 1).ends_with(thought_marks(style).open);
}

}  // namespace

ToolSyntax find_tool_syntax(const Engine& engine) {
  for (const Json& content : {Json(""), Json(nullptr)}) {
    const ToolSyntax found =
        syntax_of(answer_in(render_call({{"content", content}}, engine)), kTool, kKey);
    if (found != ToolSyntax::kNone) return found;
  }
  return ToolSyntax::kNone;
}

AnswerStyle find_answer_style(const Engine& engine) {
  const Json question = Json::array({said("user", kQuestion)});
  Json conversation = question;
  conversation.insert(conversation.end(), {said("assistant", kAnswer), said("user", kNext)});
  const Result<ChatPrompt> prompt = engine.render_chat(dump(conversation), {});
  if (prompt.ok()) {
    const std::string_view text = prompt->text;
    const std::size_t answer = text.find(kAnswer);
    const bool has_header = answer != std::string_view::npos &&
                            text.substr(0, answer).ends_with("<|channel|>final<|message|>");
    if (has_header) return AnswerStyle::kHarmony;
  }
  // Thoughts stand beside calls, or in the prompt of an answer that is to have none.
  const std::string called =
      answer_in(render_call({{"content", ""}, {"reasoning_content", kThought}}, engine));
  const Result<ChatPrompt> quick =
      engine.render_chat(dump(question), {.kwargs_json = R"({"enable_thinking": false})"});
  const std::string_view open = thought_marks(AnswerStyle::kChannel).open;
  const bool has_channel = called.find(open) != std::string::npos ||
                           (quick.ok() && quick->text.find(open) != std::string::npos);
  return has_channel ? AnswerStyle::kChannel : AnswerStyle::kThink;
}

CallTurnTraits find_call_turn_traits(const Engine& engine) {
  const auto shows = [&](const Json& turn, std::string_view word) {
    return answer_in(render_call(turn, engine)).find(word) != std::string::npos;
  };
  const auto has_thought = [&](const char* key) {
    return shows({{"content", ""}, {key, kThought}}, kThought);
  };
  return {.needs_null_content =
              !shows({{"content", ""}}, kTool) && shows({{"content", nullptr}}, kTool),
          .reads_thinking = has_thought("thinking") && !has_thought("reasoning_content")};
}

OutputParser::Options find_opening(const ChatPrompt& prompt, AnswerStyle style) {
  OutputParser::Options parsing{.style = style};
  if (style != AnswerStyle::kHarmony) {
    parsing.begins_in_reasoning = ends_in_thought(prompt.text, style);
    return parsing;
  }
  // What the template has begun, without what is gone on with: that may say anything.
  std::string_view begun = prompt.text;
  const bool ends_quoted = !prompt.quoted.empty() && prompt.quoted.back().end == begun.size();
  if (ends_quoted) begun = begun.substr(0, prompt.quoted.back().begin);
  parsing.opening = harmony_opening(begun);
  parsing.begins_in_reasoning = harmony_place(parsing.opening) == HarmonyPlace::kThoughts;
  return parsing;
}

std::vector<std::int32_t> find_markup(const Engine& engine, AnswerStyle style,
                                      const CallSyntax* calls) {
  std::vector<std::int32_t> markup;
  const std::vector<std::int32_t>& ends = engine.info().eos_token_ids;
  for (std::size_t i = 0; i < engine.info().vocab_size; ++i) {
    const auto id = static_cast<std::int32_t>(i);
    if (!engine.is_special_token(id) || std::ranges::find(ends, id) != ends.end()) continue;
    const std::string text = engine.token_bytes(id);
    const bool is_of_thoughts =
        style == AnswerStyle::kHarmony ? harmony_spells(text) : thought_marks(style).spell(text);
    if (is_of_thoughts || (calls != nullptr && calls->spells(text))) markup.push_back(id);
  }
  return markup;
}

bool can_think(const Engine& engine, AnswerStyle style) {
  // Thoughts have a channel of their own, whatever a template asks for.
  if (style == AnswerStyle::kHarmony) return true;
  const std::string messages = dump(Json::array({said("user", kQuestion)}));
  const Result<ChatPrompt> prompt = engine.render_chat(messages, {});
  if (!prompt.ok()) return false;
  const auto changes = [&](const char* kwargs) {
    const Result<ChatPrompt> other = engine.render_chat(messages, {.kwargs_json = kwargs});
    return other.ok() && other->text != prompt->text;
  };
  return ends_in_thought(prompt->text, style) || changes(R"({"enable_thinking": false})") ||
         changes(R"({"enable_thinking": true})");
}

bool keeps_system_in_place(const Engine& engine) {
  // Between two turns, and between a question and its answer, beside a leading one.
  const Json messages =
      Json::array({said("system", "probe-lead"), said("user", kQuestion),
                   said("system", "probe-first"), said("assistant", kAnswer), said("system", kRule),
                   said("user", kNext), said("system", "probe-last")});
  const Result<ChatPrompt> prompt = engine.render_chat(dump(messages), {});
  return prompt.ok() && stand_in_order(prompt->text, {"probe-lead", kQuestion, "probe-first",
                                                      kAnswer, kRule, kNext, "probe-last"});
}

std::optional<std::int32_t> find_turn_mark(const Engine& engine) {
  const Json messages =
      Json::array({said("user", kQuestion), said("assistant", kAnswer), said("user", kNext)});
  const Result<ChatPrompt> prompt = engine.render_chat(dump(messages), {});
  if (!prompt.ok() || !stand_in_order(prompt->text, {kQuestion, kAnswer, kNext})) {
    return std::nullopt;
  }
  // What closes the answer ends it; what opens the next turn does not.
  const std::string_view text = prompt->text;
  const std::size_t begin = text.find(kAnswer) + kAnswer.size();
  const std::string_view between = text.substr(begin, text.find(kNext) - begin);
  const Result<std::vector<std::int32_t>> ids = engine.tokenize(between);
  if (!ids.ok()) return std::nullopt;
  const std::vector<std::int32_t>& ends = engine.info().eos_token_ids;
  const auto mark = std::ranges::find_if(*ids, [&](std::int32_t id) {
    return engine.is_special_token(id) && std::ranges::find(ends, id) == ends.end();
  });
  if (mark == ids->end()) return std::nullopt;
  return *mark;
}

}  // namespace flashmoe::server
