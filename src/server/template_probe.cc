#include "server/template_probe.h"

#include <algorithm>
#include <string>
#include <string_view>

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

}  // namespace

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
  const Json messages = Json::array({said("user", kQuestion), answer});
  const std::string tools = dump(Json::array({tool}));
  const Result<ChatPrompt> prompt =
      engine.render_chat(dump(messages), {.add_generation_prompt = false, .tools_json = tools});
  if (!prompt.ok()) return ToolSyntax::kNone;
  // Not the list of tools, which comes first, but the call: it stands last.
  std::string_view text = prompt->text;
  const std::size_t question = text.rfind(kQuestion);
  if (question != std::string_view::npos) text.remove_prefix(question);
  return syntax_of(text, "probe_tool", "probe_key");
}

bool ends_in_thought(std::string_view prompt) {
  const std::size_t last = prompt.find_last_not_of(kWhiteSpace);
  return last != std::string_view::npos && prompt.substr(0, last + 1).ends_with(kThinkOpen);
}

bool can_think(const Engine& engine) {
  const std::string messages = dump(Json::array({said("user", kQuestion)}));
  const Result<ChatPrompt> prompt = engine.render_chat(messages, {});
  const Result<ChatPrompt> quick =
      engine.render_chat(messages, {.kwargs_json = R"({"enable_thinking": false})"});
  return prompt.ok() &&
         (ends_in_thought(prompt->text) || (quick.ok() && quick->text != prompt->text));
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
