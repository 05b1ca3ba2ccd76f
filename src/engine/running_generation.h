#ifndef FLASHMOE_ENGINE_RUNNING_GENERATION_H_
#define FLASHMOE_ENGINE_RUNNING_GENERATION_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "engine/remembered_sequence.h"
#include "engine/sampler.h"
#include "engine/text_stream.h"
#include "flashmoe/scheduler.h"
#include "model/step.h"

namespace flashmoe {

/// One sequence that a scheduler is computing: its tokens, what has been consumed of them, and what
/// its listener has been told. The scheduler decides when; this knows what comes next. One thread
/// at a time.
class RunningGeneration {
 public:
  using Clock = std::chrono::steady_clock;

  /// What every generation needs of the model.
  struct Model {
    const Tokenizer* tokenizer = nullptr;  // may be null
    std::span<const std::int32_t> eos_ids;
    std::size_t context = 0;
    /// Called when one has ended, before its listener hears of it: who has been answered may ask
    /// again at once.
    std::function<void(const RunningGeneration&)> on_ended;
  };

  /// `sampler` and `text` are those of `request`.
  RunningGeneration(GenerationId id, GenerationRequest request,
                    std::shared_ptr<GenerationListener> listener, Sampler sampler, TextStream text,
                    const Model& model, Clock::time_point submitted);

  /// Whether tokens before the last one have yet to be consumed: the prompt's, or all after
  /// rebuild().
  bool is_behind() const { return is_prompting() || position() + 1 < tokens_.size(); }
  /// A step that it was in has failed. `sequence`: where the first `state.position()` of its tokens
  /// have led. The others are consumed again, in steps of its own: if it was not to blame, nobody
  /// notices.
  void rebuild(RememberedSequence sequence);
  bool is_suspect() const { return is_suspect_; }
  void clear_suspicion() { is_suspect_ = false; }

  /// Takes a place. `sequence`: where the tokens that are known have led.
  void start(RememberedSequence sequence, Clock::time_point now);
  /// Gives its place up, to start again later: to the same tokens, and its listener does not
  /// notice.
  RememberedSequence suspend() { return std::move(*std::exchange(sequence_, nullptr)); }
  bool has_started() const { return has_started_; }

  GenerationId id() const { return id_; }
  /// The client's request that it is of: the id of the first of its generations.
  GenerationId group() const { return request_.companion.value_or(id_); }
  const GenerationRequest& request() const { return request_; }
  std::span<const std::int32_t> tokens() const { return tokens_; }
  std::size_t position() const { return sequence_->state.position(); }
  bool is_prompting() const { return position() < request_.prompt.size(); }
  bool has_ended() const { return has_ended_; }
  /// Once it has ended: what failed, if anything did, and how it ended otherwise.
  const Status& status() const { return status_; }
  FinishReason reason() const { return reason_; }
  GenerationStatistics& statistics() { return statistics_; }
  const GenerationStatistics& statistics() const { return statistics_; }
  RememberedSequence& sequence() { return *sequence_; }

  /// Positions within the prompt to remember the sequence at: chunks end there.
  std::set<std::size_t>& checkpoints() { return checkpoints_; }

  /// What it has for the next step: at most `rows_max` of the tokens that it is behind with, or the
  /// token picked last.
  SequenceRows next_rows(std::size_t rows_max);

  /// Its rows have been consumed; tells the listener how far the prompt is.
  void on_consumed();
  /// Whether its prompt has to be computed from the beginning, for what is yet to be told of it.
  bool needs_whole_prompt() const {
    return request_.scores_prompt && scored_ < request_.prompt.size();
  }
  /// `logits` [vocab_size] after the first `count` tokens, which are not all: tells the listener
  /// what the model thought of the next one, if that is wanted.
  void score(std::size_t count, std::span<const float> logits);
  /// `logits` [vocab_size] after all of its tokens: picks one, and ends the generation if that was
  /// the last.
  void pick(std::span<const float> logits);

  /// Ends it: tells the listener. Nothing if it has ended.
  void end(FinishReason reason);
  void fail(const Status& status);

 private:
  Status pick_token(std::span<const float> logits, std::int32_t& id);
  void show(GeneratedToken token, std::span<const float> logits);
  void finish(GenerationEnd end);

  const GenerationId id_;
  GenerationRequest request_;
  const std::shared_ptr<GenerationListener> listener_;
  Sampler sampler_;
  TextStream text_;
  const Model& model_;
  std::vector<std::int32_t> tokens_;  // the prompt, then what was picked
  std::unique_ptr<RememberedSequence> sequence_;
  std::set<std::size_t> checkpoints_;
  std::size_t scored_ = 1;  // tokens of the prompt that are told; nothing predicts the first
  std::vector<TokenLogprob> top_;
  GenerationStatistics statistics_;
  const Clock::time_point submitted_;
  Clock::time_point started_;
  Clock::time_point first_token_;
  bool has_started_ = false;
  bool has_ended_ = false;
  bool is_suspect_ = false;
  Status status_;
  FinishReason reason_ = FinishReason::kStop;
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_RUNNING_GENERATION_H_
