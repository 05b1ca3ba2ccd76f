#ifndef FLASHMOE_EXPERTS_RESIDENCY_REPLAY_H_
#define FLASHMOE_EXPERTS_RESIDENCY_REPLAY_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "experts/expert_id.h"
#include "experts/fixed_set.h"
#include "experts/residency_policy.h"
#include "experts/routing_trace.h"

namespace flashmoe {

/// How many of so many leases were hits.
struct HitCount {
  std::uint64_t hits = 0;
  std::uint64_t lookups = 0;
  void add(const HitCount& other) {
    hits += other.hits;
    lookups += other.lookups;
  }
  double rate() const {
    return lookups == 0 ? 0 : static_cast<double>(hits) / static_cast<double>(lookups);
  }
};

/// An ExpertCache without bytes: the same calls to the same policy in the same order as
/// ExpertCache::acquire makes them where every lease has ended before the next acquire, as in
/// decoding.
class ResidencyReplay {
 public:
  /// The slots of each class must be at least as many as one acquire asks for.
  ResidencyReplay(std::span<const std::size_t> expert_counts,
                  std::unique_ptr<ResidencyPolicy> policy, LayerSlots slots);

  /// Leases and releases `routed` (distinct ids); returns how many of them were resident.
  std::size_t acquire(std::uint64_t step, LayerId layer, std::span<const ExpertId> routed);

  /// Puts `swaps`, as many as the layer has slots at most, in memory as ExpertCache::exchange does.
  void exchange(LayerId layer, std::span<const ExpertSwap> swaps);

 private:
  class Evictable;

  void load(ExpertKey key, LoadCause cause);
  void drop(ExpertKey key);
  std::size_t index_of(ExpertKey key) const { return first_[key.layer.value] + key.expert.value; }

  std::unique_ptr<ResidencyPolicy> policy_;
  std::vector<std::size_t> first_;  // of each layer: where its experts begin in the vectors below
  std::vector<bool> resident_;
  std::vector<bool> leased_;       // of residents
  LayerSlots free_;                // what of the slots is free
  std::vector<ExpertId> missing_;  // of one acquire; reused
};

/// Hit rates of one sequence, or summed over those of a trace.
struct ReplayResult {
  HitCount all;
  HitCount cold;    // the first kColdTokens tokens of a sequence
  HitCount steady;  // from token kSteadyFrom of a sequence on

  void add(const ReplayResult& other) {
    all.add(other.all);
    cold.add(other.cold);
    steady.add(other.steady);
  }
};

inline constexpr std::size_t kColdTokens = 300;
inline constexpr std::size_t kSteadyFrom = 512;

/// A policy for tokens [begin, end) of a trace, that hears of them in order. One that knows the
/// future needs to know which they are.
using PolicyFactory =
    std::function<std::unique_ptr<ResidencyPolicy>(std::size_t begin, std::size_t end)>;

/// Decodes the sequences of `trace` token by token, each from a cache of `slot_count` slots for all
/// layers, which must hold at least one layer's choice. It is empty at first but for the members of
/// `begin_with`, if any.
ReplayResult replay(const RoutingTrace& trace, const PolicyFactory& policy, std::size_t slot_count,
                    const FixedSet* begin_with = nullptr);

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_RESIDENCY_REPLAY_H_
