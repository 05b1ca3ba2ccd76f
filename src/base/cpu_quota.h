#ifndef FLASHMOE_BASE_CPU_QUOTA_H_
#define FLASHMOE_BASE_CPU_QUOTA_H_

#include <filesystem>
#include <optional>
#include <string>

namespace flashmoe {

/// How much processor time a control group (`docker run --cpus`, a Kubernetes limit, systemd's
/// CPUQuota=) lets its processes have together.
struct CpuQuota {
  double cores = 0;  // seconds of processor time for each second; above 0
  std::string path;  // the folder of the group that says so

  /// Threads that can be kept busy: rounded up, so at least 1.
  std::size_t thread_count() const;
};

/// The least of the quotas of this process's group and of all above it, from the cgroup file
/// systems (v1 and v2) below `root`. Nothing without one.
std::optional<CpuQuota> read_cpu_quota(const std::filesystem::path& root = "/");

}  // namespace flashmoe

#endif  // FLASHMOE_BASE_CPU_QUOTA_H_
