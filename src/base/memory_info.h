#ifndef FLASHMOE_BASE_MEMORY_INFO_H_
#define FLASHMOE_BASE_MEMORY_INFO_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>

#include "base/memory_cgroup.h"

namespace flashmoe {

/// When the kernel backs memory with transparent huge pages.
enum class HugePageMode : std::uint8_t {
  kUnknown,  // no such kernel, or it does not tell
  kNever,
  kMadvise,  // where asked for, as AlignedBuffer does
  kAlways,
};

std::string_view to_string(HugePageMode mode);

/// The memory of this machine, as this process may use it.
struct MemoryInfo {
  std::uint64_t total_bytes = 0;      // 0: the system does not tell
  std::uint64_t available_bytes = 0;  // without swapping; 0: the system does not tell
  /// The limits of all groups above apply too, so these are the tightest of the hierarchy. Absent
  /// without a limit.
  std::optional<CgroupMemory> cgroup;
  HugePageMode huge_page_mode = HugePageMode::kUnknown;

  /// The most that this process could ever have: the smaller of total and group limit.
  std::uint64_t limit_bytes() const;
  /// What it could have now: the smaller of available and group headroom.
  std::uint64_t headroom_bytes() const;
};

/// Reads /proc, /sys and the cgroup file systems (v1 and v2) below `root`; whatever is absent or
/// unreadable is left out. On macOS asks the kernel, and `root` is ignored.
MemoryInfo read_memory_info(const std::filesystem::path& root = "/");

/// What --memory is when the user does not say: 80 % of headroom_bytes(), in whole MiB. The fifth
/// that is left is for what `available` does not foresee: other processes that grow, the kernel's
/// page tables and buffers (which a group charges to us), the page cache of our own tokenizer and
/// config reads. Too high a guess ends in swapping or an OOM kill; too low a one costs a few per
/// cent of hit rate. 0 if nothing is known.
std::uint64_t default_budget_bytes(const MemoryInfo& info);

/// Physical memory of this process, shared pages included.
struct ProcessMemory {
  std::uint64_t rss_bytes = 0;
  /// The highest rss_bytes of its life. From VmHWM, as getrusage would include what the process was
  /// before exec.
  std::uint64_t peak_rss_bytes = 0;
};

ProcessMemory read_process_memory(const std::filesystem::path& root = "/");

/// Gives back to the system what this process has freed, as far as it can: what one thread freed is
/// else kept for that thread. Takes milliseconds.
void release_free_memory();

}  // namespace flashmoe

#endif  // FLASHMOE_BASE_MEMORY_INFO_H_
