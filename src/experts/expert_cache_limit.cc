// The part of ExpertCache that gives slots back to the system, and takes them again.
#include <algorithm>
#include <numeric>
#include <span>
#include <vector>

#include "base/check.h"
#include "experts/expert_cache.h"

namespace flashmoe {
namespace {

std::size_t slot_sum(const LayerSlots& slots) {
  return std::accumulate(slots.counts.begin(), slots.counts.end(), std::size_t{0});
}

// Of a class, the layer with most residents.
LayerId fullest_layer(const SlotTable& table, std::size_t slot_class) {
  const std::span<const std::size_t> counts = table.resident_counts();
  LayerId fullest;
  std::size_t most = 0;
  for (std::uint32_t l = 0; l < counts.size(); ++l) {
    if (counts[l] <= most || table.class_of(LayerId{l}) != slot_class) continue;
    fullest = LayerId{l};
    most = counts[l];
  }
  return fullest;
}

}  // namespace

std::size_t ExpertCache::set_slot_limit(std::size_t limit) {
  FM_CHECK(limit > 0);
  FM_CHECK(limit <= slot_count());
  const std::lock_guard lock(mutex_);
  const LayerSlots wanted = plan_.slots(limit);
  policy_->set_slots(wanted);
  bool is_reached = true;
  for (std::size_t c = 0; c < wanted.counts.size(); ++c) {
    is_reached = limit_class(c, wanted.counts[c]) && is_reached;
  }
  if (!is_reached) policy_->set_slots(table_.limits());
  return slot_sum(table_.limits());
}

// Whether so few slots of the class are in use now.
bool ExpertCache::limit_class(std::size_t slot_class, std::size_t limit) {
  if (limit > table_.limit(slot_class)) {
    table_.restore(slot_class, limit - table_.limit(slot_class));
  }
  table_.withhold_free(slot_class, table_.limit(slot_class) - limit,
                       [this](std::uint32_t slot_id) { memory_.discard(slot_id); });
  // What is left has experts: those without a lease and not being read can go.
  while (table_.limit(slot_class) > limit &&
         table_.idle_count(slot_class) > table_.idle_reading_count(slot_class)) {
    const std::uint32_t slot_id = evict(fullest_layer(table_, slot_class));
    memory_.discard(slot_id);
    table_.withhold(slot_id);
    ++statistics_.limit_eviction_count;
  }
  return table_.limit(slot_class) == limit;
}

std::uint64_t ExpertCache::set_byte_limit(std::uint64_t bytes) {
  set_slot_limit(std::max<std::size_t>(1, plan_.slots_within(bytes)));
  return byte_limit();
}

std::uint64_t ExpertCache::bytes_of(std::span<const std::size_t> slot_counts) const {
  std::uint64_t bytes = 0;
  for (std::size_t c = 0; c < slot_counts.size(); ++c) {
    bytes += slot_counts[c] * plan_.classes()[c].slot_size;
  }
  return bytes;
}

std::size_t ExpertCache::slot_limit() const {
  const std::lock_guard lock(mutex_);
  return slot_sum(table_.limits());
}

std::size_t ExpertCache::slot_limit(LayerId layer) const {
  const std::lock_guard lock(mutex_);
  return table_.limit(table_.class_of(layer));
}

LayerSlots ExpertCache::slot_limits() const {
  const std::lock_guard lock(mutex_);
  return table_.limits();
}

std::size_t ExpertCache::used_slot_count() const {
  const std::lock_guard lock(mutex_);
  return slot_sum(table_.limits()) - table_.free_count();
}

std::uint64_t ExpertCache::byte_limit() const {
  const std::lock_guard lock(mutex_);
  return bytes_of(table_.limits().counts);
}

std::uint64_t ExpertCache::used_bytes() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::size_t> used = table_.limits().counts;
  for (std::size_t c = 0; c < used.size(); ++c) used[c] -= table_.free_count(c);
  return bytes_of(used);
}

}  // namespace flashmoe
