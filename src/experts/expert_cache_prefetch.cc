// What of ExpertCache happens ahead of any lease: prefetches of what an earlier run had, and
// guesses of what comes next.
#include <algorithm>
#include <vector>

#include "base/check.h"
#include "experts/expert_cache.h"

namespace flashmoe {
namespace {

// Experts that prefetches have in flight. A miss that comes now has their bytes before its own on
// the disk; fewer would leave the disk idle between two.
constexpr std::size_t kPrefetchesMax = 2;

}  // namespace

Result<PrefetchProgress> ExpertCache::prefetch(std::span<const ExpertKey> wanted,
                                               std::span<const ExpertKey> kept) {
  const std::lock_guard lock(mutex_);
  PrefetchProgress progress;
  // Where a thread waits in the queue, it collects, and what it waits for goes first.
  if (!queue_taken_ && submitters_waiting_ == 0) {
    collect_finished_reads();
    new_slots_.clear();
    requests_.clear();
    const bool nobody_waits =
        table_.reading_count() == table_.idle_reading_count() && table_.guessing_count() == 0;
    std::vector<bool> is_full(table_.class_count());
    for (const ExpertKey key : wanted) {
      if (table_.find(key) == kNoSlot) {
        const bool may_begin = nobody_waits && table_.prefetching_count() < kPrefetchesMax;
        if (!may_begin) break;
        std::uint32_t slot_id = take_free_slot(key.layer);
        if (slot_id == kNoSlot) slot_id = slot_of_another(key.layer, kept);
        if (slot_id == kNoSlot) {
          // There may be room for others, in slots of another size.
          is_full[table_.class_of(key.layer)] = true;
          progress.is_full = std::ranges::find(is_full, false) == is_full.end();
          if (progress.is_full) break;
        } else {
          start_reading(slot_id, key, LoadCause::kRestored);
        }
      }
      ++progress.done_count;
    }
    if (const Status status = submit_reads(); !status.ok()) {
      return status.with_prefix("expert store: prefetch");
    }
  }
  progress.is_full = progress.is_full || (kept.empty() && table_.free_count() == 0);
  progress.reading_count = table_.prefetching_count();
  return progress;
}

void ExpertCache::find_missing(LayerId layer, std::span<const ExpertId> ids,
                               std::vector<std::size_t>& places) const {
  places.clear();
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (table_.find({layer, ids[i]}) == kNoSlot) places.push_back(i);
  }
}

void ExpertCache::find_present(LayerId layer, std::span<unsigned char> is_present) const {
  FM_CHECK(is_present.size() == store_.expert_count(layer));
  const std::lock_guard lock(mutex_);
  std::ranges::transform(table_.find_all(layer), is_present.begin(),
                         [](std::uint32_t slot_id) { return slot_id != kNoSlot ? 1 : 0; });
}

Result<std::size_t> ExpertCache::speculate(LayerId layer, std::span<const ExpertId> wanted,
                                           std::span<const ExpertId> kept) {
  const std::lock_guard lock(mutex_);
  if (queue_taken_ || submitters_waiting_ > 0) return std::size_t{0};
  // Slots for this guess, and no pause of the disk is taken for part of its work.
  collect_finished_reads();
  const std::size_t slot_class = table_.class_of(layer);
  // Leased, they can't leave; only for this call.
  leased_slots_.clear();
  for (const ExpertId expert : kept) {
    const std::uint32_t slot_id = table_.find({layer, expert});
    if (slot_id == kNoSlot) continue;
    table_.add_lease(slot_id);
    leased_slots_.push_back(slot_id);
  }
  new_slots_.clear();
  requests_.clear();
  for (const ExpertId expert : wanted) {
    const ExpertKey key{layer, expert};
    if (table_.find(key) != kNoSlot) continue;
    if (table_.idle_count(slot_class) == table_.idle_reading_count(slot_class))
      break;  // neither free nor evictable
    start_reading(empty_slot(layer), key, LoadCause::kGuessed);
  }
  for (const std::uint32_t slot_id : leased_slots_) drop_lease(slot_id);
  if (const Status status = submit_reads(); !status.ok()) {
    return status.with_prefix(fmt::format("expert store: layer {}", layer.value));
  }
  statistics_.speculative_read_count += new_slots_.size();
  return new_slots_.size();
}

ResidentSet ExpertCache::resident_set() const {
  const std::lock_guard lock(mutex_);
  ResidentSet set;
  for (std::uint32_t l = 0; l < store_.layer_count(); ++l) {
    set.layers.push_back(policy_->ranked_residents(LayerId{l}));
  }
  return set;
}

}  // namespace flashmoe
