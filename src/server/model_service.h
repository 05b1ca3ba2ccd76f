#ifndef FLASHMOE_SERVER_MODEL_SERVICE_H_
#define FLASHMOE_SERVER_MODEL_SERVICE_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "chat/form_constraint.h"
#include "chat/output_parser.h"
#include "flashmoe/engine.h"
#include "server/answer_forms.h"
#include "server/api_error.h"
#include "server/chat_request.h"
#include "server/reply_writer.h"
#include "server/template_probe.h"

namespace flashmoe::server {

/// A prompt that is ready to be computed, and how to read what the model answers.
struct PreparedPrompt {
  std::vector<std::int32_t> ids;
  std::size_t token_count = 0;           // of them
  std::vector<std::size_t> checkpoints;  // see GenerationRequest
  OutputParser::Options parsing;
  std::string echo;  // to be told before the answer
};

/// What all choices of a request share.
struct PreparedRequest {
  std::vector<PreparedPrompt> prompts;  // those that differ
  std::vector<std::size_t> choices;     // the prompt of each
  ToolSchemas schemas;
  std::shared_ptr<const OutputForm> form;  // null: free
  std::vector<std::string> notes;          // for the log: what was asked for, and is not held to
  GenerationSettings settings;
  bool ends_after_call = false;  // one call is all that is wanted
  bool scores_prompts = false;   // what the model thinks of their tokens is wanted

  /// The first choice with the same prompt: what is said of the prompt, it alone computes.
  std::size_t leader_of(std::size_t choice) const {
    return static_cast<std::size_t>(std::ranges::find(choices, choices[choice]) - choices.begin());
  }
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
  ApiResult<ChatPrompt> render(ChatRequest request, bool add_generation_prompt) const;
  /// Errors: 400 as for a prompt beyond the context, for more than `token_max` tokens.
  ApiResult<std::size_t> count_tokens(ChatRequest request, std::size_t token_max) const;
  /// `is_whole`: the text begins a sequence, see Engine::tokenize_raw.
  ApiResult<std::vector<std::int32_t>> tokenize(const std::string& text, bool is_whole,
                                                std::size_t token_max) const;

  /// The request for one choice.
  GenerationRequest generation(const PreparedRequest& request, std::size_t choice) const;
  TokenInfo token_info(const TokenLogprob& token, std::span<const TokenLogprob> top) const;
  /// Whether answers show nothing of a token that added nothing to the text: not even a part of a
  /// character.
  bool is_silent(std::int32_t id) const;

  const Engine& engine() const { return engine_; }
  ToolSyntax tool_syntax() const { return tool_syntax_; }
  bool can_think() const { return can_think_; }
  /// For normalize_messages().
  bool keeps_system_in_place() const { return keeps_system_in_place_; }
  /// Whether it writes what stands between two texts.
  bool can_fill() const { return fill_marks_.has_value(); }

 private:
  ApiResult<PreparedPrompt> prepare_prompt(ChatRequest request, bool is_answered) const;
  /// `is_answered`: something is to be generated, for which there must be room.
  ApiResult<std::vector<std::int32_t>> within_context(Result<std::vector<std::int32_t>> ids,
                                                      bool is_answered) const;
  ApiResult<std::vector<std::int32_t>> counted(Result<std::vector<std::int32_t>> ids,
                                               std::size_t token_max) const;
  std::size_t token_max() const;
  /// The prompt that lets the model write what stands between `before` and `after`.
  ApiResult<std::string> prompt_to_fill(const std::string& before, const std::string& after) const;
  /// Where later prompts may leave one of these `ids`: where its turns begin, the answer's
  /// included, found by the token that begins them. None where the template has no such token.
  std::vector<std::size_t> checkpoints_of(const std::vector<std::int32_t>& ids) const;
  ApiResult<ChatPrompt> render_to_continue(ChatRequest request) const;
  /// The messages as the template wants those with calls.
  void fit_call_turns(Json& messages) const;

  const Engine& engine_;
  const bool allow_control_tokens_;
  const ToolSyntax tool_syntax_;
  const AnswerStyle answer_style_;
  const CallTurnTraits call_turns_;
  const bool can_think_;
  const bool keeps_system_in_place_;
  std::shared_ptr<const TokenTable> tokens_;
  // Special tokens that are marks of thoughts, and of calls; and all tokens where those have text.
  std::vector<std::int32_t> thought_markup_;
  std::vector<std::int32_t> call_markup_;
  std::shared_ptr<const TokenTable> call_tokens_;
  std::optional<FillMarks> fill_marks_;
  std::optional<std::int32_t> call_mark_;  // the token that begins a call, if it is one
  std::optional<std::int32_t> turn_mark_;  // the token that begins a turn, if there is one
};

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_MODEL_SERVICE_H_
