// The part of ExpertCache that gives slots back to the system, and takes them again.
#include <algorithm>

#include "base/check.h"
#include "experts/expert_cache.h"

namespace flashmoe {

std::size_t ExpertCache::set_slot_limit(std::size_t limit) {
  FM_CHECK(limit > 0);
  FM_CHECK(limit <= slot_count());
  const std::lock_guard lock(mutex_);
  policy_->set_slots({.counts = {limit}});
  if (limit > table_.limit()) table_.restore(limit - table_.limit());
  table_.withhold_free(table_.limit() - limit,
                       [this](std::uint32_t slot_id) { memory_.discard(slot_id); });
  // What is left has experts: those without a lease and not being read can go.
  while (table_.limit() > limit && table_.idle_count() > table_.idle_reading_count()) {
    const auto counts = table_.resident_counts();
    const auto fullest = std::ranges::max_element(counts) - counts.begin();
    const std::uint32_t slot_id = evict(LayerId{static_cast<std::uint32_t>(fullest)});
    memory_.discard(slot_id);
    table_.withhold(slot_id);
    ++statistics_.limit_eviction_count;
  }
  if (table_.limit() != limit) policy_->set_slots({.counts = {table_.limit()}});
  return table_.limit();
}

std::size_t ExpertCache::slot_limit() const {
  const std::lock_guard lock(mutex_);
  return table_.limit();
}

std::size_t ExpertCache::used_slot_count() const {
  const std::lock_guard lock(mutex_);
  return table_.limit() - table_.free_count();
}

}  // namespace flashmoe
