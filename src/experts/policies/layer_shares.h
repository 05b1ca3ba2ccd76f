#ifndef FLASHMOE_EXPERTS_POLICIES_LAYER_SHARES_H_
#define FLASHMOE_EXPERTS_POLICIES_LAYER_SHARES_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/check.h"
#include "experts/expert_id.h"
#include "experts/residency_policy.h"

namespace flashmoe {

/// How layers of one class share its slots, whatever the order within a layer: the fair share of a
/// layer is slot count / layers with experts. A layer that has its share gives up one of its own; a
/// layer below its share takes from the layer furthest above (ties: the smaller layer). So any slot
/// count works, a burst in one layer is paid back, and counts below one token's experts do not
/// collapse to the hit rate of 0 that one order over all layers has there.
class LayerShares {
 public:
  explicit LayerShares(std::span<const std::size_t> expert_counts)
      : has_experts_(expert_counts.size()), resident_counts_(expert_counts.size()) {
    for (std::size_t l = 0; l < has_experts_.size(); ++l) has_experts_[l] = expert_counts[l] > 0;
  }

  void set_slots(const LayerSlots& slots) {
    slots_ = slots;
    shares_.assign(slots.counts.size(), 0);
    for (std::uint32_t l = 0; l < has_experts_.size(); ++l) {
      if (has_experts_[l]) ++shares_[slots.class_of(LayerId{l})];
    }
    for (std::size_t c = 0; c < shares_.size(); ++c) {
      shares_[c] = shares_[c] == 0 ? 0 : slots.counts[c] / shares_[c];
    }
  }
  void on_loaded(LayerId layer) { ++resident_counts_[layer.value]; }
  void on_dropped(LayerId layer) { --resident_counts_[layer.value]; }

  /// Who leaves so that one of `layer` can come in. `first_of(LayerId)` gives the first of a layer
  /// that may go, as std::optional<ExpertKey>; some layer has one. O(layers) beside its calls.
  template <typename FirstOf>
  ExpertKey choose_victim(LayerId layer, const FirstOf& first_of) const {
    const std::size_t slot_class = slots_.class_of(layer);
    if (resident_counts_[layer.value] >= shares_[slot_class]) {
      if (const std::optional<ExpertKey> own = first_of(layer)) return *own;
    }
    std::optional<ExpertKey> victim;
    std::size_t most = 0;
    for (std::uint32_t l = 0; l < resident_counts_.size(); ++l) {
      if (resident_counts_[l] <= most || slots_.class_of(LayerId{l}) != slot_class) continue;
      if (const std::optional<ExpertKey> candidate = first_of(LayerId{l})) {
        victim = candidate;
        most = resident_counts_[l];
      }
    }
    FM_CHECK(victim.has_value());
    return *victim;
  }

 private:
  std::vector<bool> has_experts_;             // of each layer
  std::vector<std::size_t> resident_counts_;  // likewise
  LayerSlots slots_;
  std::vector<std::size_t> shares_;  // of a layer of each class
};

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_POLICIES_LAYER_SHARES_H_
