#include "base/model_download.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

#include "base/part_name.h"
#include "base/system_files.h"

namespace flashmoe {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kRepositoryPrefix = "models--";

/// The first line of every pointer; the hash and the size follow, in at most 1,024 bytes.
constexpr std::string_view kLfsPointer = "version https://git-lfs.github.com/spec/";
constexpr std::uintmax_t kLfsPointerSizeMax = 1024;

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

bool is_lfs_pointer(const fs::path& path) {
  std::error_code failure;
  const std::uintmax_t size = fs::file_size(path, failure);
  if (failure || size > kLfsPointerSizeMax || size < kLfsPointer.size()) return false;
  std::string text(kLfsPointer.size(), '\0');
  std::ifstream file(path, std::ios::binary);
  return file.read(text.data(), static_cast<std::streamsize>(text.size())) && text == kLfsPointer;
}

/// Folders in `path`, sorted by name.
std::vector<fs::path> folders_in(const fs::path& path, std::string_view prefix = {}) {
  std::vector<fs::path> folders;
  std::error_code failure;
  fs::directory_iterator entry(path, failure);
  for (; !failure && entry != fs::directory_iterator(); entry.increment(failure)) {
    const bool is_named_so = entry->path().filename().string().starts_with(prefix);
    if (is_named_so && is_folder(entry->path())) folders.push_back(entry->path());
  }
  std::ranges::sort(folders);
  return folders;
}

/// How much of a model a folder has.
enum class Holding : std::uint8_t {
  kNothing,
  kText,   // files, but no weights
  kParts,  // weights, of which some are missing, or their config.json
  kModel,
};

Holding holding_of(const fs::path& folder) {
  // How many there are of the parts that belong together; a name says of how many.
  std::map<std::tuple<std::string, std::string, std::uint64_t>, std::uint64_t> parts;
  bool has_weights = false;
  bool has_config = false;
  bool is_empty = true;
  std::error_code failure;
  fs::directory_iterator entry(folder, failure);
  for (; !failure && entry != fs::directory_iterator(); entry.increment(failure)) {
    std::error_code ignored;
    if (!fs::exists(entry->path(), ignored)) continue;  // a link to what is not there
    is_empty = false;
    const fs::path name = entry->path().filename();
    has_config |= name == "config.json" || name.extension() == ".gguf";
    if (name.extension() != ".safetensors" && name.extension() != ".gguf") continue;
    has_weights = true;
    if (const std::optional<PartName> part = parse_part_name(name.string())) {
      ++parts[{part->base, part->extension, part->count}];
    }
  }
  if (is_empty) return Holding::kNothing;
  if (!has_weights) return Holding::kText;
  const bool has_all_parts = std::ranges::all_of(
      parts, [](const auto& entry) { return std::get<2>(entry.first) == entry.second; });
  return has_config && has_all_parts ? Holding::kModel : Holding::kParts;
}

struct Snapshot {
  fs::path folder;
  std::string remark;  // see find_model_folder()
};

Result<Snapshot> find_snapshot(const fs::path& repository) {
  const fs::path snapshots = repository / "snapshots";
  std::vector<fs::path> folders = folders_in(snapshots);
  if (folders.empty()) {
    return error(StatusCode::kNotFound,
                 "{}: this repository of the hub's cache has no snapshot; download the model again",
                 repository.string());
  }
  std::string main = read_system_file(repository / "refs" / "main").value_or("");
  main.resize(std::min(main.size(), main.find_first_of("\r\n")));
  const auto time_of = [](const fs::path& folder) {
    std::error_code ignored;
    return fs::last_write_time(folder, ignored);
  };
  // The one that main names, then from the newest on: the first of those that hold most.
  std::ranges::stable_sort(folders, std::greater(), time_of);
  std::stable_partition(folders.begin(), folders.end(),
                        [&](const fs::path& folder) { return folder.filename() == main; });
  std::vector<Holding> holdings;
  std::ranges::transform(folders, std::back_inserter(holdings), holding_of);
  const auto most = std::ranges::max_element(holdings);
  if (*most == Holding::kNothing) {
    return error(StatusCode::kNotFound,
                 "{}: no snapshot of this repository of the hub's cache has a file in it: the "
                 "download did not end; download the model again",
                 repository.string());
  }
  const fs::path& best = folders[static_cast<std::size_t>(most - holdings.begin())];
  Snapshot snapshot{.folder = best, .remark = {}};
  if (best != folders.front()) {
    snapshot.remark = fmt::format(
        "{}: snapshot {} is used, as {}, {}, is not a whole model; download it again to have that "
        "one",
        repository.string(), best.filename().string(), folders.front().filename().string(),
        folders.front().filename() == main ? "which refs/main names" : "the newest");
  }
  return snapshot;
}

/// Nothing where `path` means itself.
Result<std::optional<Snapshot>> snapshot_of(const fs::path& path) {
  std::error_code ignored;
  // A model's own folder may have any others in it. Its config.json may be a link to nowhere.
  if (fs::symlink_status(path / "config.json", ignored).type() != fs::file_type::not_found) {
    return std::optional<Snapshot>();
  }
  const fs::path plain = path.has_filename() ? path : path.parent_path();
  const bool is_in_repository =
      plain.parent_path().filename().string().starts_with(kRepositoryPrefix);
  fs::path repository;
  if (is_folder(path / "snapshots")) {
    repository = path;
  } else if (plain.filename() == "snapshots" && is_in_repository) {
    repository = plain.parent_path();
  } else {
    const std::vector<fs::path> repositories = folders_in(path, kRepositoryPrefix);
    if (repositories.empty()) return std::optional<Snapshot>();
    if (repositories.size() > 1) {
      std::vector<std::string> names;
      constexpr std::size_t kShown = 8;
      for (const fs::path& each : repositories) {
        if (names.size() < kShown) names.push_back(each.filename().string());
      }
      return error(StatusCode::kInvalidArgument, "{}: a cache of {} models; give one of them: {}{}",
                   path.string(), repositories.size(), fmt::join(names, ", "),
                   repositories.size() > kShown ? ", ..." : "");
    }
    repository = repositories.front();
  }
  FM_ASSIGN_OR_RETURN(Snapshot snapshot, find_snapshot(repository));
  return std::optional(std::move(snapshot));
}

}  // namespace

