#ifndef FLASHMOE_BASE_MEMORY_CGROUP_H_
#define FLASHMOE_BASE_MEMORY_CGROUP_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace flashmoe {

/// What a memory control group (a container, `systemd-run`, `docker run -m`) allows its processes.
struct CgroupMemory {
  std::uint64_t limit_bytes = 0;
  /// What may still be used before a limit: limit - usage, with page cache, which the kernel drops
  /// first, counted as unused. Page cache of ours is in there too: a group counts it.
  std::uint64_t headroom_bytes = 0;
  std::string path;  // the folder of the group with the lowest limit
};

/// A group in the cgroup file systems, of either version.
struct MemoryCgroup {
  std::filesystem::path folder;
  bool is_v2 = false;
};

/// The groups whose limits apply to this process: its own and all above that the mounts below
/// `root` show, the own first.
std::vector<MemoryCgroup> find_memory_cgroups(const std::filesystem::path& root);

/// Of one group: nothing if it has no limit.
std::optional<CgroupMemory> read_memory_cgroup(const MemoryCgroup& cgroup);

}  // namespace flashmoe

#endif  // FLASHMOE_BASE_MEMORY_CGROUP_H_
