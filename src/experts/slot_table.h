#ifndef FLASHMOE_EXPERTS_SLOT_TABLE_H_
#define FLASHMOE_EXPERTS_SLOT_TABLE_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "experts/expert_id.h"
#include "experts/residency_policy.h"
#include "experts/slot_plan.h"

namespace flashmoe {

enum class SlotState : std::uint8_t {
  kEmpty,     // free, withheld, or about to be read into
  kReading,   // its expert is found, and its bytes are on their way
  kResident,  // and here
  kFailed,    // its expert is no longer found: becomes free when its last lease ends
};

struct Slot {
  std::atomic<SlotState> state = SlotState::kEmpty;  // may be read without the table's lock
  std::uint16_t reads_left = 0;
  LoadCause cause = LoadCause::kRouted;  // of its reads; a guess that came true is routed
  std::uint32_t lease_count = 0;
  ExpertKey key;
};

/// Which expert is in which slot, who leases it, and which slots may be used: the books of
/// ExpertCache, wherever the slots' memory is. Moves no bytes, reads no files and decides nothing.
///
/// A slot goes: take_free() or drop() -> begin_reading() -> arrive() or fail(), and from the first
/// on drop(), then free() or withhold(). Leases may come and go from begin_reading() on, and one
/// before it. Not thread-safe, but for Slot::state.
class SlotTable {
 public:
  static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

  /// `expert_counts`: routed experts of each layer. Every slot is free, of each class those with
  /// the lowest numbers are taken first. `plan` must outlive the table.
  SlotTable(std::span<const std::size_t> expert_counts, const SlotPlan& plan);

  /// The slot of an expert that is here or being read; kNone for others.
  std::uint32_t find(ExpertKey key) const { return index_[place_of(key)]; }
  /// find() of every expert of a layer.
  std::span<const std::uint32_t> find_all(LayerId layer) const;
  /// The expert's place among all experts, of which there are place_count().
  std::size_t place_of(ExpertKey key) const;
  std::size_t place_count() const { return index_.size(); }
  const Slot& operator[](std::uint32_t slot_id) const { return slots_[slot_id]; }
  std::span<const Slot> slots() const { return {slots_.get(), plan_.slot_count()}; }

  /// An empty slot of a class that nobody else gets; kNone if there is none.
  std::uint32_t take_free(std::size_t slot_class);
  /// An empty slot that was taken, or whose expert was dropped or failed, may be taken again.
  void free(std::uint32_t slot_id);

  /// `key`, which has no slot, gets an empty one, into which `reads` reads begin.
  void begin_reading(std::uint32_t slot_id, ExpertKey key, LoadCause cause, std::size_t reads);
  /// One of the slot's reads has ended. True if it was the last.
  bool end_read(std::uint32_t slot_id) { return --slots_[slot_id].reads_left == 0; }
  /// All reads have ended: the expert is resident.
  void arrive(std::uint32_t slot_id);
  /// They have ended, and not well, or were not begun: the expert has no slot any more.
  void fail(std::uint32_t slot_id);
  /// A resident leaves: its slot is empty, but not free.
  void drop(std::uint32_t slot_id);
  /// What was read as a guess is leased, or about to be.
  void confirm_guess(std::uint32_t slot_id);

  void add_lease(std::uint32_t slot_id);
  /// True if it was the slot's last.
  bool drop_lease(std::uint32_t slot_id);

  /// Takes free slots of a class out of use, `count` at most, those first that were taken least
  /// recently or never, and calls on_withheld(slot).
  template <typename OnWithheld>
  void withhold_free(std::size_t slot_class, std::size_t count, const OnWithheld& on_withheld) {
    std::vector<std::uint32_t>& free = classes_[slot_class].free;
    count = std::min(count, free.size());
    for (std::size_t i = 0; i < count; ++i) {
      withhold(free[i]);
      on_withheld(free[i]);
    }
    free.erase(free.begin(), free.begin() + static_cast<std::ptrdiff_t>(count));
  }
  /// Takes an empty slot that is not free out of use.
  void withhold(std::uint32_t slot_id);
  /// Lets `count` withheld slots of a class be used again.
  void restore(std::size_t slot_class, std::size_t count);

  std::size_t class_count() const { return classes_.size(); }
  std::size_t class_of(LayerId layer) const { return plan_.class_of(layer); }
  /// How many slots of a class may be used.
  std::size_t limit(std::size_t slot_class) const { return limits_.counts[slot_class]; }
  /// Whether others of the class are withheld.
  bool is_limited(std::size_t slot_class) const { return !classes_[slot_class].withheld.empty(); }
  /// limit() of every class.
  const LayerSlots& limits() const { return limits_; }
  /// Slots of a class, or of all, that hold nothing.
  std::size_t free_count(std::size_t slot_class) const { return classes_[slot_class].free.size(); }
  std::size_t free_count() const;
  /// Slots of a class without a lease, free ones included, and those of them that are still being
  /// read into.
  std::size_t idle_count(std::size_t slot_class) const { return classes_[slot_class].idle_count; }
  std::size_t idle_reading_count(std::size_t slot_class) const {
    return classes_[slot_class].idle_reading_count;
  }
  /// The latter of all classes.
  std::size_t idle_reading_count() const;
  /// Slots being read into, leased ones included; those of them that prefetches began; and those
  /// that are guesses.
  std::size_t reading_count() const { return reading_count_; }
  std::size_t prefetching_count() const { return prefetching_count_; }
  std::size_t guessing_count() const { return guessing_count_; }
  /// Of each layer.
  std::span<const std::size_t> resident_counts() const { return resident_counts_; }

 private:
  struct Class {
    std::vector<std::uint32_t> free;
    std::vector<std::uint32_t> withheld;  // in no count
    std::size_t idle_count = 0;
    std::size_t idle_reading_count = 0;
  };

  Class& class_of_slot(std::uint32_t slot_id) { return classes_[plan_.class_of_slot(slot_id)]; }
  void end_reading(std::uint32_t slot_id);
  void forget(const Slot& slot) { index_[place_of(slot.key)] = kNone; }

  const SlotPlan& plan_;
  std::unique_ptr<Slot[]> slots_;
  std::vector<std::size_t> first_;    // of each layer: where its experts begin in index_; the end
  std::vector<std::uint32_t> index_;  // slot of each expert, or kNone
  std::vector<Class> classes_;
  LayerSlots limits_;
  std::vector<std::size_t> resident_counts_;
  std::size_t reading_count_ = 0;
  std::size_t prefetching_count_ = 0;
  std::size_t guessing_count_ = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_SLOT_TABLE_H_
