#ifndef FLASHMOE_EXPERTS_SLOT_PLAN_H_
#define FLASHMOE_EXPERTS_SLOT_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "experts/expert_id.h"
#include "experts/expert_store.h"
#include "experts/residency_policy.h"

namespace flashmoe {

/// Layers whose experts take slots of one size.
struct SlotClass {
  std::uint64_t slot_size = 0;
  std::size_t layer_count = 0;
  std::size_t expert_count = 0;  // of all its layers
  friend bool operator==(const SlotClass&, const SlotClass&) = default;
};

/// The sizes of slots that a model needs, those of the largest experts first; none without experts.
struct SlotClasses {
  std::vector<SlotClass> classes;
  std::vector<std::size_t> of_layer;  // a layer without experts: 0

  std::size_t expert_count() const;
  /// Bytes of slots for every expert.
  std::uint64_t resident_size() const;
  /// Of the largest slots; 0 without experts.
  std::uint64_t slot_size_max() const;
};

/// Layers whose experts differ by less than 1/64 are of one class.
SlotClasses slot_classes(const ExpertStore& store);

struct SlotRequest {
  std::uint64_t budget_bytes = 0;
  /// How many experts of a layer may be leased at once: so many slots each class has, or as many as
  /// it has experts. The default: any number.
  std::size_t experts_at_once = std::numeric_limits<std::size_t>::max();
  std::size_t slots_max = std::numeric_limits<std::size_t>::max();
};

/// Which slots a budget buys, and where they lie.
///
/// Every class has slots of its own, as large as its largest expert, and the budget is cut once:
/// nothing is split or joined later, so nothing fragments, and an expert that comes takes the slot
/// of one that leaves. Slots are handed out one by one to the class whose layers have fewest each
/// (ties: the larger slots), until it has one for each of its experts, or the budget does not hold
/// the next. Layers get equal numbers rather than equal bytes, since a slot of twice the size keeps
/// twice the bytes from being read again: a byte is worth the same in either.
///
/// Slots lie in memory in the order in which they are handed out. So the first n of them are what a
/// smaller budget would have bought, which is what a limit leaves; and classes fill from the front
/// together. Where a budget does not hold `experts_at_once` of every class, all slots are as large
/// as the largest expert, and any expert takes any slot. Immutable.
class SlotPlan {
 public:
  SlotPlan(const SlotClasses& of_model, const SlotRequest& request);

  std::size_t slot_count() const { return class_of_slot_.size(); }
  std::uint64_t byte_size() const { return offsets_.back(); }
  /// Where a slot begins; of slot_count() where the last one ends.
  std::uint64_t offset(std::size_t slot_id) const { return offsets_[slot_id]; }
  std::uint64_t slot_size(std::size_t slot_id) const {
    return offsets_[slot_id + 1] - offsets_[slot_id];
  }
  std::size_t class_of_slot(std::size_t slot_id) const { return class_of_slot_[slot_id]; }
  std::size_t class_of(LayerId layer) const { return class_of_layer_[layer.value]; }
  std::span<const SlotClass> classes() const { return classes_; }

  /// The slots of each class among the first `limit`.
  LayerSlots slots(std::size_t limit) const;
  /// How many slots, from the first on, take at most so many bytes.
  std::size_t slots_within(std::uint64_t bytes) const;
  /// How many slots, from the first on, hold so many experts of any one layer, or all there are.
  std::size_t slots_for(std::size_t experts_at_once) const;

 private:
  void share_out(const SlotRequest& request);

  std::vector<SlotClass> classes_;
  std::vector<std::size_t> class_of_layer_;
  std::vector<std::uint16_t> class_of_slot_;
  std::vector<std::uint64_t> offsets_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_SLOT_PLAN_H_
