#include "experts/policies/lru.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "base/check.h"
#include "experts/policies/layer_shares.h"

namespace flashmoe {
namespace {

class LruPolicy final : public ResidencyPolicy {
 public:
  explicit LruPolicy(std::span<const std::size_t> expert_counts)
      : shares_(expert_counts), layers_(expert_counts.size()) {
    for (std::size_t l = 0; l < expert_counts.size(); ++l) {
      layers_[l].experts.resize(expert_counts[l]);
    }
  }

  void set_slots(const LayerSlots& slots) override { shares_.set_slots(slots); }

  void on_routed(std::uint64_t /*step*/, LayerId layer, std::span<const ExpertId> routed,
                 const RowCounts& /*rows*/) override {
    Layer& l = layers_[layer.value];
    for (std::size_t i = routed.size(); i-- > 0;) {
      const std::uint16_t id = routed[i].value;
      l.experts[id].stamp = ++clock_;
      if (!l.experts[id].resident) continue;
      unlink(l, id);
      link_after(l, l.newest, id);
    }
  }

  void on_loaded(ExpertKey key, LoadCause cause) override {
    Layer& l = layers_[key.layer.value];
    Expert& expert = l.experts[key.expert.value];
    FM_CHECK(!expert.resident);
    // Its place is where it was routed last: after on_routed among its companions, of which some
    // were here before.
    if (cause == LoadCause::kRestored || cause == LoadCause::kPlaced) expert.stamp = ++clock_;
    std::uint32_t older = l.newest;
    while (older != kNone && l.experts[older].stamp > expert.stamp) older = l.experts[older].older;
    link_after(l, older, key.expert.value);
    expert.resident = true;
    shares_.on_loaded(key.layer);
  }

  void on_dropped(ExpertKey key) override {
    Layer& l = layers_[key.layer.value];
    FM_CHECK(l.experts[key.expert.value].resident);
    unlink(l, key.expert.value);
    l.experts[key.expert.value].resident = false;
    shares_.on_dropped(key.layer);
  }

  ExpertKey choose_victim(LayerId layer, const EvictableSet& evictable) override {
    return shares_.choose_victim(layer, [&](LayerId from) { return oldest(from, evictable); });
  }

  std::vector<ExpertId> ranked_residents(LayerId layer) const override {
    const Layer& l = layers_[layer.value];
    std::vector<ExpertId> ids;
    for (std::uint32_t id = l.newest; id != kNone; id = l.experts[id].older) {
      ids.push_back(ExpertId{static_cast<std::uint16_t>(id)});
    }
    return ids;
  }

 private:
  static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

  struct Expert {
    std::uint64_t stamp = 0;  // clock_ when it was routed last; unique
    std::uint32_t older = kNone;
    std::uint32_t newer = kNone;
    bool resident = false;  // and so in its layer's list
  };

  // The residents form a list in ascending order of their stamps.
  struct Layer {
    std::vector<Expert> experts;
    std::uint32_t oldest = kNone;
    std::uint32_t newest = kNone;
  };

  static void unlink(Layer& l, std::uint32_t id) {
    const Expert& expert = l.experts[id];
    (expert.older == kNone ? l.oldest : l.experts[expert.older].newer) = expert.newer;
    (expert.newer == kNone ? l.newest : l.experts[expert.newer].older) = expert.older;
  }

  // kNone: before all others.
  static void link_after(Layer& l, std::uint32_t older, std::uint32_t id) {
    const std::uint32_t newer = older == kNone ? l.oldest : l.experts[older].newer;
    l.experts[id].older = older;
    l.experts[id].newer = newer;
    (older == kNone ? l.oldest : l.experts[older].newer) = id;
    (newer == kNone ? l.newest : l.experts[newer].older) = id;
  }

  std::optional<ExpertKey> oldest(LayerId layer, const EvictableSet& evictable) const {
    const Layer& l = layers_[layer.value];
    for (std::uint32_t id = l.oldest; id != kNone; id = l.experts[id].newer) {
      const ExpertKey key{layer, ExpertId{static_cast<std::uint16_t>(id)}};
      if (evictable.contains(key)) return key;
    }
    return std::nullopt;
  }

  LayerShares shares_;
  std::vector<Layer> layers_;
  std::uint64_t clock_ = 0;
};

}  // namespace

std::unique_ptr<ResidencyPolicy> make_lru_policy(std::span<const std::size_t> expert_counts) {
  return std::make_unique<LruPolicy>(expert_counts);
}

}  // namespace flashmoe
