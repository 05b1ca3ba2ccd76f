#ifndef FLASHMOE_SESSION_H_
#define FLASHMOE_SESSION_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "flashmoe/result.h"

namespace flashmoe {

/// How the next token is picked from the logits. The defaults are greedy: always the likeliest.
struct SamplingOptions {
  double temperature = 0;     // 0: greedy, and the fields below but repeat_penalty do nothing
  std::size_t top_k = 0;      // keep the k likeliest; 0: all
  double top_p = 1;           // keep the likeliest until their probabilities reach p
  double min_p = 0;           // drop those less likely than min_p times the likeliest
  double repeat_penalty = 1;  // divides (or multiplies, if negative) the logits of recent tokens
  std::size_t repeat_window = 64;  // how many tokens count as recent
  std::uint64_t seed = 0;          // the same seed and prompt give the same text
};

enum class FinishReason : std::uint8_t {
  kStop,       // the model ended its text
  kStopText,   // a stop string came up; it is not part of the text
  kLength,     // max_tokens
  kContext,    // the context is full
  kCancelled,  // the callback asked to stop
};

/// "stop", "stop_text", "length", "context", "cancelled".
std::string_view to_string(FinishReason reason);

struct GenerateOptions {
  std::size_t max_tokens = 256;
  SamplingOptions sampling;
  std::vector<std::string> stop;  // text that ends the generation
  bool ignore_eos = false;        // go on past the model's end-of-text tokens
  /// Called after each step of prompt processing with tokens done and to do. Returning false stops.
  std::function<bool(std::size_t done, std::size_t total)> on_prompt;
  /// Called with each new piece of text, always whole UTF-8 characters. Returning false stops the
  /// generation.
  std::function<bool(std::string_view text)> on_text;
  /// Called with the logits [vocab_size] of every token about to be picked, before penalties.
  std::function<void(std::span<const float> logits)> on_logits;
};

struct GenerateStatistics {
  std::size_t prompt_tokens = 0;
  std::size_t generated_tokens = 0;
  double prefill_seconds = 0;
  double time_to_first_token_seconds = 0;  // from the call to the first token picked
  double decode_seconds = 0;               // from the first token to the last
  std::uint64_t expert_hits = 0;
  std::uint64_t expert_misses = 0;
  std::uint64_t bytes_read = 0;
  double expert_wait_seconds = 0;
};

struct GenerateResult {
  std::string text;
  std::vector<std::int32_t> token_ids;  // an end-of-text token that ended it included
  FinishReason finish_reason = FinishReason::kStop;
  GenerateStatistics statistics;
};

/// Receives what a forward pass computes, in order of rows. Views are valid during the call only.
struct ForwardObserver {
  /// Logits [rows, vocab_size] of the tokens from `position` on, row-major. Null: none are
  /// computed.
  std::function<Status(std::size_t position, std::size_t rows, std::span<const float> logits)>
      on_logits;
  /// Hidden states [rows, hidden_size]: index 0 the embedding's output, then each layer's, the last
  /// after the final norm.
  std::function<Status(std::size_t index, std::size_t position, std::size_t rows,
                       std::span<const float> hidden)>
      on_hidden;
};

/// One sequence of tokens and what the model remembers of it. A failed read ends the session's use
/// (reset() revives it), not the engine's.
class Session {
 public:
  virtual ~Session() = default;

  /// The sequence so far: prompts and generated tokens, in order. Valid until the next call.
  virtual std::span<const std::int32_t> token_ids() const = 0;

  /// Appends `prompt` and continues it. At least one token must be in the prompt, or have come
  /// before. The last token generated is part of the sequence too. Errors: kInvalidArgument for ids
  /// out of range or a prompt beyond the context; kIo and kCorrupt from reads.
  virtual Result<GenerateResult> generate(std::span<const std::int32_t> prompt,
                                          const GenerateOptions& options) = 0;

  /// Appends `ids` and shows the observer what the model computes for them. Errors: as generate(),
  /// and the observer's: the sequence then ends with the step that was shown last.
  virtual Status forward(std::span<const std::int32_t> ids, const ForwardObserver& observer) = 0;

  /// Forgets the sequence.
  virtual Status reset() = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_SESSION_H_
