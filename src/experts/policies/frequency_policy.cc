#include "experts/policies/frequency_policy.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <tuple>
#include <vector>

#include "base/check.h"
#include "base/portable_math.h"
#include "experts/policies/layer_shares.h"

namespace flashmoe {
namespace {

// After so many half-lives nothing is left of a use.
constexpr std::size_t kHalfLivesMax = 32;

class FrequencyPolicy final : public ResidencyPolicy {
 public:
  FrequencyPolicy(std::span<const std::size_t> expert_counts, const FrequencyDecay& decay)
      : half_life_(decay.half_life),
        each_use_fades_(decay.each_use_fades),
        shares_(expert_counts),
        layers_(expert_counts.size()) {
    for (std::size_t l = 0; l < expert_counts.size(); ++l) {
      layers_[l].experts.resize(expert_counts[l]);
    }
    const double step = portable::pow(0.5, 1.0 / static_cast<double>(decay.half_life));
    double left = 1;
    decay_.reserve(decay.half_life * kHalfLivesMax);
    for (std::size_t age = 0; age < decay.half_life * kHalfLivesMax; ++age, left *= step) {
      decay_.push_back(left);
    }
  }

  void set_slots(const LayerSlots& slots) override { shares_.set_slots(slots); }

  void on_routed(std::uint64_t step, LayerId layer, std::span<const ExpertId> routed,
                 const RowCounts& rows) override {
    FM_CHECK(rows.of_expert.empty() || rows.of_expert.size() == routed.size());
    step_ = step;
    const double share =
        std::min(1.0, static_cast<double>(half_life_) / static_cast<double>(rows.total));
    for (std::size_t i = 0; i < routed.size(); ++i) {
      Expert& expert = layers_[layer.value].experts[routed[i].value];
      const double uses = rows.of_expert.empty() ? 1 : std::max(1.0, rows.of_expert[i] * share);
      expert.worth = each_use_fades_ ? worth(expert) + uses : expert.worth + 1;
      expert.last_step = step;
    }
  }

  void on_loaded(ExpertKey key, LoadCause cause) override {
    Layer& layer = layers_[key.layer.value];
    Expert& expert = layer.experts[key.expert.value];
    FM_CHECK(expert.resident_index == kNone);
    const bool is_promised = cause == LoadCause::kRestored || cause == LoadCause::kPlaced;
    if (is_promised && worth(expert) < 1) {
      // Else it would be the first to leave.
      expert.worth = 1;
      expert.last_step = step_;
    }
    expert.resident_index = static_cast<std::uint32_t>(layer.residents.size());
    layer.residents.push_back(key.expert);
    shares_.on_loaded(key.layer);
  }

  void on_dropped(ExpertKey key) override {
    Layer& layer = layers_[key.layer.value];
    Expert& expert = layer.experts[key.expert.value];
    FM_CHECK(expert.resident_index != kNone);
    const ExpertId last = layer.residents.back();
    layer.residents[expert.resident_index] = last;
    layer.experts[last.value].resident_index = expert.resident_index;
    layer.residents.pop_back();
    expert.resident_index = kNone;
    shares_.on_dropped(key.layer);
  }

  ExpertKey choose_victim(LayerId layer, const EvictableSet& evictable) override {
    return shares_.choose_victim(layer, [&](LayerId from) { return least_worth(from, evictable); });
  }

  std::vector<ExpertId> ranked_residents(LayerId layer) const override {
    const Layer& l = layers_[layer.value];
    std::vector<Rank> ranks;
    ranks.reserve(l.residents.size());
    for (const ExpertId id : l.residents) ranks.push_back(rank(l, id));
    std::ranges::sort(ranks, std::ranges::greater());
    std::vector<ExpertId> ids;
    ids.reserve(ranks.size());
    for (const Rank& rank : ranks) ids.push_back(std::get<ExpertId>(rank));
    return ids;
  }

 private:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  // Worth now, last step, id: the least leaves first.
  using Rank = std::tuple<double, std::uint64_t, ExpertId>;

  struct Expert {
    double worth = 0;  // at last_step
    std::uint64_t last_step = 0;
    std::uint32_t resident_index = kNone;  // in its layer's residents
  };
  struct Layer {
    std::vector<Expert> experts;
    std::vector<ExpertId> residents;  // in no order
  };

  // Now.
  double worth(const Expert& expert) const {
    const std::uint64_t age = step_ - expert.last_step;
    return age < decay_.size() ? expert.worth * decay_[age] : 0;
  }

  Rank rank(const Layer& layer, ExpertId id) const {
    const Expert& expert = layer.experts[id.value];
    return {worth(expert), expert.last_step, id};
  }

  std::optional<ExpertKey> least_worth(LayerId layer, const EvictableSet& evictable) const {
    const Layer& l = layers_[layer.value];
    std::optional<ExpertKey> least;
    Rank least_rank;
    for (const ExpertId id : l.residents) {
      const Rank candidate = rank(l, id);
      if (least && candidate >= least_rank) continue;
      if (!evictable.contains({layer, id})) continue;
      least = ExpertKey{layer, id};
      least_rank = candidate;
    }
    return least;
  }

  const std::size_t half_life_;
  const bool each_use_fades_;
  LayerShares shares_;
  std::vector<Layer> layers_;
  std::vector<double> decay_;  // 2^-(age / half-life), by age
  std::uint64_t step_ = 0;
};

}  // namespace

std::unique_ptr<ResidencyPolicy> make_frequency_policy(std::span<const std::size_t> expert_counts,
                                                       const FrequencyDecay& decay) {
  return std::make_unique<FrequencyPolicy>(expert_counts, decay);
}

}  // namespace flashmoe
