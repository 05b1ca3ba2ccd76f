#include "engine/cache_governor.h"

#include <algorithm>

#include "base/check.h"

namespace flashmoe {
namespace {

// A count whose file has gone reads 0.
std::uint64_t growth(std::uint64_t before, std::uint64_t after) {
  return after - std::min(before, after);
}

}  // namespace

CacheGovernor::CacheGovernor(std::uint64_t planned_bytes, std::uint64_t least_bytes)
    : planned_bytes_(planned_bytes), least_bytes_(least_bytes) {
  FM_CHECK(least_bytes > 0);
  FM_CHECK(least_bytes <= planned_bytes);
}

bool CacheGovernor::is_pressed(const Sample& now) {
  const MemoryPressure& p = now.pressure;
  bool pressed = p.group_share_left < kAtLimitShare &&
                 growth(last_->pressure.limit_hit_count, p.limit_hit_count) > 0;
  const Duration elapsed = now.time - stall_window_.time;
  if (elapsed < kStallWindow) return pressed;
  // Stalls alone are no reason: reading much through the page cache makes some, and so do processes
  // that are squeezed in groups of their own.
  if (std::min(p.machine_share_left, p.group_share_left) < kShortShare) {
    const std::uint64_t stalled_us = growth(stall_window_.pressure.stalled_us, p.stalled_us);
    const std::chrono::duration<double, std::micro> elapsed_us = elapsed;
    pressed = pressed || static_cast<double>(stalled_us) > kStalledShare * elapsed_us.count();
  }
  stall_window_ = now;
  return pressed;
}

std::uint64_t CacheGovernor::foreseen_lack(const Sample& now) {
  const std::chrono::duration<double> elapsed = now.time - last_->time;
  const std::uint64_t grown = growth(last_->pressure.others_bytes, now.pressure.others_bytes);
  others_growth_[look_++ % kGrowthLooks] = static_cast<double>(grown) / elapsed.count();
  // The least of them: memory that we gave back and the kernel has not taken yet looks like others'
  // once, and a burst that is over needs no more.
  const double rate = *std::ranges::min_element(others_growth_);
  if (rate < kGrowthMinBytesPerSecond) return 0;
  const auto needed = static_cast<std::uint64_t>(rate * kForesightSeconds);
  // Twice as much at once, rather than a little at every look.
  return now.pressure.group_bytes_left < needed ? 2 * needed - now.pressure.group_bytes_left : 0;
}

/// From those in use: slots that hold nothing have no memory to give.
std::uint64_t CacheGovernor::shrunk(const Slots& slots, std::uint64_t by) const {
  const std::uint64_t wanted = slots.used_bytes - std::min(slots.used_bytes, by);
  return std::min(slots.limit_bytes, std::max(least_bytes_, wanted));
}

std::uint64_t CacheGovernor::update(TimePoint now, const MemoryPressure& pressure,
                                    const Slots& slots) {
  if (!due(now)) return slots.limit_bytes;
  const Sample sample = {now, pressure};
  if (!last_) {
    last_ = stall_window_ = sample;
    shrunk_at_ = now - kShrinkInterval;
    calm_since_ = now;
    return slots.limit_bytes;
  }
  const bool pressed = is_pressed(sample);
  const std::uint64_t lack = foreseen_lack(sample);
  last_ = sample;
  if (pressed || lack > 0) {
    calm_since_ = now;
    std::uint64_t step = 0;
    if (pressed && now - shrunk_at_ >= kShrinkInterval) {
      step = std::max(slots.slot_bytes, planned_bytes_ / kShrinkSteps);
    }
    step = std::max(step, lack);
    if (step == 0) return slots.limit_bytes;
    shrunk_at_ = now;
    // The cache grew into the pressure that it meets now: wait longer before the next try.
    if (grew_last_) calm_needed_ = std::min(2 * calm_needed_, kCalmMax);
    grew_last_ = false;
    return shrunk(slots, step);
  }
  if (now - calm_since_ < calm_needed_) return slots.limit_bytes;
  calm_since_ = now;
  if (slots.limit_bytes >= planned_bytes_) {
    // All is back and stayed: what comes now is another story.
    calm_needed_ = kCalmMin;
    grew_last_ = false;
    return slots.limit_bytes;
  }
  grew_last_ = true;
  return std::min(planned_bytes_,
                  slots.limit_bytes + std::max(slots.slot_bytes, planned_bytes_ / kGrowthSteps));
}

}  // namespace flashmoe
