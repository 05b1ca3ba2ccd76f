// The part of ExpertCache that gives slots back to the system, and takes them again.
#include <algorithm>

#include "base/check.h"
#include "experts/expert_cache.h"

namespace flashmoe {

std::size_t ExpertCache::set_slot_limit(std::size_t limit) {
  FM_CHECK(limit > 0);
  FM_CHECK(limit <= slot_count_);
  const std::lock_guard lock(mutex_);
  const std::size_t withheld_count = slot_count_ - limit;
  policy_->set_slot_count(limit);
  while (withheld_slots_.size() > withheld_count) {
    free_slots_.push_back(withheld_slots_.back());
    withheld_slots_.pop_back();
    ++idle_count_;
  }
  // From the front: there lie the slots that nothing was ever read into, while there are any.
  const std::size_t free_count =
      std::min(withheld_count - withheld_slots_.size(), free_slots_.size());
  for (std::size_t i = 0; i < free_count; ++i) withhold(free_slots_[i]);
  free_slots_.erase(free_slots_.begin(),
                    free_slots_.begin() + static_cast<std::ptrdiff_t>(free_count));
  // What is left has experts: those without a lease and not being read can go.
  while (withheld_slots_.size() < withheld_count && idle_count_ > idle_reading_count_) {
    const auto fullest = std::ranges::max_element(resident_counts_) - resident_counts_.begin();
    withhold(evict(LayerId{static_cast<std::uint32_t>(fullest)}));
    ++statistics_.limit_eviction_count;
  }
  const std::size_t reached = slot_count_ - withheld_slots_.size();
  if (reached != limit) policy_->set_slot_count(reached);
  return reached;
}

// Of an empty slot, out of free_slots_. Its memory is released where it lies rather than at the end
// of the buffer: that would keep every huge page whole, but move the experts there. Where a slot is
// not made of whole huge pages, the kernel frees its share of one when reclaim next looks for
// memory, as it does under the very pressure that makes slots go.
void ExpertCache::withhold(std::uint32_t slot_id) {
  memory_.discard(slot_id * store_.slot_size(), store_.slot_size());
  withheld_slots_.push_back(slot_id);
  --idle_count_;
}

std::size_t ExpertCache::slot_limit() const {
  const std::lock_guard lock(mutex_);
  return slot_count_ - withheld_slots_.size();
}

std::size_t ExpertCache::used_slot_count() const {
  const std::lock_guard lock(mutex_);
  return slot_count_ - withheld_slots_.size() - free_slots_.size();
}

}  // namespace flashmoe
