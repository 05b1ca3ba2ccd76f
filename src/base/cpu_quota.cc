#include "base/cpu_quota.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "base/cgroup.h"
#include "base/system_files.h"

namespace flashmoe {
namespace {

// v2: "QUOTA PERIOD" in microseconds, or "max PERIOD". v1: two files, the quota -1 without one.
std::optional<double> read_cores(const Cgroup& group) {
  std::optional<std::uint64_t> quota, period;
  if (group.is_v2) {
    const std::string text = read_system_file(group.folder / "cpu.max").value_or("");
    quota = parse_number(text);
    period = parse_number(std::string_view(text).substr(std::min(text.find(' '), text.size())));
  } else {
    quota = read_number(group.folder / "cpu.cfs_quota_us");
    period = read_number(group.folder / "cpu.cfs_period_us");
  }
  if (quota.value_or(0) == 0 || period.value_or(0) == 0) return std::nullopt;
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

}  // namespace

std::size_t CpuQuota::thread_count() const {
  constexpr double kMost = 1 << 20;
  return static_cast<std::size_t>(std::ceil(std::clamp(cores, 1.0, kMost)));
}

std::optional<CpuQuota> read_cpu_quota(const std::filesystem::path& root) {
  std::optional<CpuQuota> least;
  for (const Cgroup& group : find_cgroups(root, "cpu")) {
    const std::optional<double> cores = read_cores(group);
    if (!cores || (least && least->cores <= *cores)) continue;
    least = CpuQuota{.cores = *cores, .path = group.folder.string()};
  }
  return least;
}

}  // namespace flashmoe
