#include "format/shard_list.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>

#include "base/model_download.h"
#include "base/part_name.h"
#include "format/json_file.h"
#include "format/printable.h"

namespace flashmoe {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kIndexName = "model.safetensors.index.json";
constexpr std::uint64_t kIndexSizeMax = 64u << 20;  // 74,391 names take 8 MiB

bool is_plain_shard_name(std::string_view name) {
  return name.ends_with(".safetensors") && name.find_first_of("/\\") == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

/// Receives the JSON of an index event by event and keeps the pairs in weight_map; whatever else
/// the file says is skipped without being stored.
class IndexSax : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return scalar("null"); }
  bool boolean(bool) override { return scalar("true or false"); }
  bool number_integer(number_integer_t) override { return scalar("a number"); }
  bool number_unsigned(number_unsigned_t) override { return scalar("a number"); }
  bool number_float(number_float_t, const string_t&) override { return scalar("a number"); }
  bool binary(binary_t&) override { return scalar("binary data"); }

  bool string(string_t& value) override {
    if (!in_weight_map()) return scalar("a string");
    if (!is_plain_shard_name(value)) {
      return fail(
          fmt::format("field weight_map: tensor {} is said to lie in \"{}\", which is not a "
                      "plain name ending in .safetensors",
                      printable(key_), printable(value)));
    }
    const auto [file, is_new] = file_numbers_.try_emplace(
        std::move(value), static_cast<std::uint32_t>(file_numbers_.size()));
    tensor_files_.emplace_back(std::move(key_), file->second);
    return true;
  }

  bool key(string_t& name) override {
    key_ = std::move(name);
    return true;
  }
  bool start_object(std::size_t) override {
    if (in_weight_map()) return scalar("an object");
    if (depth_ == 1 && key_ == "weight_map") {
      if (has_weight_map_) return fail("field weight_map appears twice");
      has_weight_map_ = true;
      weight_map_open_ = true;
    }
    ++depth_;
    return true;
  }
  bool end_object() override {
    --depth_;
    if (depth_ == 1) weight_map_open_ = false;
    return true;
  }
  bool start_array(std::size_t) override {
    if (!scalar("a list")) return false;
    ++depth_;
    return true;
  }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool parse_error(std::size_t, const std::string&,
                   const nlohmann::json::exception& exception) override {
    return fail(json_error_text(exception));
  }

  const std::string& complaint() const { return complaint_; }
  bool has_weight_map() const { return has_weight_map_; }

  /// The index, its files renumbered in order of their names.
  ShardIndex take() {
    ShardIndex index;
    std::vector<std::uint32_t> sorted_numbers(file_numbers_.size());
    for (const auto& [name, number] : file_numbers_) {
      sorted_numbers[number] = static_cast<std::uint32_t>(index.file_names.size());
      index.file_names.push_back(name);
    }
    index.tensor_files = std::move(tensor_files_);
    for (auto& [tensor, file] : index.tensor_files) file = sorted_numbers[file];
    return index;
  }

 private:
  bool in_weight_map() const { return weight_map_open_ && depth_ == 2; }

  /// A value that is no file name: fine anywhere but in, or in place of, weight_map.
  bool scalar(std::string_view found) {
    if (in_weight_map()) {
      return fail(fmt::format("field weight_map: tensor {} has {} instead of a file name",
                              printable(key_), found));
    }
    if (depth_ == 0 || (depth_ == 1 && key_ == "weight_map")) {
      return fail(fmt::format("found {} instead of an object of file names by tensor", found));
    }
    return true;
  }
  bool fail(std::string complaint) {
    complaint_ = std::move(complaint);
    return false;
  }

  std::size_t depth_ = 0;
  bool has_weight_map_ = false;
  bool weight_map_open_ = false;
  std::string key_;
  std::map<std::string, std::uint32_t> file_numbers_;
  std::vector<std::pair<std::string, std::uint32_t>> tensor_files_;
  std::string complaint_;
};

/// Names of the files in a folder, sorted.
using Names = std::vector<std::string>;

bool holds(const Names& names, const std::string& name) {
  return std::ranges::binary_search(names, name);
}

