#ifndef FLASHMOE_BASE_LIMITED_CGROUP_H_
#define FLASHMOE_BASE_LIMITED_CGROUP_H_

#include <cstdint>
#include <filesystem>
#include <memory>
#include <utility>

#include "base/result.h"

namespace flashmoe {

/// A memory control group of ours, with a limit that the kernel enforces, for a process that is to
/// meet it.
class LimitedCgroup {
 public:
  /// Makes one below this process's own group, or below the nearest group above it that may have
  /// one: root's may, and those that systemd delegates. Swap is counted, or off, where the system
  /// can. Errors: kUnsupported, with what was refused.
  static Result<std::unique_ptr<LimitedCgroup>> create(std::uint64_t limit_bytes);

  /// Removes the group. Processes that entered it must have ended.
  ~LimitedCgroup();
  LimitedCgroup(const LimitedCgroup&) = delete;
  LimitedCgroup& operator=(const LimitedCgroup&) = delete;

  /// Moves this process into the group: what it allocates from here on is limited. Errors: kIo.
  Status enter() const;

 private:
  explicit LimitedCgroup(std::filesystem::path folder) : folder_(std::move(folder)) {}
  const std::filesystem::path folder_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_BASE_LIMITED_CGROUP_H_
