#ifndef FLASHMOE_SERVER_MODEL_SERVICE_H_
#define FLASHMOE_SERVER_MODEL_SERVICE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chat/form_constraint.h"
#include "chat/output_parser.h"
#include "flashmoe/engine.h"
#include "server/api_error.h"
#include "server/chat_request.h"
#include "server/reply_writer.h"

namespace flashmoe::server {

/// A prompt that is ready to be computed, and how to read what the model answers.
struct PreparedPrompt {
  std::vector<std::int32_t> ids;
  std::vector<std::size_t> checkpoints;  // see GenerationRequest
  OutputParser::Options parsing;
  std::string echo;  // to be told before the answer
};

/// What all choices of a request share.
struct PreparedRequest {
  std::vector<PreparedPrompt> prompts;  // one per choice
  ToolSchemas schemas;
  std::shared_ptr<const OutputForm> form;  // null: free
  GenerationSettings settings;
  bool ends_after_call = false;  // one call is all that is wanted
};

/// The tokens with which a model is asked to fill a gap: `before`, the text before it, `after`, the
/// text after it, `gap`.
struct FillMarks {
  const char* before;
  const char* after;
  const char* gap;
};

/// What turns requests into prompts and settings: the model's template, tokenizer and
/// recommendations. Any thread may call it at any time.
class ModelService {
 public:
  /// `engine` must outlive this. Finds out how the model writes calls of tools, and what else it
  /// can do. `allow_control_tokens`: see ChatRenderOptions.
  ModelService(const Engine& engine, bool allow_control_tokens);

  /// Errors: 400 for a conversation that the template cannot render, a schema that cannot be held
  /// to, or a prompt beyond the context; 501 where the model has no template.
  ApiResult<PreparedRequest> prepare(ChatRequest request) const;
  ApiResult<PreparedRequest> prepare(CompletionRequest request) const;
  /// The prompt as the template makes it, and how many tokens it has.
  ApiResult<ChatPrompt> render(const ChatRequest& request, bool add_generation_prompt) const;
  ApiResult<std::size_t> count_tokens(const ChatRequest& request) const;

  /// The request for one choice.
  GenerationRequest generation(const PreparedRequest& request, std::size_t choice) const;
  TokenInfo token_info(const GeneratedToken& token) const;

  const Engine& engine() const { return engine_; }
  ToolSyntax tool_syntax() const { return tool_syntax_; }
  bool can_think() const { return can_think_; }
  /// Whether it writes what stands between two texts.
  bool can_fill() const { return fill_marks_.has_value(); }

 private:
  ApiResult<PreparedPrompt> prepare_prompt(const ChatRequest& request) const;
  ApiResult<std::vector<std::int32_t>> within_context(Result<std::vector<std::int32_t>> ids) const;
  /// The prompt that lets the model write what stands between `before` and `after`.
  ApiResult<std::string> prompt_to_fill(const std::string& before, const std::string& after) const;
  /// How many of `ids`, which are those of `prompt`, are of its beginning `part`; none where a
  /// token spans its end, or the prompt begins otherwise.
  std::optional<std::size_t> tokens_of(const std::string& part, const ChatPrompt& prompt,
                                       const std::vector<std::int32_t>& ids) const;
  std::vector<std::size_t> checkpoints_of(const ChatRequest& request, const ChatPrompt& prompt,
                                          const std::vector<std::int32_t>& ids) const;
  ApiResult<ChatPrompt> render_to_continue(const ChatRequest& request) const;
  ApiResult<std::shared_ptr<const OutputForm>> call_form(const ChatRequest& request) const;
  ApiResult<std::shared_ptr<const OutputForm>> answer_form(const std::optional<Json>& schema,
                                                           bool is_strict) const;

  const Engine& engine_;
  const bool allow_control_tokens_;
  ToolSyntax tool_syntax_ = ToolSyntax::kNone;
  bool can_think_ = false;
  std::shared_ptr<const TokenTable> tokens_;
  std::optional<FillMarks> fill_marks_;
  std::optional<std::int32_t> call_mark_;  // the token that begins a call, if it is one
};

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_MODEL_SERVICE_H_