/// The first name that tells of a download under way: hubs and browsers call the file itself so,
/// aria2 keeps such a file beside one that has its full size from the start.
std::string download_under_way(const Names& names) {
  for (const std::string& name : names) {
    for (const std::string_view ending : {".incomplete", ".aria2", ".part", ".crdownload"}) {
      if (name.ends_with(ending)) return printable(name);
    }
  }
  return "";
}

std::string missing_shards(const fs::path& folder, std::string_view said_by, const Names& all_names,
                           const std::vector<std::string>& missing, std::size_t total) {
  std::string text = fmt::format("{}: {} of the {} weight files that {} names {} missing: {}",
                                 folder.string(), missing.size(), total, said_by,
                                 missing.size() == 1 ? "is" : "are", some_of(missing));
  const std::string under_way = download_under_way(all_names);
  if (!under_way.empty()) text += fmt::format(" ({} is of a download that did not end)", under_way);
  return text;
}

/// The names of files in `folder`, sorted.
Result<Names> names_in(const fs::path& folder) {
  Names names;
  std::error_code failure;
  fs::directory_iterator entry(folder, failure);
  for (; !failure && entry != fs::directory_iterator(); entry.increment(failure)) {
    names.push_back(entry->path().filename().string());
  }
  if (failure) {
    return error(StatusCode::kIo, "{}: list the folder: {}; check that you may read it",
                 folder.string(), failure.message());
  }
  std::ranges::sort(names);
  return names;
}

bool is_model_shard(std::string_view name) {
  return name.starts_with("model") && name.ends_with(".safetensors");
}

/// Without an index, shards numbered "of N" still say how many there should be: the complaint where
/// no such set is whole, else an empty text.
std::string check_numbering(const fs::path& folder, const Names& all_names, const Names& shards) {
  std::string complaint;
  for (const std::string& first : shards) {
    const std::optional<PartName> part = parse_part_name(first);
    if (!part) continue;
    std::vector<std::string> missing;
    for (std::uint64_t i = 1; i <= part->count; ++i) {
      std::string name = part->of(i);
      if (!holds(shards, name)) missing.push_back(std::move(name));
    }
    if (missing.empty()) return "";
    if (complaint.empty()) {
      complaint = missing_shards(folder, printable(first), all_names, missing, part->count);
    }
  }
  return complaint;
}

/// A folder in `folder` that holds model*.safetensors, or nothing.
std::string subfolder_with_shards(const fs::path& folder) {
  std::vector<std::string> found;
  std::error_code failure;
  fs::directory_iterator entry(folder, failure);
  for (; !failure && entry != fs::directory_iterator(); entry.increment(failure)) {
    std::error_code ignored;
    if (!entry->is_directory(ignored)) continue;
    const Result<Names> names = names_in(entry->path());
    if (names.ok() && std::ranges::any_of(*names, is_model_shard)) {
      found.push_back(entry->path().filename().string());
    }
  }
  return found.empty() ? "" : printable(*std::ranges::min_element(found));
}

Status no_weights(const fs::path& folder, const Names& all_names) {
  constexpr std::string_view kNone = "no model*.safetensors in this folder";
  if (const std::string under_way = download_under_way(all_names); !under_way.empty()) {
    return error(StatusCode::kNotFound,
                 "{}: {} whose download has ended: {} is of one that did not; go on with it",
                 folder.string(), kNone, under_way);
  }
  if (const std::string below = subfolder_with_shards(folder); !below.empty()) {
    return error(StatusCode::kNotFound,
                 "{}: {}, but in {}; a model's files lie in one folder: move them there, or give "
                 "that folder if it has a config.json of its own",
                 folder.string(), kNone, (folder / below).string());
  }
  for (const std::string& name : all_names) {
    const bool is_consolidated =
        name.starts_with("consolidated") && name.ends_with(".safetensors");  // Mistral's
    if (is_consolidated || name.ends_with(".bin") || name.ends_with(".pth")) {
      return error(StatusCode::kUnsupported,
                   "{}: {}, but {}, a format that flash-moe does not read; download a safetensors "
                   "checkpoint (MLX, or Hugging Face bf16) or a GGUF file",
                   folder.string(), kNone, printable(name));
    }
  }
  for (const std::string& name : all_names) {
    if (!name.ends_with(".safetensors")) continue;
    return error(StatusCode::kNotFound,
                 "{}: {}, but {}; if it is the model's, call it model.safetensors, or download the "
                 "index that names it",
                 folder.string(), kNone, printable(name));
  }
  return error(StatusCode::kNotFound, "{}: {}; download the model's weights into it",
               folder.string(), kNone);
}

