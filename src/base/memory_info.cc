#include "base/memory_info.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>
#if defined(__APPLE__)
#include <mach/mach.h>
#include <sys/sysctl.h>
#endif

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <algorithm>

#include "base/system_files.h"

namespace flashmoe {

std::string_view to_string(HugePageMode mode) {
  switch (mode) {
    case HugePageMode::kUnknown:
      return "unknown";
    case HugePageMode::kNever:
      return "never";
    case HugePageMode::kMadvise:
      return "madvise";
    case HugePageMode::kAlways:
      return "always";
  }
  return "unknown";
}

std::uint64_t MemoryInfo::limit_bytes() const {
  if (!cgroup) return total_bytes;
  return total_bytes == 0 ? cgroup->limit_bytes : std::min(total_bytes, cgroup->limit_bytes);
}

std::uint64_t MemoryInfo::headroom_bytes() const {
  if (!cgroup) return available_bytes;
  return available_bytes == 0 ? cgroup->headroom_bytes
                              : std::min(available_bytes, cgroup->headroom_bytes);
}

std::uint64_t default_budget_bytes(const MemoryInfo& info) {
  constexpr std::uint64_t kMib = std::uint64_t{1} << 20;
  return info.headroom_bytes() / 5 * 4 / kMib * kMib;
}

#if defined(__APPLE__)

MemoryInfo read_memory_info(const std::filesystem::path& /*root*/) {
  MemoryInfo info;
  std::size_t size = sizeof(info.total_bytes);
  if (sysctlbyname("hw.memsize", &info.total_bytes, &size, nullptr, 0) != 0) info.total_bytes = 0;
  vm_statistics64_data_t pages;
  mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
  if (host_statistics64(mach_host_self(), HOST_VM_INFO64, reinterpret_cast<host_info64_t>(&pages),
                        &count) == KERN_SUCCESS) {
    info.available_bytes = (std::uint64_t{pages.free_count} + pages.inactive_count) *
                           static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  }
  return info;
}

ProcessMemory read_process_memory(const std::filesystem::path& /*root*/) {
  mach_task_basic_info info;
  mach_msg_type_number_t count = MACH_TASK_BASIC_INFO_COUNT;
  if (task_info(mach_task_self(), MACH_TASK_BASIC_INFO, reinterpret_cast<task_info_t>(&info),
                &count) != KERN_SUCCESS) {
    return {};
  }
  return {.rss_bytes = info.resident_size, .peak_rss_bytes = info.resident_size_max};
}

#else

namespace {

std::optional<CgroupMemory> read_cgroup_memory(const std::filesystem::path& root) {
  std::optional<CgroupMemory> tightest;
  for (const Cgroup& cgroup : find_cgroups(root, "memory")) {
    const std::optional<CgroupMemory> group = read_memory_cgroup(cgroup);
    if (!group) continue;
    if (!tightest) tightest = group;
    tightest->headroom_bytes = std::min(tightest->headroom_bytes, group->headroom_bytes);
    if (group->limit_bytes < tightest->limit_bytes) {
      tightest->limit_bytes = group->limit_bytes;
      tightest->path = group->path;
    }
  }
  return tightest;
}

HugePageMode read_huge_page_mode(const std::filesystem::path& root) {
  const std::string modes =
      read_system_file(root / "sys/kernel/mm/transparent_hugepage/enabled").value_or("");
  for (const auto mode : {HugePageMode::kNever, HugePageMode::kMadvise, HugePageMode::kAlways}) {
    if (modes.find(fmt::format("[{}]", to_string(mode))) != std::string::npos) return mode;
  }
  return HugePageMode::kUnknown;
}

}  // namespace

MemoryInfo read_memory_info(const std::filesystem::path& root) {
  const std::string meminfo = read_system_file(root / "proc/meminfo").value_or("");
  const auto kib = [&meminfo](std::string_view key) {
    return find_number(meminfo, key).value_or(0) * 1024;
  };
  MemoryInfo info;
  info.total_bytes = kib("MemTotal:");
  info.available_bytes = kib("MemAvailable:");
  info.cgroup = read_cgroup_memory(root);
  info.huge_page_mode = read_huge_page_mode(root);
  return info;
}

ProcessMemory read_process_memory(const std::filesystem::path& root) {
  const std::string status = read_system_file(root / "proc/self/status").value_or("");
  return {.rss_bytes = find_number(status, "VmRSS:").value_or(0) * 1024,
          .peak_rss_bytes = find_number(status, "VmHWM:").value_or(0) * 1024};
}

#endif

void release_free_memory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

}  // namespace flashmoe
