#include "format/shard_list.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>

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

/// The first few of `names`, and how many more there are.
std::string some_of(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 8;
  const auto end = names.begin() + static_cast<std::ptrdiff_t>(std::min(names.size(), kShown));
  std::string text = fmt::format("{}", fmt::join(names.begin(), end, ", "));
  if (names.size() > kShown) text += fmt::format(" and {} more", names.size() - kShown);
  return text;
}

std::string missing_shards(const fs::path& folder, std::string_view said_by,
                           const std::vector<std::string>& missing, std::size_t total) {
  return fmt::format("{}: {} of the {} weight files that {} names {} missing: {}", folder.string(),
                     missing.size(), total, said_by, missing.size() == 1 ? "is" : "are",
                     some_of(missing));
}

/// NNNNN of "model-00001-of-NNNNN.safetensors".
std::optional<std::size_t> shard_count_in(std::string_view name) {
  constexpr std::string_view kBefore = "-of-";
  const std::size_t at = name.rfind(kBefore);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view digits = name.substr(at + kBefore.size());
  std::size_t count = 0;
  const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
  if (failure != std::errc() || std::string_view(end) != ".safetensors") return std::nullopt;
  return count;
}

/// Without an index, shards numbered "of N" still say how many there should be.
Status check_numbering(const fs::path& folder, const std::vector<std::string>& names) {
  constexpr std::size_t kShardCountMax = 99'999;  // five digits
  for (const std::string& first : names) {
    const auto count = shard_count_in(first);
    if (!count || *count > kShardCountMax) continue;
    std::vector<std::string> missing;
    for (std::size_t i = 1; i <= *count; ++i) {
      std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", i, *count);
      if (!std::binary_search(names.begin(), names.end(), name)) missing.push_back(std::move(name));
    }
    if (missing.empty()) return Status();
    return error(StatusCode::kNotFound, "{}; download them again",
                 missing_shards(folder, first, missing, *count));
  }
  return Status();
}

Status no_weights(const fs::path& folder, const std::vector<std::string>& all_names) {
  for (const std::string& name : all_names) {
    if (name.ends_with(".gguf") || name.ends_with(".bin") || name.ends_with(".pth")) {
      return error(StatusCode::kUnsupported,
                   "{}: no model*.safetensors, but {}, a format that flash-moe does not read; "
                   "download a safetensors checkpoint (MLX, or Hugging Face bf16)",
                   folder.string(), printable(name));
    }
  }
  return error(StatusCode::kNotFound,
               "{}: no model*.safetensors in this folder; download the model's weights into it",
               folder.string());
}

/// The names of files in `folder`, sorted.
Result<std::vector<std::string>> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code failure;
  fs::directory_iterator entry(folder, failure);
  for (; !failure && entry != fs::directory_iterator(); entry.increment(failure)) {
    names.push_back(entry->path().filename().string());
  }
  if (failure) {
    return error(StatusCode::kIo, "{}: list the folder: {}; check that you may read it",
                 folder.string(), failure.message());
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool is_model_shard(std::string_view name) {
  return name.starts_with("model") && name.ends_with(".safetensors");
}

Result<ShardList> shards_by_index(const fs::path& folder, const fs::path& index_path) {
  FM_ASSIGN_OR_RETURN(const std::string text, read_text_file(index_path, kIndexSizeMax));
  FM_ASSIGN_OR_RETURN(ShardIndex index, parse_shard_index(text, index_path.string()));
  FM_ASSIGN_OR_RETURN(const std::vector<std::string> all_names, names_in(folder));
  const auto is_there = [&all_names](const std::string& name) {
    return std::binary_search(all_names.begin(), all_names.end(), name);
  };
  std::vector<std::string> missing;
  for (const std::string& name : index.file_names) {
    if (!is_there(name)) missing.push_back(printable(name));
  }

  ShardList list;
  std::vector<std::string> names = index.file_names;
  if (!missing.empty()) {
    list.complaint = missing_shards(folder, kIndexName, missing, index.file_names.size());
    std::erase_if(names, [&](const std::string& name) { return !is_there(name); });
    std::ranges::copy_if(all_names, std::back_inserter(names), is_model_shard);
    std::ranges::sort(names);
    names.erase(std::unique(names.begin(), names.end()), names.end());
    if (names.empty()) {
      return error(StatusCode::kNotFound, "{}; download them again", list.complaint);
    }
  }
  for (const std::string& name : names) list.files.push_back(folder / name);
  for (auto& [tensor, file] : index.tensor_files) {
    const auto at = std::ranges::lower_bound(names, index.file_names[file]);
    if (at == names.end() || *at != index.file_names[file]) continue;
    list.tensor_files.emplace_back(std::move(tensor),
                                   static_cast<std::uint32_t>(at - names.begin()));
  }
  return list;
}

Result<ShardList> shards_by_name(const fs::path& folder) {
  FM_ASSIGN_OR_RETURN(const std::vector<std::string> all_names, names_in(folder));
  std::vector<std::string> names;
  std::ranges::copy_if(all_names, std::back_inserter(names), is_model_shard);
  if (names.empty()) return no_weights(folder, all_names);
  FM_RETURN_IF_ERROR(check_numbering(folder, names));
  ShardList list;
  for (const std::string& name : names) list.files.push_back(folder / name);
  return list;
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
  const fs::path index_path = folder / kIndexName;
  std::error_code failure;
  if (fs::exists(index_path, failure)) return shards_by_index(folder, index_path);
  if (failure) {
    return error(StatusCode::kIo, "{}: look for the file: {}; check that you may read the folder",
                 index_path.string(), failure.message());
  }
  return shards_by_name(folder);
}

}  // namespace flashmoe