/// `names` without those beside which a downloader keeps notes of what is still to come.
Names whole_files(const Names& names) {
  Names whole;
  std::ranges::copy_if(names, std::back_inserter(whole),
                       [&](const std::string& name) { return !holds(names, name + ".aria2"); });
  return whole;
}

std::vector<fs::path> paths_of(const fs::path& folder, const Names& names) {
  std::vector<fs::path> paths;
  for (const std::string& name : names) paths.push_back(folder / name);
  return paths;
}

Result<ShardList> shards_by_index(const fs::path& folder, const Names& all_names,
                                  ShardIndex index) {
  const Names whole = whole_files(all_names);
  Names names;
  std::vector<std::string> missing;
  for (const std::string& name : index.file_names) {
    holds(whole, name) ? names.push_back(name) : missing.push_back(printable(name));
  }
  Names others;
  std::ranges::copy_if(whole, std::back_inserter(others), [&](const std::string& name) {
    return is_model_shard(name) && !holds(index.file_names, name);
  });

  ShardList list;
  if (!missing.empty()) {
    list.complaint =
        missing_shards(folder, kIndexName, all_names, missing, index.file_names.size());
    names.insert(names.end(), others.begin(), others.end());
    others.clear();
    std::ranges::sort(names);
    if (names.empty()) {
      return error(StatusCode::kNotFound, "{}; download them again", list.complaint);
    }
  }
  list.files = paths_of(folder, names);
  list.others = paths_of(folder, others);
  for (auto& [tensor, file] : index.tensor_files) {
    const auto at = std::ranges::lower_bound(names, index.file_names[file]);
    if (at == names.end() || *at != index.file_names[file]) continue;
    list.tensor_files.emplace_back(std::move(tensor),
                                   static_cast<std::uint32_t>(at - names.begin()));
  }
  return list;
}

Result<ShardList> shards_by_name(const fs::path& folder, const Names& all_names) {
  Names names;
  std::ranges::copy_if(whole_files(all_names), std::back_inserter(names), is_model_shard);
  if (names.empty()) return no_weights(folder, all_names);
  ShardList list;
  list.files = paths_of(folder, names);
  list.complaint = check_numbering(folder, all_names, names);
  return list;
}

Result<ShardIndex> read_index(const fs::path& path) {
  FM_RETURN_IF_ERROR(check_downloaded_text(path));
  FM_ASSIGN_OR_RETURN(const std::string text, read_text_file(path, kIndexSizeMax));
  return parse_shard_index(text, path.string());
}

}  // namespace

Result<ShardIndex> parse_shard_index(std::string_view text, std::string_view file) {
  IndexSax sax;
  const bool parsed = nlohmann::json::sax_parse(text.begin(), text.end(), &sax);
  if (!parsed || !sax.has_weight_map()) {
    return error(StatusCode::kCorrupt, "{}: {}; download the file again", file,
                 parsed ? "field weight_map is absent" : sax.complaint());
  }
  ShardIndex index = sax.take();
  if (index.tensor_files.empty()) {
    return error(StatusCode::kCorrupt,
                 "{}: field weight_map names no tensor; download the file "
                 "again",
                 file);
  }
  return index;
}

Result<ShardList> find_shards(const fs::path& folder) {
  FM_ASSIGN_OR_RETURN(const Names all_names, names_in(folder));
  if (!holds(all_names, std::string(kIndexName))) return shards_by_name(folder, all_names);
  Result<ShardIndex> index = read_index(folder / kIndexName);
  if (index.ok()) return shards_by_index(folder, all_names, std::move(index).value());
  // Shards tell by themselves what they hold.
  Result<ShardList> list = shards_by_name(folder, all_names);
  if (!list.ok()) {
    return error(index.status().code(), "{}; besides, {}", index.status().message(),
                 list.status().message());
  }
  list->complaint = index.status().message();
  return list;
}

}  // namespace flashmoe
