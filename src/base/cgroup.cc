#include "base/cgroup.h"

#include <algorithm>
#include <sstream>
#include <string>
#include <string_view>

#include "base/system_files.h"

namespace flashmoe {
namespace {

bool contains_word(std::string_view list, std::string_view word) {
  for (std::size_t at = 0; at <= list.size();) {
    const std::size_t end = std::min(list.find(',', at), list.size());
    if (list.substr(at, end - at) == word) return true;
    at = end + 1;
  }
  return false;
}

// mountinfo writes space, tab, newline and backslash as \040 and so on.
std::string decode_octal(std::string_view text) {
  const auto is_octal = [](char c) { return c >= '0' && c <= '7'; };
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && is_octal(text[i + 1]) && is_octal(text[i + 2]) &&
        is_octal(text[i + 3])) {
      decoded += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                   (text[i + 3] - '0'));
      i += 3;
    } else {
      decoded += text[i];
    }
  }
  return decoded;
}

// Where one cgroup hierarchy is mounted, and which of its folders appears there.
struct CgroupMount {
  bool is_v2 = false;
  std::string root;
  std::string mount_point;
};

// proc(5): "36 35 98:0 ROOT MOUNT_POINT options optional... - type source super_options".
std::vector<CgroupMount> find_mounts(const std::string& mountinfo, std::string_view controller) {
  std::vector<CgroupMount> mounts;
  std::istringstream lines(mountinfo);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string skipped, root, mount_point, type, source, options;
    words >> skipped >> skipped >> skipped >> root >> mount_point;
    while (words >> skipped && skipped != "-") {
    }
    words >> type >> source >> options;
    const bool is_v2 = type == "cgroup2";
    if (is_v2 || (type == "cgroup" && contains_word(options, controller))) {
      mounts.push_back(
          {.is_v2 = is_v2, .root = decode_octal(root), .mount_point = decode_octal(mount_point)});
    }
  }
  return mounts;
}

// The folder of the group `path` below the mount point, or "" for the mount point itself: also
// where the mount shows another part of the hierarchy, as in containers without a cgroup namespace.
std::string folder_in_mount(const CgroupMount& mount, std::string_view path) {
  // A group outside the namespace's root is shown as "/../name"; "/a..b" is only a name.
  if (path == "/.." || path.starts_with("/../")) return "";
  const std::string_view root = mount.root == "/" ? std::string_view() : mount.root;
  if (!path.starts_with(root)) return "";
  path.remove_prefix(root.size());
  if (path == "/" || (!path.empty() && path[0] != '/')) return "";
  return std::string(path);
}

}  // namespace

std::vector<Cgroup> find_cgroups(const std::filesystem::path& root, std::string_view controller) {
  const auto groups = read_system_file(root / "proc/self/cgroup");
  const auto mountinfo = read_system_file(root / "proc/self/mountinfo");
  if (!groups || !mountinfo) return {};
  std::vector<Cgroup> found;
  for (const CgroupMount& mount : find_mounts(*mountinfo, controller)) {
    // cgroups(7): "4:cpu,cpuacct:/path" in v1, "0::/path" in v2.
    std::istringstream lines(*groups);
    for (std::string line; std::getline(lines, line);) {
      const std::size_t first = line.find(':');
      const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
      if (second == std::string::npos) continue;
      const std::string_view controllers =
          std::string_view(line).substr(first + 1, second - first - 1);
      if (mount.is_v2 ? !controllers.empty() : !contains_word(controllers, controller)) continue;
      // From the process's own group up to the mount point.
      std::string folder = folder_in_mount(mount, std::string_view(line).substr(second + 1));
      for (;;) {
        found.push_back({.folder = below(root, mount.mount_point + folder), .is_v2 = mount.is_v2});
        if (folder.empty()) break;
        folder.resize(folder.rfind('/'));
      }
    }
  }
  return found;
}

}  // namespace flashmoe
