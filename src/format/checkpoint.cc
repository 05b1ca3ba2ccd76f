#include "format/checkpoint.h"

#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "base/model_download.h"
#include "format/json_file.h"
#include "format/printable.h"
#include "format/safetensors.h"
#include "format/shard_list.h"
#include "io/file.h"

namespace flashmoe {
namespace {

namespace fs = std::filesystem;

Status check_folder(const fs::path& folder) {
  std::error_code failure;
  const fs::file_status status = fs::status(folder, failure);
  if (status.type() == fs::file_type::not_found) {
    return error(StatusCode::kNotFound, "{}: no such folder; give the folder of a downloaded model",
                 folder.string());
  }
  if (failure) {
    return error(StatusCode::kIo, "{}: look at the folder: {}; check that you may read it",
                 folder.string(), failure.message());
  }
  if (!fs::is_directory(status)) {
    return error(StatusCode::kInvalidArgument,
                 "{}: not a folder; give the folder that holds config.json and the weights",
                 folder.string());
  }
  return Status();
}

Result<nlohmann::json> load_config(const fs::path& path) {
  Result<nlohmann::json> config = load_json_file(path);
  if (!config.ok()) {
    if (config.status().code() != StatusCode::kNotFound) return config.status();
    return error(StatusCode::kNotFound,
                 "{}: no such file; a model folder has one: download the whole model",
                 path.string());
  }
  if (!config->is_object()) {
    return error(StatusCode::kCorrupt, "{}: not a JSON object; download the file again",
                 path.string());
  }
  return config;
}

Result<nlohmann::json> load_optional_config(const fs::path& path) {
  Result<nlohmann::json> config = load_config(path);
  if (!config.ok() && config.status().code() == StatusCode::kNotFound) {
    return nlohmann::json(nlohmann::json::object());
  }
  return config;
}

using TensorTable = std::map<std::string, TensorRecord, std::less<>>;

/// Where tensors do not lie as the index says: those in another file, and those in none. Tensors
/// that the index leaves out are no complaint: other loaders read them too.
struct IndexErrors {
  std::vector<std::string> misplaced;
  std::vector<std::string> absent;
};

IndexErrors find_index_errors(const ShardList& shards, const TensorTable& tensors) {
  IndexErrors errors;
  for (const auto& [name, file_index] : shards.tensor_files) {
    const auto tensor = tensors.find(name);
    if (tensor == tensors.end()) {
      errors.absent.push_back(printable(name));
    } else if (tensor->second.file_index != file_index) {
      errors.misplaced.push_back(printable(name));
    }
  }
  return errors;
}

/// The text of Checkpoint::index_complaint().
std::string complaint_of(const fs::path& folder, const ShardList& shards,
                         const IndexErrors& errors) {
  if (!shards.complaint.empty()) return shards.complaint;
  const std::size_t count = shards.tensor_files.size();
  std::string text;
  const auto add = [&](const std::vector<std::string>& names, std::string_view where) {
    if (names.empty()) return;
    text += text.empty() ? (folder / "model.safetensors.index.json").string() + ": " : "; ";
    text += fmt::format("of the {} tensors that it names, {} lie {}: {}", count, names.size(),
                        where, some_of(names));
  };
  add(errors.misplaced, "in another file than it says");
  add(errors.absent, "in no file");
  return text;
}

/// Settles which of two files counts that both hold a tensor.
class IndexVerdict {
 public:
  explicit IndexVerdict(const ShardList& shards) : shards_(shards) {}

  Result<std::uint32_t> between(const std::string& tensor, std::uint32_t first,
                                std::uint32_t second) {
    if (files_.empty()) files_ = {shards_.tensor_files.begin(), shards_.tensor_files.end()};
    const auto said = files_.find(tensor);
    if (said != files_.end() && (said->second == first || said->second == second)) {
      return said->second;
    }
    return error(StatusCode::kCorrupt,
                 "{}{}tensor {} lies in {} and in {}; keep the files of one download only",
                 shards_.complaint, shards_.complaint.empty() ? "" : "; ", printable(tensor),
                 shards_.files[first].string(), shards_.files[second].string());
  }

 private:
  const ShardList& shards_;
  std::unordered_map<std::string_view, std::uint32_t> files_;  // made when first needed
};

/// What the names and shapes of tensors tell about who wrote a checkpoint.
class OriginEvidence {
 public:
  void see(std::string_view name, const TensorRecord& tensor) {
    if (name.find(".switch_mlp.") != std::string_view::npos) has_switch_mlp_ = true;
    // A kernel of one tap looks the same either way.
    if (name.ends_with("conv1d.weight") && tensor.shape.size() == 3 &&
        tensor.shape[1] != tensor.shape[2]) {
      (tensor.shape.back() == 1 ? has_mlx_conv_ : has_plain_conv_) = true;
    }
  }
  void see_metadata(const std::map<std::string, std::string>& metadata) {
    const auto format = metadata.find("format");
    if (format != metadata.end() && format->second == "mlx") has_mlx_metadata_ = true;
  }

