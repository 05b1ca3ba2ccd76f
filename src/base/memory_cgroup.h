#ifndef FLASHMOE_BASE_MEMORY_CGROUP_H_
#define FLASHMOE_BASE_MEMORY_CGROUP_H_

#include <cstdint>
#include <optional>
#include <string>

#include "base/cgroup.h"

namespace flashmoe {

/// What a memory control group (a container, `systemd-run`, `docker run -m`) allows its processes.
struct CgroupMemory {
  std::uint64_t limit_bytes = 0;
  /// What may still be used before a limit: limit - usage, with page cache, which the kernel drops
  /// first, counted as unused. Page cache of ours is in there too: a group counts it.
  std::uint64_t headroom_bytes = 0;
  std::string path;  // the folder of the group with the lowest limit
};

/// Of one group: nothing if it has no limit.
std::optional<CgroupMemory> read_memory_cgroup(const Cgroup& cgroup);

}  // namespace flashmoe

#endif  // FLASHMOE_BASE_MEMORY_CGROUP_H_
