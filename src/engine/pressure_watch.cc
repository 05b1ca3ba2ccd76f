#include "engine/pressure_watch.h"

#include <algorithm>
#include <utility>

namespace flashmoe {
namespace {

std::uint64_t largest_slot(const SlotPlan& plan) {
  return std::ranges::max(plan.classes(), {}, &SlotClass::slot_size).slot_size;
}

}  // namespace

PressureWatch::PressureWatch(MemoryPressureProbe probe, ExpertCache& cache, std::size_t least_slots)
    : probe_(std::move(probe)),
      cache_(cache),
      governor_(cache.slot_plan().byte_size(),
                cache.slot_plan().offset(cache.slot_plan().slots_for(least_slots))) {}

void PressureWatch::look(CacheGovernor::TimePoint now) {
  if (!governor_.due(now)) return;
  const std::uint64_t limit = cache_.byte_limit();
  const std::uint64_t wanted = governor_.update(now, probe_.read(),
                                                {.limit_bytes = limit,
                                                 .used_bytes = cache_.used_bytes(),
                                                 .slot_bytes = largest_slot(cache_.slot_plan())});
  if (wanted == limit) return;
  const std::uint64_t reached = cache_.set_byte_limit(wanted);
  if (reached < limit) ++shrink_count_;
  if (reached > limit) ++growth_count_;
}

}  // namespace flashmoe
