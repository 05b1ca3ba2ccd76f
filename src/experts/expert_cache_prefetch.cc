// What of ExpertCache happens ahead of any lease.
#include <utility>

#include "experts/expert_cache.h"

namespace flashmoe {
namespace {

// Experts that prefetches have in flight. A miss that comes now has their bytes before its own on
// the disk; fewer would leave the disk idle between two.
constexpr std::size_t kPrefetchesMax = 2;

}  // namespace

Result<PrefetchProgress> ExpertCache::prefetch(std::span<const ExpertKey> wanted) {
  const std::lock_guard lock(mutex_);
  PrefetchProgress progress;
  // Where a thread waits in the queue, it collects, and what it waits for goes first.
  if (!queue_taken_ && submitters_waiting_ == 0) {
    if (reading_count_ > 0) collect_reads(queue_->poll(completions_, /*wait=*/false));
    new_slots_.clear();
    requests_.clear();
    const bool nobody_waits = reading_count_ == idle_reading_count_;
    for (const ExpertKey key : wanted) {
      if (std::as_const(*this).slot_of(key) == kNoSlot) {
        const bool may_begin = nobody_waits && prefetching_count_ < kPrefetchesMax;
        if (!may_begin || free_slots_.empty()) break;
        start_reading(take_free_slot(), key);
      }
      ++progress.done_count;
    }
    if (!new_slots_.empty()) {
      if (const Status status = queue_->submit(requests_); !status.ok()) {
        for (const std::uint32_t slot_id : new_slots_) fail(slot_id);
        return status.with_prefix("expert store: prefetch");
      }
    }
  }
  progress.reading_count = prefetching_count_;
  progress.is_full = free_slots_.empty();
  return progress;
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
