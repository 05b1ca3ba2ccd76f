#include "base/memory_pressure.h"

#include <algorithm>
#include <string>

#include "base/memory_info.h"
#include "base/system_files.h"

namespace flashmoe {
namespace {

std::optional<std::uint64_t> read_stalled_us(const std::filesystem::path& path) {
  const std::optional<std::string> text = read_system_file(path);
  return text ? parse_stalled_us(*text) : std::nullopt;
}

// How often the group met its limit; nothing if it is no group that counts this, like the root.
std::optional<std::uint64_t> read_limit_hit_count(const Cgroup& cgroup) {
  if (!cgroup.is_v2) return read_number(cgroup.folder / "memory.failcnt");
  const std::optional<std::string> events = read_system_file(cgroup.folder / "memory.events");
  if (!events) return std::nullopt;
  return find_number(*events, "high").value_or(0) + find_number(*events, "max").value_or(0);
}

double share(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 1 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

std::optional<std::uint64_t> parse_stalled_us(std::string_view pressure) {
  constexpr std::string_view kLine = "some ";
  constexpr std::string_view kField = " total=";
  if (!pressure.starts_with(kLine)) return std::nullopt;
  const std::string_view line = pressure.substr(0, pressure.find('\n'));
  const std::size_t at = line.find(kField);
  if (at == std::string_view::npos) return std::nullopt;
  return parse_number(line.substr(at + kField.size()));
}

MemoryPressureProbe::MemoryPressureProbe(const std::filesystem::path& root)
    : root_(root), meminfo_path_(below(root, "/proc/meminfo")) {
  for (Cgroup& cgroup : find_cgroups(root, "memory")) {
    // The own group's stalls, of which the first v2 group is the file: those of processes elsewhere
    // are not in there.
    if (cgroup.is_v2 && pressure_path_.empty() &&
        read_stalled_us(cgroup.folder / "memory.pressure")) {
      pressure_path_ = cgroup.folder / "memory.pressure";
    }
    if (read_limit_hit_count(cgroup)) cgroups_.push_back(std::move(cgroup));
  }
  const std::filesystem::path machine = below(root, "/proc/pressure/memory");
  if (pressure_path_.empty() && read_stalled_us(machine)) pressure_path_ = machine;
}

MemoryPressure MemoryPressureProbe::read() const {
  MemoryPressure pressure;
  if (!pressure_path_.empty()) pressure.stalled_us = read_stalled_us(pressure_path_).value_or(0);
  for (const Cgroup& cgroup : cgroups_) {
    pressure.limit_hit_count += read_limit_hit_count(cgroup).value_or(0);
    const std::optional<CgroupMemory> memory = read_memory_cgroup(cgroup);
    if (!memory) continue;
    pressure.group_share_left =
        std::min(pressure.group_share_left, share(memory->headroom_bytes, memory->limit_bytes));
    if (memory->headroom_bytes >= pressure.group_bytes_left) continue;
    pressure.group_bytes_left = memory->headroom_bytes;
    pressure.others_bytes = memory->limit_bytes - memory->headroom_bytes;
  }
  if (pressure.others_bytes > 0) {
    const std::uint64_t own = read_process_memory(root_).rss_bytes;
    pressure.others_bytes -= std::min(pressure.others_bytes, own);
  }
  const std::string meminfo = read_system_file(meminfo_path_).value_or("");
  const std::optional<std::uint64_t> available = find_number(meminfo, "MemAvailable:");
  if (available) {
    pressure.machine_share_left = share(*available, find_number(meminfo, "MemTotal:").value_or(0));
  }
  return pressure;
}

}  // namespace flashmoe
