#ifndef FLASHMOE_EXPERTS_FIXED_SET_H_
#define FLASHMOE_EXPERTS_FIXED_SET_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "experts/expert_id.h"
#include "experts/residency_policy.h"
#include "experts/resident_set.h"

namespace flashmoe {

/// One expert of a layer in the place of another; kNobody where the place was empty.
struct ExpertSwap {
  ExpertId out;
  ExpertId in;
  friend bool operator==(const ExpertSwap&, const ExpertSwap&) = default;
};

/// Places for experts of each layer in equal shares of its class of slots, at most all of a
/// layer's, but for `passing` slots of each class that misses are read into.
std::vector<std::size_t> equal_shares(const LayerSlots& slots, std::size_t passing,
                                      std::span<const std::size_t> expert_counts);

/// How many experts of each layer a profile pins: `per_layer`, or equal shares of half the slots
/// (0), but for `passing` slots of each class.
std::vector<std::size_t> pinned_shares(const LayerSlots& slots, std::size_t per_layer,
                                       std::size_t passing,
                                       std::span<const std::size_t> expert_counts);

/// Which experts of each layer are to be in memory until somebody says otherwise, each in a place
/// of its layer; and the swaps that are still to be made to get there. Bookkeeping only:
/// ExpertCache moves the bytes. Not thread-safe.
class FixedSet {
 public:
  /// `expert_counts`: routed experts of each layer. Empty at first.
  explicit FixedSet(std::span<const std::size_t> expert_counts);

  /// Whether the expert has a place now: those to be swapped out still have theirs, those to come
  /// have none.
  bool contains(ExpertKey key) const {
    return layers_[key.layer.value].is_member[key.expert.value];
  }
  bool empty() const { return member_count_ == 0 && pending_count_ == 0; }
  std::size_t member_count() const { return member_count_; }
  std::size_t layer_count() const { return layers_.size(); }
  /// Who has a place in `layer`, the first place first.
  std::span<const ExpertId> members(LayerId layer) const { return layers_[layer.value].places; }
  /// Changes whenever contains() may.
  std::uint64_t version() const { return version_; }

  /// Says what the set is to become. Who stays keeps the place; newcomers, the most wanted first,
  /// get the places of those who go, the first place first. Where a layer is to be smaller, places
  /// are given up at once. Swaps planned before and not made are forgotten.
  void plan(const ResidentSet& wanted);
  std::span<const ExpertSwap> pending(LayerId layer) const;
  std::size_t pending_count() const { return pending_count_; }
  /// The first `count` of pending(layer) have been made.
  void complete(LayerId layer, std::size_t count);

  /// Who serves for an expert that is not here, as in the system that flash-moe starts from: who
  /// still has the place that it is to get, or else who has the layer's first place; kNobody in a
  /// layer without places.
  ExpertId stale(ExpertKey missing) const;

  /// No places and nothing planned.
  void clear();

 private:
  struct Layer {
    std::vector<ExpertId> places;
    std::vector<bool> is_member;  // by expert: has a place
    std::vector<ExpertSwap> pending;
    std::vector<std::size_t> pending_places;  // of pending
  };
  void plan_layer(Layer& layer, std::span<const ExpertId> wanted);

  std::vector<Layer> layers_;
  std::size_t member_count_ = 0;
  std::size_t pending_count_ = 0;
  std::uint64_t version_ = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_FIXED_SET_H_
