#ifndef FLASHMOE_ENGINE_SESSION_IMPL_H_
#define FLASHMOE_ENGINE_SESSION_IMPL_H_

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/pressure_watch.h"
#include "engine/sampler.h"
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
  PressureWatch* pressure = nullptr;          // null where there is nothing to watch
  ResidentSetKeeper* resident_set = nullptr;  // null where nothing is kept
  const Tokenizer* tokenizer = nullptr;       // null where the model has none
  std::size_t context = 0;
};

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
  Status reset() override;

 private:
  /// The counters that a generation's statistics are differences of.
  struct Counters {
    ExpertCacheStatistics experts;
    ReadStatistics reads;
  };

  Status check_input(std::span<const std::int32_t> ids) const;
  Counters counters() const;
  /// Feeds the tokens that the model has not seen, in chunks; leaves the last one's logits in
  /// logits_. False if cancelled.
  Result<bool> consume_pending(const GenerateOptions& options, bool is_generated);
  /// A forward pass, and what goes before and after every one: the cache may have to give memory
  /// back, and the experts in use are written down now and then.
  Status step(const SequenceRows& rows, const ForwardSinks& sinks);
  /// Refuses logits from which no token can be picked: text from them would be wrong.
  Status check_logits() const;
  Status decode(const GenerateOptions& options, Sampler& sampler, StopMatcher stops,
                GenerateResult& result);

  SessionResources resources_;
  SequenceState state_;
  std::function<void()> on_close_;
  std::vector<std::int32_t> tokens_;  // those beyond state_.position() are yet to be fed
  std::vector<float> logits_;         // of the last token fed, [vocab_size]
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_SESSION_IMPL_H_
