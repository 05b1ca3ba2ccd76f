#ifndef FLASHMOE_SESSION_H_
#define FLASHMOE_SESSION_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "flashmoe/residency.h"
#include "flashmoe/result.h"

namespace flashmoe {

/// How the next token is picked from the logits. The defaults are greedy: always the likeliest.
struct SamplingOptions {
  double temperature = 0;     // 0: greedy; then top_k, top_p, min_p and seed do nothing
  std::size_t top_k = 0;      // keep the k likeliest; 0: all
  double top_p = 1;           // keep the likeliest until their probabilities reach p
  double min_p = 0;           // drop those less likely than min_p times the likeliest
  double repeat_penalty = 1;  // divides (or multiplies, if negative) the logits of recent tokens
  std::size_t repeat_window = 64;  // how many tokens count as recent
  double presence_penalty = 0;     // taken from the logits of tokens that were generated before
  double frequency_penalty = 0;    // likewise, times how often they were
  std::vector<std::pair<std::int32_t, double>> logit_bias;  // added to the logits of these ids
  std::uint64_t seed = 0;  // the same seed and prompt give the same text
};

enum class FinishReason : std::uint8_t {
  kStop,       // the model ended its text
  kStopText,   // a stop string came up; it is not part of the text
  kLength,     // max_tokens
  kContext,    // the context is full
  kCancelled,  // the caller asked to stop
};

/// "stop", "stop_text", "length", "context", "cancelled".
std::string_view to_string(FinishReason reason);

/// A token that was generated, and what swaps of experts were left when it was.
struct TokenReport {
  std::int32_t id = 0;
  double seconds = 0;  // since the token before, swaps included, or since the end of the prompt
  std::size_t swaps_pending = 0;   // experts still to come in (Residency::kAsyncDelta)
  std::size_t layers_pending = 0;  // layers that wait for some of them
  bool is_held = false;            // kept back from the output (ResidencyOptions::hold)
};

struct GenerateOptions {
  std::size_t max_tokens = 256;  // of output: those that are held back do not count
  SamplingOptions sampling;
  std::vector<std::string> stop;  // text that ends the generation
  /// Special tokens that are a part of the text, as all others are not; see GenerationRequest.
  std::vector<std::int32_t> markup;
  bool ignore_eos = false;  // go on past the model's end-of-text tokens
  /// The prompt changes the subject: modes that change their fixed set do so (switch_subject()).
  bool is_new_subject = false;
  /// Once true, the generation stops within tenths of a second, also in the middle of a step, which
  /// is then given up: the sequence stays what it was before the step. May be set by any thread, or
  /// a signal handler. Null: only the callbacks stop a generation.
  const std::atomic<bool>* cancel = nullptr;
  /// Called while the prompt is processed, after each layer of each step or more often, with tokens
  /// done and to do. A step's tokens count by the share of the work that is done; they are part of
  /// the sequence at the step's end. Returning false stops: at the end of a step the sequence goes
  /// on from there, within one the step is given up.
  std::function<bool(std::size_t done, std::size_t total)> on_prompt;
  /// Called with each new piece of text, always whole UTF-8 characters. Returning false stops the
  /// generation.
  std::function<bool(std::string_view text)> on_text;
  /// Called with the logits [vocab_size] of every token about to be picked, before penalties.
  std::function<void(std::span<const float> logits)> on_logits;
  /// Called after each token that was picked, once the swaps that go between it and the next are
  /// made. Returning false stops the generation.
  std::function<bool(const TokenReport& report)> on_token;
};

struct GenerateStatistics {
  std::size_t prompt_tokens = 0;       // that were to be read
  std::size_t prompt_tokens_read = 0;  // fewer where it was cancelled; of a step given up its share
  std::size_t generated_tokens = 0;
  double prefill_seconds = 0;
  double time_to_first_token_seconds = 0;  // from the call to the first token picked
  double decode_seconds = 0;               // from the first token to the last
  std::uint64_t expert_hits = 0;
  std::uint64_t expert_misses = 0;
  std::uint64_t bytes_read = 0;
  double expert_wait_seconds = 0;
  /// What a fixed set took before the first token, and in all; zeros where there was no change.
  SwitchReport subject_switch;
  double swap_seconds = 0;      // swaps between tokens included
  std::size_t held_tokens = 0;  // generated and kept back from the output
};

struct GenerateResult {
  std::string text;
  std::vector<std::int32_t> token_ids;  // an end-of-text token that ended it included
  FinishReason finish_reason = FinishReason::kStop;
  GenerateStatistics statistics;
};

/// Receives what a forward pass computes, in order of rows. Views are valid during the call only.
struct ForwardObserver {
  /// As GenerateOptions::cancel and on_prompt; forward() then fails with kCancelled.
  const std::atomic<bool>* cancel = nullptr;
  std::function<bool(std::size_t done, std::size_t total)> on_progress;
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
/// (reset() revives it), not the engine's. After a step that was given up the session goes on as if
/// it had never begun, to the same bits; tokens before it may have to be read again for that.
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
  /// kCancelled, and the observer's: the sequence then ends with the last whole step.
  virtual Status forward(std::span<const std::int32_t> ids, const ForwardObserver& observer) = 0;

  /// From the cached to the fixed-set mode (ResidencyOptions::has_fixed_set()): appends `prompt`
  /// and reads it as usual, generates a few tokens to see the routing, takes them back, and fills
  /// the set; generate({}) then goes on. generate() does so by itself where there is no set.
  /// Errors: as generate(); kInvalidArgument in other modes, or with a set.
  virtual Result<SwitchReport> upgrade(std::span<const std::int32_t> prompt,
                                       const GenerateOptions& options) = 0;

  /// A change of subject: reads `prompt` with the set as it is, generates a few tokens to see the
  /// routing, and takes all of it back; then swaps what is missing, and appends `prompt` with the
  /// new set. `incremental`: appends `prompt` as it was read with the old set, and leaves the swaps
  /// to be made between the tokens of generate({}). Errors: as upgrade(), but without a set; those
  /// of reads, after which the sequence is as before and the next switch makes the swaps left.
  virtual Result<SwitchReport> switch_subject(std::span<const std::int32_t> prompt,
                                              bool incremental, const GenerateOptions& options) = 0;

  /// Back from the fixed-set to the cached mode, until the next upgrade: what is in memory stays,
  /// or nothing, if `cold`. Counts of misses begin anew. The sequence stays.
  virtual void reset_experts(bool cold) = 0;

  /// Forgets the sequence.
  virtual Status reset() = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_SESSION_H_
