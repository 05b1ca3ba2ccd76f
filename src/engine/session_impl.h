#ifndef FLASHMOE_ENGINE_SESSION_IMPL_H_
#define FLASHMOE_ENGINE_SESSION_IMPL_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "engine/expert_residency.h"
#include "engine/pressure_watch.h"
#include "engine/sampler.h"
#include "engine/step_guard.h"
#include "experts/expert_cache.h"
#include "experts/resident_set_keeper.h"
#include "flashmoe/session.h"
#include "model/model.h"
#include "tokenizer/stop_matcher.h"
#include "tokenizer/tokenizer.h"

namespace flashmoe {

/// What sessions use of their engine. All of it outlives them.
struct SessionResources {
  Model* model = nullptr;
  const ExpertCache* experts = nullptr;
  const std::unique_ptr<ExpertResidency>* residency = nullptr;  // changes; null inside: no experts
  PressureWatch* pressure = nullptr;  // null where there is nothing to watch
  const std::unique_ptr<ResidentSetKeeper>* resident_set = nullptr;  // null inside: nothing kept
  const Tokenizer* tokenizer = nullptr;  // null where the model has none
  std::span<const std::int32_t> eos_token_ids;
  std::size_t context = 0;
};

/// A forward pass, and what goes before and after every one: the cache may have to give memory
/// back, also in the middle, and the experts in use are written down now and then. Errors: as
/// Model::forward().
Status run_step(const SessionResources& resources, std::span<const SequenceRows> rows,
                const ForwardSinks& sinks, const StepWishes& wishes);

/// The counters that a generation's statistics are differences of.
struct ExpertCounters {
  ExpertCacheStatistics experts;
  ReadStatistics reads;
};
ExpertCounters expert_counters(const SessionResources& resources);

/// Errors: kInvalidArgument for ids that the model does not have, and for more of them than a
/// context of which `before` tokens are taken has room for.
Status check_prompt_ids(std::span<const std::int32_t> ids, std::size_t before, std::size_t context,
                        const ModelSpec& spec);

/// A Session over one SequenceState.
class SessionImpl : public Session {
 public:
  /// `on_close` is called by the destructor.
  SessionImpl(const SessionResources& resources, SequenceState state,
              std::function<void()> on_close)
      : resources_(resources), state_(std::move(state)), on_close_(std::move(on_close)) {}
  ~SessionImpl() override { on_close_(); }

  std::span<const std::int32_t> token_ids() const override { return tokens_; }
  Result<GenerateResult> generate(std::span<const std::int32_t> prompt,
                                  const GenerateOptions& options) override;
  Status forward(std::span<const std::int32_t> ids, const ForwardObserver& observer) override;
  Result<SwitchReport> upgrade(std::span<const std::int32_t> prompt,
                               const GenerateOptions& options) override;
  Result<SwitchReport> switch_subject(std::span<const std::int32_t> prompt, bool incremental,
                                      const GenerateOptions& options) override;
  void reset_experts(bool cold) override;
  Status reset() override;

 private:
  ExpertResidency* residency() const { return resources_.residency->get(); }
  Status check_input(std::span<const std::int32_t> ids) const;
  Status check_prompt(std::span<const std::int32_t> prompt) const;
  Result<ExpertResidency*> fixed_residency(std::string_view action) const;
  void append_prompt(std::span<const std::int32_t> ids);
  /// Feeds the tokens that the model has not seen, in chunks; leaves the last one's logits in
  /// logits_. False if cancelled: tokens of the prompt that were not fed then leave the sequence;
  /// where that was in the middle of a step the state is broken.
  Result<bool> consume_pending(const GenerateOptions& options, bool is_generated);
  /// consume_pending() of tokens that were generated: it says nothing of progress.
  Result<bool> consume_generated(const GenerateOptions& options) {
    return consume_pending({.cancel = options.cancel}, /*is_generated=*/true);
  }
  /// Before a step of `rows` rows, the first of a prompt or not. Where it may be given up, sees to
  /// it that the way back from it is not long.
  void keep_way_back(std::size_t rows, bool is_first, bool may_be_given_up);
  /// Undoes a step that was given up, if one was. The state goes further back than that; the tokens
  /// in between stay, to be fed again.
  void undo_step();
  void restore(const SequenceState::Snapshot& snapshot);
  Status decode(const GenerateOptions& options, Sampler& sampler, StopMatcher stops,
                GenerateResult& result);
  /// Brings the prompt into the sequence, and the fixed set, if the mode has one, to the subject.
  /// False if cancelled.
  Result<bool> begin(std::span<const std::int32_t> prompt, const GenerateOptions& options,
                     GenerateStatistics& statistics);
  /// Appends `prompt` and reads it. Errors: also kCancelled.
  Status read_prompt(std::span<const std::int32_t> prompt, const GenerateOptions& options);
  /// Generates a few tokens after what has been read, and takes them back.
  Status discover(const GenerateOptions& options, SwitchReport& report);
  /// Generates while swaps are being made, for nobody to see. False if cancelled.
  Result<bool> pass_held_tokens(const GenerateOptions& options, Sampler& sampler,
                                GenerateStatistics& statistics);
  /// Back to where tokens [0, prompt_end) were all, of which the prompt is read again. False if
  /// cancelled.
  Result<bool> restart(std::size_t prompt_end, const GenerateOptions& options, Sampler& sampler);
  /// What goes between a token and the next. False if cancelled.
  Result<bool> end_token(const GenerateOptions& options, TokenReport report);

  SessionResources resources_;
  SequenceState state_;
  std::function<void()> on_close_;
  std::vector<std::int32_t> tokens_;  // those beyond state_.position() are yet to be fed
  std::vector<float> logits_;         // of the last token fed, [vocab_size]
  std::size_t prompt_begin_ = 0;      // of tokens_: those before stay, whatever is cancelled
  std::size_t prompt_read_ = 0;  // tokens of this generation's prompt, shares of steps included
  std::optional<SequenceState::Snapshot> way_back_;  // none: the beginning
  std::chrono::steady_clock::time_point way_back_kept_;
  // Before the prompt whose answer is to be held back until swaps are made.
  std::optional<SequenceState::Snapshot> before_held_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_SESSION_IMPL_H_