  /// MLX's name in the metadata counts only where no convolution says otherwise: weights that MLX
  /// merely copied carry it too.
  bool is_mlx() const {
    return has_switch_mlp_ || has_mlx_conv_ || (has_mlx_metadata_ && !has_plain_conv_);
  }

 private:
  bool has_switch_mlp_ = false;
  bool has_mlx_conv_ = false;
  bool has_plain_conv_ = false;
  bool has_mlx_metadata_ = false;
};

/// Reads the headers of shards into a table of tensors.
class TensorReader {
 public:
  TensorReader(const ShardList& shards, TensorTable& tensors)
      : shards_(shards), tensors_(tensors), verdict_(shards) {}

  /// Those of the files from `begin` on.
  Status read_files(std::size_t begin) {
    for (std::size_t i = begin; i < shards_.files.size(); ++i) {
      FM_RETURN_IF_ERROR(read_file(static_cast<std::uint32_t>(i)));
    }
    return Status();
  }

  /// Of all that was read.
  bool is_mlx() {
    for (const auto& [name, record] : tensors_) evidence_.see(name, record);
    return evidence_.is_mlx();
  }

 private:
  Status read_file(std::uint32_t index) {
    FM_ASSIGN_OR_RETURN(const File file, File::open(shards_.files[index], File::Mode::kBuffered));
    FM_ASSIGN_OR_RETURN(SafetensorsHeader header, read_safetensors_header(file));
    evidence_.see_metadata(header.metadata);
    for (SafetensorsEntry& entry : header.tensors) {
      TensorRecord record{entry.dtype, std::move(entry.shape), index, entry.offset, entry.size};
      const auto [tensor, is_new] = tensors_.try_emplace(std::move(entry.name), record);
      if (is_new) continue;
      FM_ASSIGN_OR_RETURN(const std::uint32_t counts,
                          verdict_.between(tensor->first, tensor->second.file_index, index));
      if (counts == index) tensor->second = std::move(record);
    }
    return Status();
  }

  const ShardList& shards_;
  TensorTable& tensors_;
  IndexVerdict verdict_;
  OriginEvidence evidence_;
};

}  // namespace

Result<Checkpoint> Checkpoint::open(const fs::path& given) {
  FM_ASSIGN_OR_RETURN(const fs::path folder, find_model_folder(given));
  FM_RETURN_IF_ERROR(check_folder(folder));
  Checkpoint checkpoint;
  checkpoint.folder_ = folder;
  FM_ASSIGN_OR_RETURN(checkpoint.config_, load_config(folder / "config.json"));
  FM_ASSIGN_OR_RETURN(checkpoint.generation_config_,
                      load_optional_config(folder / "generation_config.json"));
  FM_ASSIGN_OR_RETURN(ShardList shards, find_shards(folder));

  TensorReader reader(shards, checkpoint.tensors_);
  FM_RETURN_IF_ERROR(reader.read_files(0));
  IndexErrors errors = find_index_errors(shards, checkpoint.tensors_);
  if (!errors.absent.empty() && !shards.others.empty()) {
    // A stale index: the shards that it does not name may have what those that it names lack.
    const std::size_t named = shards.files.size();
    shards.files.insert(shards.files.end(), shards.others.begin(), shards.others.end());
    FM_RETURN_IF_ERROR(reader.read_files(named));
    errors = find_index_errors(shards, checkpoint.tensors_);
  }
  checkpoint.is_mlx_ = reader.is_mlx();
  checkpoint.index_complaint_ = complaint_of(folder, shards, errors);
  checkpoint.files_ = std::move(shards.files);
  return checkpoint;
}

Checkpoint Checkpoint::planned(const fs::path& folder, nlohmann::json config,
                               nlohmann::json generation_config) {
  Checkpoint checkpoint;
  checkpoint.folder_ = folder;
  checkpoint.config_ = std::move(config);
  checkpoint.generation_config_ = std::move(generation_config);
  return checkpoint;
}

const TensorRecord* Checkpoint::find(std::string_view name) const {
  const auto tensor = tensors_.find(name);
  return tensor == tensors_.end() ? nullptr : &tensor->second;
}

ConfigReader Checkpoint::config_reader() const {
  return ConfigReader(config_, (folder_ / "config.json").string());
}

ConfigReader Checkpoint::generation_config_reader() const {
  return ConfigReader(generation_config_, (folder_ / "generation_config.json").string());
}

}  // namespace flashmoe
