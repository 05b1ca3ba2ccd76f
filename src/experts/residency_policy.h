#ifndef FLASHMOE_EXPERTS_RESIDENCY_POLICY_H_
#define FLASHMOE_EXPERTS_RESIDENCY_POLICY_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "experts/expert_id.h"

namespace flashmoe {

/// Which residents may leave now: not those that are leased or still being read. Implemented by
/// ExpertCache; in a trace replay by the replay.
class EvictableSet {
 public:
  virtual bool contains(ExpertKey key) const = 0;

 protected:
  ~EvictableSet() = default;
};

/// Why an expert comes in.
enum class LoadCause : std::uint8_t {
  kRouted,    // on_routed named it just now
  kRestored,  // it was in memory before, in an earlier run or under another policy: counts as if
              // it were routed now
  kPlaced,    // a FixedSet wants it: likewise
  kGuessed,   // the router may name it soon: worth no more than it was, until that happens
};

/// How much a step says of each expert that it routes: a chunk of a prompt is one step of many
/// rows.
struct RowCounts {
  std::span<const std::uint32_t>
      of_expert;          // rows that chose each of those routed; empty: one each
  std::size_t total = 1;  // rows of the step
};

/// How many experts may be resident. Slots are of several sizes where experts are: layers of one
/// class share theirs, and an expert never has a slot of another class (SlotPlan).
struct LayerSlots {
  std::vector<std::size_t> counts;          // slots of each class
  std::vector<std::size_t> class_of_layer;  // empty: all layers are of class 0

  std::size_t class_of(LayerId layer) const {
    return class_of_layer.empty() ? 0 : class_of_layer[layer.value];
  }
};

/// Decides which experts stay in memory; ExpertCache does the moving. Pure bookkeeping (no I/O,
/// clock, threads or weights), so the engine and a trace replay run the very same object. Equal
/// calls give equal answers; ties go to the smaller ExpertKey. Not thread-safe: the cache calls it
/// under its own lock.
class ResidencyPolicy {
 public:
  virtual ~ResidencyPolicy() = default;

  /// How many experts may be resident. Called before anything else, and again when the counts
  /// change: they may then be below the number of residents, until enough of them are dropped.
  virtual void set_slots(const LayerSlots& slots) = 0;

  /// The router picked `routed` for `layer`, the most wanted first, at `step` (a count of forward
  /// passes that only grows). Comes before the loads and drops that follow from it.
  virtual void on_routed(std::uint64_t step, LayerId layer, std::span<const ExpertId> routed,
                         const RowCounts& rows) = 0;

  /// Resident from now on: it has a slot. Its bytes may still be on their way, so that decisions do
  /// not depend on the speed of the disk.
  virtual void on_loaded(ExpertKey key, LoadCause cause) = 0;

  /// No longer resident: evicted, or its read failed.
  virtual void on_dropped(ExpertKey key) = 0;

  /// The expert to drop so that one of `layer` can come in: any resident that `evictable` contains;
  /// there is at least one, and all are of the layer's class. A policy walks its own order and
  /// asks, so a victim costs a few steps and not a list of all residents.
  virtual ExpertKey choose_victim(LayerId layer, const EvictableSet& evictable) = 0;

  /// Whether experts stay when nobody leases them any more; if not, each leaves as its last lease
  /// ends.
  virtual bool keeps_unleased() const { return true; }

  /// The residents of `layer`, in the policy's own order: the one it would drop last comes first.
  virtual std::vector<ExpertId> ranked_residents(LayerId layer) const = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_RESIDENCY_POLICY_H_
