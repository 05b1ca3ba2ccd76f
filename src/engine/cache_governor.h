#ifndef FLASHMOE_ENGINE_CACHE_GOVERNOR_H_
#define FLASHMOE_ENGINE_CACHE_GOVERNOR_H_

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/memory_pressure.h"

namespace flashmoe {

/// Decides how much memory the expert cache's slots may use while memory comes and goes: less under
/// memory pressure, then step by step back to the plan. Pure: time and pressure are given to it.
/// docs/memory.md has the rules and why they are so.
class CacheGovernor {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  /// Looks at the system are at least so far apart, and so are shrinks.
  static constexpr Duration kSampleInterval = std::chrono::milliseconds(250);
  static constexpr Duration kShrinkInterval = std::chrono::seconds(1);
  /// Stalls are looked at over at least this time: the kernel adds them up every 2 seconds.
  static constexpr Duration kStallWindow = std::chrono::seconds(2);
  /// Without pressure for so long, the cache grows by a step.
  static constexpr Duration kCalmMin = std::chrono::seconds(10);
  static constexpr Duration kCalmMax = std::chrono::minutes(5);
  /// One part in so many of the planned bytes is a step.
  static constexpr std::size_t kShrinkSteps = 8;
  static constexpr std::size_t kGrowthSteps = 16;
  /// Pressure: stalls of more than this share of the time while memory is short, which is when less
  /// than the second share is left; or a group that meets its limit with less than the third left.
  static constexpr double kStalledShare = 0.1;
  static constexpr double kShortShare = 0.125;
  static constexpr double kAtLimitShare = 0.04;

  /// Where others of a group took memory at every one of so many last looks, as much room as they
  /// take in so long is left for them: the kernel ends a process that meets the limit of a group in
  /// which there is no page cache to drop, and a look can be seconds away from the next.
  static constexpr std::size_t kGrowthLooks = 3;
  static constexpr double kForesightSeconds = 3;
  /// Slower growth is none: what is read of a group and of a process differs by some pages.
  static constexpr double kGrowthMinBytesPerSecond = 1 << 20;

  struct Slots {
    std::uint64_t limit_bytes = 0;  // of those that may be used now
    std::uint64_t used_bytes = 0;   // of them
    std::uint64_t slot_bytes = 0;   // of the largest one
  };

  /// `planned_bytes`: the most; `least_bytes`: the least that the model can do with.
  CacheGovernor(std::uint64_t planned_bytes, std::uint64_t least_bytes);

  /// Whether update() would do anything.
  bool due(TimePoint now) const { return !last_ || now - last_->time >= kSampleInterval; }

  /// The limit, in bytes, that should hold from `now` on. The first call only looks: what happened
  /// before it, such as the loading of the model, never counts.
  std::uint64_t update(TimePoint now, const MemoryPressure& pressure, const Slots& slots);

 private:
  struct Sample {
    TimePoint time;
    MemoryPressure pressure;
  };

  /// Whether memory is short.
  bool is_pressed(const Sample& now);
  /// Bytes that others of the group will need before long, beyond what it has left.
  std::uint64_t foreseen_lack(const Sample& now);
  std::uint64_t shrunk(const Slots& slots, std::uint64_t by) const;

  std::uint64_t planned_bytes_;
  std::uint64_t least_bytes_;
  std::optional<Sample> last_;
  Sample stall_window_;  // its begin
  TimePoint shrunk_at_;
  TimePoint calm_since_;
  Duration calm_needed_ = kCalmMin;
  bool grew_last_ = false;                               // the last change was a growth
  std::array<double, kGrowthLooks> others_growth_ = {};  // bytes/s at the last looks, in turn
  std::size_t look_ = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_CACHE_GOVERNOR_H_
