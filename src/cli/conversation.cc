#include "cli/conversation.h"

#include <algorithm>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/utf8.h"
#include "cli/engine_flags.h"
#include "cli/shown_answer.h"
#include "server/template_probe.h"

namespace flashmoe::cli {
namespace {

using nlohmann::ordered_json;

std::string dump(const ordered_json& messages) {
  return messages.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

ordered_json message(std::string_view role, std::string_view content) {
  return {{"role", role}, {"content", content}};
}

bool has_role(const ordered_json& message, std::string_view role) {
  return message.at("role").get_ref<const std::string&>() == role;
}

Status check_utf8(std::string_view text) {
  const std::size_t at = find_invalid_utf8(text);
  if (at >= text.size()) return Status();
  return error(StatusCode::kInvalidArgument, "byte {} of the message is not valid UTF-8", at);
}

}  // namespace

Result<std::unique_ptr<Conversation>> Conversation::create(Engine& engine,
                                                           const ConversationOptions& options) {
  // A first rendering, so that a model that cannot chat says so before the user has typed.
  const Result<ChatPrompt> prompt =
      engine.render_chat(dump(ordered_json::array({message("user", "Hello")})), {});
  if (!prompt.ok()) {
    return error(prompt.status().code(),
                 "{}; `flash-moe run --raw` continues a text without a template",
                 prompt.status().message());
  }
  FM_RETURN_IF_ERROR(engine.tokenize(*prompt).status());
  FM_ASSIGN_OR_RETURN(std::unique_ptr<Session> session, engine.new_session());
  return std::unique_ptr<Conversation>(new Conversation(engine, std::move(session), options));
}

Conversation::Conversation(Engine& engine, std::unique_ptr<Session> session,
                           const ConversationOptions& options)
    : engine_(engine),
      session_(std::move(session)),
      options_(options),
      answer_style_(server::find_answer_style(engine)),
      markup_(server::find_markup(engine, answer_style_, nullptr)) {}

Result<Reply> Conversation::say(std::string_view text, const GenerateOptions& options) {
  FM_RETURN_IF_ERROR(check_utf8(text));
  ordered_json messages = messages_;
  messages.push_back(message("user", text));
  unanswered_ = text;
  return answer(std::move(messages), options);
}

Result<Reply> Conversation::retry(const GenerateOptions& options) {
  if (unanswered_) return say(std::string(*unanswered_), options);
  ordered_json messages = messages_;
  if (messages.empty() || !has_role(messages.back(), "assistant")) {
    return error(StatusCode::kInvalidArgument, "there is no message to answer yet");
  }
  messages.erase(messages.size() - 1);
  return answer(std::move(messages), options);
}

Result<Reply> Conversation::answer(ordered_json messages, const GenerateOptions& options) {
  FM_ASSIGN_OR_RETURN(
      const ChatPrompt prompt,
      engine_.render_chat(dump(messages), {.allow_control_tokens = options_.allow_control_tokens}));
  FM_ASSIGN_OR_RETURN(const std::vector<std::int32_t> ids, engine_.tokenize(prompt));
  const std::size_t context = engine_.memory_plan().context;
  if (ids.size() + (options.max_tokens == 0 ? 0 : 1) > context) {
    return error(StatusCode::kInvalidArgument,
                 "the conversation would be {} tokens, and the context holds {}: begin a new one{}",
                 ids.size(), context,
                 can_raise_context(engine_) ? ", or take a larger --context"
                                            : "; the model has no larger context");
  }
  const std::span<const std::int32_t> known = session_->token_ids();
  if (known.size() > ids.size() || !std::equal(known.begin(), known.end(), ids.begin())) {
    FM_RETURN_IF_ERROR(session_->reset());
  }
  const std::span<const std::int32_t> rest =
      std::span<const std::int32_t>(ids).subspan(session_->token_ids().size());
  ShownAnswer shown(server::find_opening(prompt, answer_style_), options_.dims_thoughts);
  std::string told;
  const auto tell = [&](std::string piece) {
    told += piece;
    return piece.empty() || !options.on_text || options.on_text(piece);
  };
  GenerateOptions seeded = options;
  seeded.sampling.seed += seed_offset_;
  seeded.markup = markup_;
  seeded.on_text = [&](std::string_view text) { return tell(shown.push(text)); };
  Result<GenerateResult> result = session_->generate(rest, seeded);
  const bool is_cut = !result.ok() || result->finish_reason != FinishReason::kStop;
  tell(shown.finish(is_cut));
  if (!result.ok()) {
    // The session may have stopped in the middle of a step; the next turn feeds all of it again.
    if (const Status reset = session_->reset(); !reset.ok()) {
      return reset.with_prefix(result.status().message());
    }
    return result.status();
  }

  const GenerateStatistics& run = result->statistics;
  Reply reply{.reused_tokens = ids.size() - std::min(ids.size(), run.prompt_tokens),
              .seed = seeded.sampling.seed};
  statistics_.reused_tokens += reply.reused_tokens;
  statistics_.fed_tokens += run.prompt_tokens_read;
  statistics_.generated_tokens += run.generated_tokens;
  statistics_.prefill_seconds += run.prefill_seconds;
  statistics_.decode_seconds += run.decode_seconds;
  statistics_.expert_hits += run.expert_hits;
  statistics_.expert_misses += run.expert_misses;
  const bool nothing_said =
      result->finish_reason == FinishReason::kCancelled && result->text.empty();
  if (!nothing_said) {
    messages.push_back(message("assistant", shown.text()));
    if (!shown.thoughts().empty()) messages.back()["reasoning_content"] = shown.thoughts();
    messages_ = std::move(messages);
    unanswered_.reset();
    ++seed_offset_;
    ++statistics_.reply_count;
  }
  reply.result = std::move(result).value();
  reply.result.text = std::move(told);
  return reply;
}

Status Conversation::set_system(std::string_view text) {
  FM_RETURN_IF_ERROR(check_utf8(text));
  if (!messages_.empty() && has_role(messages_.front(), "system")) messages_.erase(0);
  if (!text.empty()) messages_.insert(messages_.begin(), message("system", text));
  return Status();
}

Status Conversation::reset(bool cold) {
  const bool has_system = !messages_.empty() && has_role(messages_.front(), "system");
  messages_ = has_system ? ordered_json::array({messages_.front()}) : ordered_json::array();
  unanswered_.reset();
  seed_offset_ = 0;
  session_->reset_experts(cold);
  return session_->reset();
}

}  // namespace flashmoe::cli
