#ifndef FLASHMOE_BASE_MEMORY_PRESSURE_H_
#define FLASHMOE_BASE_MEMORY_PRESSURE_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "base/memory_cgroup.h"

namespace flashmoe {

/// What the kernel tells about a lack of memory. The counts began some time in the past: what
/// matters is how they grow.
struct MemoryPressure {
  /// Time in which some task stood still until memory was found for it, in microseconds.
  std::uint64_t stalled_us = 0;
  /// How often control groups of this process met a limit, so that the kernel had to reclaim.
  std::uint64_t limit_hit_count = 0;
  /// What is left, page cache included: of the machine's memory, and of the limit of the group that
  /// has least. 1 where the system does not tell.
  double machine_share_left = 1;
  double group_share_left = 1;
  /// What that group has left in bytes, and what others than this process use of it. Page cache is
  /// in neither.
  std::uint64_t group_bytes_left = ~std::uint64_t{0};
  std::uint64_t others_bytes = 0;
};

/// Of a file like /proc/pressure/memory: "some avg10=0.12 avg60=0.05 avg300=0.01 total=98765" gives
/// 98765. The averages would take a burst of the last second for one that still goes on.
std::optional<std::uint64_t> parse_stalled_us(std::string_view pressure);

/// Reads MemoryPressure, from whatever there is of pressure stall information (PSI, of our control
/// group or else of the machine) and control groups of both versions. The groups are those that the
/// process is in when the probe is made.
class MemoryPressureProbe {
 public:
  /// Looks below `root`, as read_memory_info() does.
  explicit MemoryPressureProbe(const std::filesystem::path& root = "/");

  /// False if the system tells nothing, as on macOS: read() would never change.
  bool available() const { return !pressure_path_.empty() || !cgroups_.empty(); }
  /// The file of pressure stall information; empty if there is none.
  const std::filesystem::path& pressure_path() const { return pressure_path_; }
  /// How many groups are watched for meeting a limit.
  std::size_t cgroup_count() const { return cgroups_.size(); }

  /// Reads a handful of small files.
  MemoryPressure read() const;

 private:
  std::filesystem::path root_;
  std::filesystem::path meminfo_path_;
  std::filesystem::path pressure_path_;
  std::vector<Cgroup> cgroups_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_BASE_MEMORY_PRESSURE_H_
