#include "server/template_probe.h"

#include <algorithm>
#include <string>
#include <string_view>

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
