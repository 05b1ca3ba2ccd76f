#ifndef FLASHMOE_ENGINE_PRESSURE_WATCH_H_
#define FLASHMOE_ENGINE_PRESSURE_WATCH_H_

#include <cstddef>
#include <cstdint>

#include "base/memory_pressure.h"
#include "engine/cache_governor.h"
#include "experts/expert_cache.h"

namespace flashmoe {

/// Lets the expert cache shrink and grow with the memory that the system has to give. Used by the
/// thread that computes: it needs none of its own.
class PressureWatch {
 public:
  /// `cache` must outlive it. `least_slots`: what one token needs in one layer.
  PressureWatch(MemoryPressureProbe probe, ExpertCache& cache, std::size_t least_slots);

  /// Looks at the system if it is time to, and moves the cache's limit. Called before each
  /// step and within it, whenever no expert is about to be leased: those that are leased stay.
  void look(CacheGovernor::TimePoint now);

  /// How often the limit was lowered and raised.
  std::uint64_t shrink_count() const { return shrink_count_; }
  std::uint64_t growth_count() const { return growth_count_; }

 private:
  MemoryPressureProbe probe_;
  ExpertCache& cache_;
  CacheGovernor governor_;
  std::uint64_t shrink_count_ = 0;
  std::uint64_t growth_count_ = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_PRESSURE_WATCH_H_
