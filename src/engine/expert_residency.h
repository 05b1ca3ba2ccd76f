#ifndef FLASHMOE_ENGINE_EXPERT_RESIDENCY_H_
#define FLASHMOE_ENGINE_EXPERT_RESIDENCY_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/routing_counter.h"
#include "experts/expert_cache.h"
#include "experts/expert_profile.h"
#include "experts/fixed_set.h"
#include "experts/residency_policy.h"
#include "flashmoe/residency.h"
#include "model/miss_handler.h"
#include "model/model.h"

namespace flashmoe {

/// What a residency mode is made of: the policy that it gives the cache, the fixed set and its
/// swaps, the rule for misses, and the counts that a set is found from. Sessions tell it when a
/// subject begins and when a token is done; it tells the cache what to bring in. One thread at a
/// time.
class ExpertResidency {
 public:
  /// What it works on. All of it outlives this.
  struct Parts {
    ExpertCache* cache = nullptr;
    Model* model = nullptr;
    RoutingObservers* observers = nullptr;
    const ExpertStore* store = nullptr;
  };
  using Progress = std::function<void(std::uint64_t done, std::uint64_t total)>;

  /// Reads the profile that the options name. `identity` is the model's. Errors: kInvalidArgument
  /// where the options contradict each other; those of read_profile_of().
  static Result<std::unique_ptr<ExpertResidency>> create(const ResidencyOptions& options,
                                                         std::string_view identity,
                                                         std::vector<std::size_t> expert_counts);
  ~ExpertResidency();

  const ResidencyOptions& options() const { return options_; }
  /// For the cache: call it once.
  std::unique_ptr<ResidencyPolicy> make_policy() const;

  /// Begins to be what the model and cache go by, whose policy is make_policy()'s, and reads what
  /// the mode wants at once. Errors: those of the reads.
  Status attach(const Parts& parts, bool speculation, const Progress& on_progress);

  /// Whether there is a fixed set, found by discovery.
  bool has_set() const { return options_.has_fixed_set() && !set_->empty(); }
  bool is_swapping() const { return set_->pending_count() > 0; }
  const FixedSet& set() const { return *set_; }
  std::size_t layers_pending() const;

  /// Counts what is routed from now on, anew.
  void begin_discovery();
  /// Plans the set that serves best what was routed since. The report has what that found.
  SwitchReport plan();
  /// From now on misses are answered by the rule, if the mode has one. attach() does so for modes
  /// without a fixed set.
  void begin_answering();

  /// Makes all swaps that are planned. Errors: of the reads; those left stay planned.
  Status finish_swaps(const Progress& on_progress = {});
  /// To be called between a generated token and the next: makes the swaps that go there, and plans
  /// others if the set is to be refreshed. Errors: as finish_swaps().
  Status after_token();

  /// Gives back what is kept beside the budget, if the options want that.
  void drop_caches() const;

  /// No set, misses read, counts at 0: the cached mode. `cold`: nothing in memory either.
  void release(bool cold);

  /// What was not read; null where misses are read.
  const MissStatistics* miss_statistics() const {
    return misses_ == nullptr ? nullptr : &misses_->statistics();
  }

 private:
  ExpertResidency(const ResidencyOptions& options, std::optional<ExpertProfile> profile,
                  std::vector<std::size_t> expert_counts);
  std::vector<std::size_t> set_sizes() const;
  Status read_every_expert(const Progress& on_progress);
  Status swap_some(LayerId layer, std::size_t count);
  Status advance();

  const ResidencyOptions options_;
  const std::optional<ExpertProfile> profile_;
  const std::vector<std::size_t> expert_counts_;
  const std::shared_ptr<FixedSet> set_;
  RoutingCounter counter_;
  ExpertProfile history_;  // of the subjects so far, older ones fading
  Parts parts_;
  std::unique_ptr<MissHandler> misses_;
  std::size_t tokens_since_refresh_ = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_EXPERT_RESIDENCY_H_