Status check_downloaded(const fs::path& path) {
  std::error_code failure;
  if (fs::is_symlink(path, failure) && !fs::exists(path, failure)) {
    const fs::path target = fs::read_symlink(path, failure);
    return error(StatusCode::kCorrupt,
                 "{}: a link to {}, which is not there: the download was not finished, or part of "
                 "it was removed; download the model again",
                 path.string(), target.string());
  }
  if (!is_lfs_pointer(path)) return Status();
  return error(
      StatusCode::kCorrupt,
      "{}: a Git LFS pointer in place of the file, since the repository was cloned without "
      "git-lfs; run `git lfs install` and `git lfs pull` in its folder",
      path.string());
}

Status check_downloaded_text(const fs::path& path) {
  FM_RETURN_IF_ERROR(check_downloaded(path));
  std::error_code failure;
  if (!fs::is_regular_file(path, failure)) return Status();
  constexpr std::size_t kLookedAt = 256;
  std::string beginning(kLookedAt, '\0');
  std::ifstream file(path, std::ios::binary);
  if (!file) return Status();  // whoever opens it says why
  file.read(beginning.data(), static_cast<std::streamsize>(beginning.size()));
  beginning.resize(static_cast<std::size_t>(file.gcount()));
  const bool is_whole = beginning.size() < kLookedAt;
  beginning.erase(0, beginning.find_first_not_of(std::string_view(" \t\r\n\0", 5)));
  if (beginning.empty() && (is_whole || file.peek() == '\0')) {
    return error(StatusCode::kCorrupt, "{}: an empty file; download it again", path.string());
  }
  std::ranges::transform(beginning, beginning.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const std::string_view page : {"<!doctype html", "<html"}) {
    if (!beginning.starts_with(page)) continue;
    return error(StatusCode::kCorrupt,
                 "{}: a web page in place of the file, as a login or an error makes of a download; "
                 "download the file again",
                 path.string());
  }
  for (const std::string_view answer : {"entry not found", "repository not found",
                                        "invalid username or password", "access to model "}) {
    if (!is_whole || !beginning.starts_with(answer)) continue;
    return error(StatusCode::kCorrupt,
                 "{}: the hub's answer \"{}\" in place of the file; log in if the model asks for "
                 "it, and download the file again",
                 path.string(), beginning.substr(0, beginning.find_first_of("\r\n")));
  }
  return Status();
}

Result<fs::path> find_model_folder(const fs::path& path, std::string* remark) {
  FM_ASSIGN_OR_RETURN(std::optional<Snapshot> snapshot, snapshot_of(path));
  if (!snapshot) return path;
  if (remark != nullptr) *remark = std::move(snapshot->remark);
  return std::move(snapshot->folder);
}

std::string model_name(const fs::path& path) {
  std::error_code ignored;
  const Result<fs::path> found = find_model_folder(path);
  fs::path folder = fs::weakly_canonical(found.ok() ? *found : path, ignored);
  if (!folder.has_filename()) folder = folder.parent_path();
  const std::string repository = folder.parent_path().parent_path().filename().string();
  if (folder.parent_path().filename() != "snapshots" ||
      !repository.starts_with(kRepositoryPrefix)) {
    if (folder.extension() != ".gguf") return folder.filename().string();
    const std::optional<PartName> part = parse_part_name(folder.filename().string());
    return part ? part->base : folder.stem().string();
  }
  const std::string name = repository.substr(kRepositoryPrefix.size());
  const std::size_t at = name.find("--");
  return at == std::string::npos ? name : name.substr(0, at) + "/" + name.substr(at + 2);
}

}  // namespace flashmoe
