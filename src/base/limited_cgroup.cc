#include "base/limited_cgroup.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/memory_cgroup.h"

namespace flashmoe {
namespace {

namespace fs = std::filesystem;

/// What the kernel offers in a group's folder is there or not: nothing may be made in its place.
Status write_control(const fs::path& file, std::string_view value) {
  const int descriptor = open(file.c_str(), O_WRONLY | O_CLOEXEC);
  if (descriptor < 0) {
    return error(StatusCode::kIo, "{}: {}", file.string(), std::strerror(errno));
  }
  const bool wrote =
      write(descriptor, value.data(), value.size()) == static_cast<ssize_t>(value.size());
  const int reason = errno;
  close(descriptor);
  if (wrote) return Status();
  return error(StatusCode::kIo, "{}: {}", file.string(), std::strerror(reason));
}

/// A group that is made and limited; otherwise nothing is left of it.
Status make_limited(const Cgroup& parent, const fs::path& folder, std::uint64_t limit_bytes) {
  std::error_code failed;
  if (!fs::create_directory(folder, failed)) {
    return error(StatusCode::kIo, "{}: {}", folder.string(), failed.message());
  }
  const std::string limit = std::to_string(limit_bytes);
  Status limited =
      write_control(folder / (parent.is_v2 ? "memory.max" : "memory.limit_in_bytes"), limit);
  if (!limited.ok()) {
    fs::remove(folder, failed);
    return limited;
  }
  // Absent on a kernel that does not account for swap: then what is over the limit may go there.
  (void)(parent.is_v2 ? write_control(folder / "memory.swap.max", "0")
                      : write_control(folder / "memory.memsw.limit_in_bytes", limit));
  return Status();
}

}  // namespace

Result<std::unique_ptr<LimitedCgroup>> LimitedCgroup::create(std::uint64_t limit_bytes) {
  static std::atomic<unsigned> count = 0;
  const std::string name = "flash-moe-" + std::to_string(getpid()) + "-" + std::to_string(count++);
  Status refused = error(StatusCode::kIo, "there are no memory control groups here");
  for (const Cgroup& parent : find_cgroups("/", "memory")) {
    const fs::path folder = parent.folder / name;
    refused = make_limited(parent, folder, limit_bytes);
    if (refused.ok()) return std::unique_ptr<LimitedCgroup>(new LimitedCgroup(folder));
  }
  return error(StatusCode::kUnsupported,
               "no memory control group can be made (last tried: {}); root can make one",
               refused.message());
}

LimitedCgroup::~LimitedCgroup() {
  std::error_code ignored;  // a group without processes costs nothing
  std::filesystem::remove(folder_, ignored);
}

Status LimitedCgroup::enter() const {
  return write_control(folder_ / "cgroup.procs", std::to_string(getpid()));
}

}  // namespace flashmoe
