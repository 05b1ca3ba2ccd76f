#include "experts/residency_replay.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace flashmoe {

class ResidencyReplay::Evictable final : public EvictableSet {
 public:
  Evictable(const ResidencyReplay& replay, LayerId layer)
      : replay_(replay), class_(replay.free_.class_of(layer)) {}
  bool contains(ExpertKey key) const override {
    const std::size_t i = replay_.index_of(key);
    return replay_.resident_[i] && !replay_.leased_[i] &&
           replay_.free_.class_of(key.layer) == class_;
  }

 private:
  const ResidencyReplay& replay_;
  const std::size_t class_;
};

ResidencyReplay::ResidencyReplay(std::span<const std::size_t> expert_counts,
                                 std::unique_ptr<ResidencyPolicy> policy, LayerSlots slots)
    : policy_(std::move(policy)), free_(std::move(slots)) {
  std::size_t count = 0;
  for (const std::size_t experts : expert_counts) {
    first_.push_back(count);
    count += experts;
  }
  resident_.resize(count);
  leased_.resize(count);
  policy_->set_slots(free_);
}

std::size_t ResidencyReplay::acquire(std::uint64_t step, LayerId layer,
                                     std::span<const ExpertId> routed) {
  policy_->on_routed(step, layer, routed, {});
  missing_.clear();
  for (const ExpertId expert : routed) {
    const std::size_t i = index_of({layer, expert});
    if (resident_[i]) {
      leased_[i] = true;
    } else {
      missing_.push_back(expert);
    }
  }
  for (const ExpertId expert : missing_) load({layer, expert}, LoadCause::kRouted);
  for (const ExpertId expert : routed) {
    leased_[index_of({layer, expert})] = false;
    if (!policy_->keeps_unleased()) drop({layer, expert});
  }
  return routed.size() - missing_.size();
}

void ResidencyReplay::exchange(LayerId layer, std::span<const ExpertSwap> swaps) {
  // Those who are here first, so that none of them leaves for another.
  std::vector<ExpertId> held;
  for (const ExpertSwap& swap : swaps) {
    const std::size_t i = index_of({layer, swap.in});
    if (resident_[i]) held.push_back(swap.in);
    leased_[i] = resident_[i];
  }
  for (const ExpertSwap& swap : swaps) {
    if (resident_[index_of({layer, swap.in})]) continue;
    const ExpertKey out{layer, swap.out};
    if (swap.out != kNobody && Evictable(*this, layer).contains(out)) drop(out);
    load({layer, swap.in}, LoadCause::kPlaced);
    held.push_back(swap.in);
  }
  for (const ExpertId id : held) leased_[index_of({layer, id})] = false;
}

/// Leaves the newcomer leased.
void ResidencyReplay::load(ExpertKey key, LoadCause cause) {
  std::size_t& free_count = free_.counts[free_.class_of(key.layer)];
  if (free_count == 0) {
    const Evictable evictable(*this, key.layer);
    const ExpertKey victim = policy_->choose_victim(key.layer, evictable);
    FM_CHECK(evictable.contains(victim));
    drop(victim);
  }
  --free_count;
  resident_[index_of(key)] = leased_[index_of(key)] = true;
  policy_->on_loaded(key, cause);
}

void ResidencyReplay::drop(ExpertKey key) {
  resident_[index_of(key)] = false;
  ++free_.counts[free_.class_of(key.layer)];
  policy_->on_dropped(key);
}

ReplayResult replay(const RoutingTrace& trace, const PolicyFactory& policy, std::size_t slot_count,
                    const FixedSet* begin_with) {
  FM_CHECK(slot_count >= trace.experts_per_token());
  ReplayResult result;
  std::vector<ExpertId> routed;
  for (std::size_t i = 0; i < trace.starts().size(); ++i) {
    const std::size_t begin = trace.starts()[i];
    const std::size_t end = trace.sequence_end(i);
    ResidencyReplay cache(trace.num_experts(), policy(begin, end), {.counts = {slot_count}});
    for (std::uint32_t l = 0; begin_with != nullptr && l < begin_with->layer_count(); ++l) {
      std::vector<ExpertSwap> arrivals;
      for (const ExpertId id : begin_with->members(LayerId{l})) arrivals.push_back({kNobody, id});
      cache.exchange(LayerId{l}, arrivals);
    }
    for (std::size_t t = begin; t < end; ++t) {
      HitCount token;
      for (std::size_t l = 0; l < trace.layer_count(); ++l) {
        const auto ids = trace.routed(l, t);
        // MoeBlock leases a token's experts in the order in which it adds them.
        routed.assign(ids.begin(), ids.end());
        std::ranges::sort(routed);
        token.hits += cache.acquire(t - begin, {static_cast<std::uint32_t>(l)}, routed);
        token.lookups += routed.size();
      }
      result.all.add(token);
      if (t - begin < kColdTokens) result.cold.add(token);
      if (t - begin >= kSteadyFrom) result.steady.add(token);
    }
  }
  return result;
}

}  // namespace flashmoe
