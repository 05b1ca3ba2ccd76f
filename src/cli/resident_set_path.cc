#include "cli/resident_set_path.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <system_error>

#include "base/name_hash.h"
#include "cli/user_folder.h"

namespace flashmoe::cli {
namespace {

namespace fs = std::filesystem;

/// A folder of this user's; made if its parent exists.
bool make_own_folder(const fs::path& folder) {
  mkdir(folder.c_str(), 0700);  // that it may exist already is looked at next
  struct stat facts = {};
  return stat(folder.c_str(), &facts) == 0 && S_ISDIR(facts.st_mode) && facts.st_uid == geteuid() &&
         access(folder.c_str(), W_OK) == 0;
}

}  // namespace

std::optional<fs::path> resident_set_path(const fs::path& model) {
  const std::optional<fs::path> cache = user_folder("XDG_CACHE_HOME", ".cache");
  if (!cache || !make_own_folder(*cache) || !make_own_folder(*cache / "flash-moe")) {
    return std::nullopt;
  }
  std::error_code failure;
  const fs::path canonical = fs::canonical(model, failure);
  if (failure) return std::nullopt;
  return *cache / "flash-moe" /
         fmt::format("resident-set-{:016x}.safetensors", name_hash(canonical.string()));
}

}  // namespace flashmoe::cli
