#include "engine/pressure_watch.h"

#include <algorithm>
#include <utility>

namespace flashmoe {

PressureWatch::PressureWatch(MemoryPressureProbe probe, ExpertCache& cache, std::size_t least_slots)
    : probe_(std::move(probe)),
      cache_(cache),
      governor_(cache.slot_count(), std::min(least_slots, cache.slot_count())) {}

void PressureWatch::look(CacheGovernor::TimePoint now) {
  if (!governor_.due(now)) return;
  const std::size_t limit = cache_.slot_limit();
  const std::size_t wanted = governor_.update(
      now, probe_.read(),
      {.limit = limit, .used = cache_.used_slot_count(), .slot_bytes = cache_.slot_size()});
  if (wanted == limit) return;
  const std::size_t reached = cache_.set_slot_limit(wanted);
  if (reached < limit) ++shrink_count_;
  if (reached > limit) ++growth_count_;
}

}  // namespace flashmoe
