#include "base/memory_cgroup.h"

#include <algorithm>
#include <span>
#include <string_view>

#include "base/system_files.h"

namespace flashmoe {

std::optional<CgroupMemory> read_memory_cgroup(const Cgroup& cgroup) {
  const std::filesystem::path& folder = cgroup.folder;
  const bool is_v2 = cgroup.is_v2;
  constexpr std::uint64_t kUnlimited = std::uint64_t{1} << 62;  // v1 says 2^63 less a page
  std::uint64_t limit = kUnlimited;
  // Above memory.high the kernel does not kill but slows every allocation down: a limit all the
  // same.
  constexpr std::string_view kV1[] = {"memory.limit_in_bytes"};
  constexpr std::string_view kV2[] = {"memory.max", "memory.high"};
  for (const std::string_view name : is_v2 ? std::span<const std::string_view>(kV2) : kV1) {
    if (const auto value = read_number(folder / name)) limit = std::min(limit, *value);
  }
  if (limit >= kUnlimited) return std::nullopt;
  const std::uint64_t usage =
      read_number(folder / (is_v2 ? "memory.current" : "memory.usage_in_bytes")).value_or(0);
  const std::string statistics = read_system_file(folder / "memory.stat").value_or("");
  const std::uint64_t cache =
      find_number(statistics, is_v2 ? "inactive_file" : "total_inactive_file").value_or(0) +
      find_number(statistics, is_v2 ? "active_file" : "total_active_file").value_or(0);
  const std::uint64_t firm_usage = usage - std::min(usage, cache);
  return CgroupMemory{.limit_bytes = limit,
                      .headroom_bytes = limit - std::min(limit, firm_usage),
                      .path = folder.string()};
}

}  // namespace flashmoe
