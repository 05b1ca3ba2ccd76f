#ifndef FLASHMOE_BASE_CGROUP_H_
#define FLASHMOE_BASE_CGROUP_H_

#include <filesystem>
#include <string_view>
#include <vector>

namespace flashmoe {

/// A group in the cgroup file systems, of either version.
struct Cgroup {
  std::filesystem::path folder;
  bool is_v2 = false;
};

/// The groups whose limits of `controller` ("memory", "cpu") apply to this process: its own and all
/// above that the mounts below `root` show, the own first. Groups of v2 are there whether or not
/// they have the controller.
std::vector<Cgroup> find_cgroups(const std::filesystem::path& root, std::string_view controller);

}  // namespace flashmoe

#endif  // FLASHMOE_BASE_CGROUP_H_
