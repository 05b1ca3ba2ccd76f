// ChatTemplate: which control tokens are marks of a reply, and which begin and end turns.
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace flashmoe {
namespace {

using Json = nlohmann::ordered_json;

// Marks of reasoning that a template may leave to the content of answers.
constexpr std::string_view kReasoningMarks[] = {"<think>", "</think>"};

// The control tokens in the template's own text from byte `begin` on, in order.
std::vector<TokenId> own_tokens(const Tokenizer& tokenizer, const ChatPrompt& prompt,
                                std::size_t begin = 0) {
  Result<std::vector<TokenId>> ids = tokenizer.encode(prompt, begin);
  if (!ids.ok()) return {};
  std::erase_if(*ids, [&](TokenId id) { return !tokenizer.is_control(id); });
  return std::move(*ids);
}

}  // namespace

// A mark of a reply is a control token that the template's source spells, or one of reasoning, that
// is not special, and that short conversations do not show to belong to a turn: none that stands
// around a user's, a system's or a tool's text, none behind an answer, and not the first of what
// asks for one.
void ChatTemplate::learn_reply_marks(const Tokenizer& tokenizer,
                                     std::span<const TokenId> end_tokens) {
  reply_marks_ = ReplyMarks();
  const jinja::RenderOptions options{.limits = {.step_count = 200'000, .memory_bytes = 16U << 20U}};
  const auto render = [&](const Json& messages, bool add_generation_prompt) {
    return this->render(messages, nullptr, add_generation_prompt, Json::object(), options);
  };
  const Json user = {{"role", "user"}, {"content", "question"}};
  const Json system = {{"role", "system"}, {"content", "instruction"}};
  std::set<TokenId> of_turns(end_tokens.begin(), end_tokens.end());
  for (const std::optional<TokenId>& id : {tokenizer.bos_id(), tokenizer.eos_id()}) {
    if (id) of_turns.insert(*id);
  }
  const auto add = [&of_turns](const std::vector<TokenId>& ids) {
    of_turns.insert(ids.begin(), ids.end());
  };

  const Result<ChatPrompt> asked = render(Json::array({user}), false);
  const Result<ChatPrompt> asked_on = render(Json::array({user}), true);
  if (!asked.ok() || !asked_on.ok()) return;  // a template like no other: no mark is safe
  const std::vector<TokenId> before = own_tokens(tokenizer, *asked);
  const std::vector<TokenId> with_prompt = own_tokens(tokenizer, *asked_on);
  add(before);
  const auto added =
      std::mismatch(before.begin(), before.end(), with_prompt.begin(), with_prompt.end()).second;
  if (added != with_prompt.end()) of_turns.insert(*added);

  if (const auto instructed = render(Json::array({system, user}), false); instructed.ok()) {
    add(own_tokens(tokenizer, *instructed));
  }

  const Json answer = {{"role", "assistant"}, {"content", "needle"}};
  if (const auto answered = render(Json::array({user, answer}), false); answered.ok()) {
    const std::size_t at = answered->text.rfind("needle");
    if (at != std::string::npos) add(own_tokens(tokenizer, *answered, at));
  }

  const Json call = {{"id", "call_000000"},
                     {"type", "function"},
                     {"function", {{"name", "tool"}, {"arguments", {{"key", "value"}}}}}};
  Json caller = {{"role", "assistant"}, {"content", traits_.takes_null_content ? Json() : ""}};
  caller["tool_calls"] = Json::array({call});
  const Json result = {
      {"role", "tool"}, {"tool_call_id", "call_000000"}, {"name", "tool"}, {"content", "result"}};
  const auto called = render(Json::array({user, caller}), false);
  const auto returned = render(Json::array({user, caller, result}), false);
  if (called.ok() && returned.ok()) {
    std::map<TokenId, std::ptrdiff_t> surplus;
    for (const TokenId id : own_tokens(tokenizer, *returned)) ++surplus[id];
    for (const TokenId id : own_tokens(tokenizer, *called)) --surplus[id];
    for (const auto& [id, count] : surplus) {
      if (count > 0) of_turns.insert(id);
    }
  }

  std::vector<std::string> texts;
  for (const TokenId id : tokenizer.control_tokens()) {
    if (tokenizer.is_special(id) || of_turns.contains(id)) continue;
    Result<std::string> text = tokenizer.id_to_bytes(id);
    if (!text.ok()) continue;
    const bool is_spelled = source_.find(*text) != std::string::npos;
    const bool is_of_reasoning =
        std::ranges::find(kReasoningMarks, *text) != std::end(kReasoningMarks);
    if (is_spelled || is_of_reasoning) texts.push_back(std::move(*text));
  }
  reply_marks_ = ReplyMarks(std::move(texts));
}

}  // namespace flashmoe
