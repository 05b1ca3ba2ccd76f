#ifndef FLASHMOE_CLI_CONVERSATION_H_
#define FLASHMOE_CLI_CONVERSATION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/answer_style.h"
#include "flashmoe/engine.h"
#include "flashmoe/result.h"
#include "flashmoe/session.h"

namespace flashmoe::cli {

/// What the model answered, and how much of the conversation it still knew.
struct Reply {
  GenerateResult result;
  std::size_t reused_tokens = 0;
  std::uint64_t seed = 0;  // that its tokens were drawn with
};

struct ConversationOptions {
  bool allow_control_tokens = false;  // see ChatRenderOptions
  bool dims_thoughts = false;         // see ShownAnswer
};

/// Sums over the replies of a conversation.
struct ConversationStatistics {
  std::size_t reply_count = 0;
  std::size_t reused_tokens = 0;  // of prompts, that the session still knew
  std::size_t fed_tokens = 0;     // of prompts, that the model had to read
  std::size_t generated_tokens = 0;
  double prefill_seconds = 0;
  double decode_seconds = 0;
  std::uint64_t expert_hits = 0;
  std::uint64_t expert_misses = 0;
};

/// Messages back and forth through the model's chat template.
///
/// Every turn renders the whole conversation and tokenizes it. What the session already holds is
/// not computed again if it is a prefix of that, token for token; otherwise (a template that drops
/// earlier thoughts, a reply whose text tokenizes differently) the session begins anew.
///
/// A turn that fails leaves the messages as they were, and retry() repeats it.
class Conversation {
 public:
  /// Opens a session of `engine`, which must outlive the conversation. Errors: kNotFound if the
  /// model has no chat template or tokenizer.
  static Result<std::unique_ptr<Conversation>> create(Engine& engine,
                                                      const ConversationOptions& options = {});

  /// Adds `text` as the user's message and the model's answer to it. `options` as for a single
  /// generation, but reply k of the conversation (from 0, retries counted) draws with seed + k.
  /// Its text, in pieces and whole, is what ShownAnswer makes of it. A reply that was stopped keeps
  /// what was said; if nothing was, the message is taken back.
  /// Errors: kInvalidArgument for invalid UTF-8 or a full context; those of the session.
  Result<Reply> say(std::string_view text, const GenerateOptions& options);

  /// Answers the user's last message again, in place of the answer it has; that one stays if this
  /// fails. Errors: kInvalidArgument before the first message; as say().
  Result<Reply> retry(const GenerateOptions& options);

  /// Sets the message that instructs the model; empty: none. Errors: kInvalidArgument for invalid
  /// UTF-8.
  Status set_system(std::string_view text);

  /// Forgets all messages but the system's, and starts counting replies anew. In modes with a fixed
  /// set of experts that is forgotten too; `cold`: none stay in memory.
  Status reset(bool cold = false);

  /// An array of {"role", "content"}, with "reasoning_content" where thoughts were told apart.
  const nlohmann::ordered_json& messages() const { return messages_; }
  const ConversationStatistics& statistics() const { return statistics_; }
  /// Tokens that the session holds.
  std::size_t token_count() const { return session_->token_ids().size(); }

 private:
  Conversation(Engine& engine, std::unique_ptr<Session> session,
               const ConversationOptions& options);

  /// The model's answer to `messages`, which become the conversation together with it.
  Result<Reply> answer(nlohmann::ordered_json messages, const GenerateOptions& options);

  Engine& engine_;
  std::unique_ptr<Session> session_;
  const ConversationOptions options_;
  const AnswerStyle answer_style_;
  const std::vector<std::int32_t> markup_;  // special tokens that are marks of thoughts
  nlohmann::ordered_json messages_ = nlohmann::ordered_json::array();
  std::optional<std::string> unanswered_;  // the last turn's message, if it failed
  std::uint64_t seed_offset_ = 0;
  ConversationStatistics statistics_;
};

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_CONVERSATION_H_
