#ifndef FLASHMOE_EXPERTS_SPEED_MODEL_H_
#define FLASHMOE_EXPERTS_SPEED_MODEL_H_

#include <algorithm>
#include <cstdint>

namespace flashmoe {

/// What a machine and a model make of misses, by bytes alone: what is missing comes from the disk,
/// and every weight that a token uses goes through memory once.
struct SpeedModel {
  double disk_bytes_per_second = 0;
  double memory_bytes_per_second = 0;
  double expert_bytes = 0;  // of one routed expert
  double dense_bytes = 0;   // that every token uses

  /// Seconds of one decoded token that routes to `lookups` experts over all layers, of which
  /// `misses` are read: the longer of both, as if reads hid behind arithmetic wherever they can; or
  /// their sum, as if nowhere.
  double seconds_overlapped(double lookups, double misses) const {
    return std::max(disk_seconds(misses), memory_seconds(lookups));
  }
  double seconds_in_turn(double lookups, double misses) const {
    return disk_seconds(misses) + memory_seconds(lookups);
  }

 private:
  double disk_seconds(double misses) const {
    return misses == 0 ? 0 : misses * expert_bytes / disk_bytes_per_second;
  }
  double memory_seconds(double lookups) const {
    return (dense_bytes + lookups * expert_bytes) / memory_bytes_per_second;
  }
};

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_SPEED_MODEL_H_
