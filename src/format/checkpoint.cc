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

/// Each tensor that the index promises must lie where it says. Tensors that the index leaves out
/// are accepted: other loaders read them too.
Status check_index(const ShardList& shards, const TensorTable& tensors) {
  for (const auto& [name, file_index] : shards.tensor_files) {
    const auto tensor = tensors.find(name);
    if (tensor == tensors.end() || tensor->second.file_index != file_index) {
      return error(StatusCode::kCorrupt,
                   "{}: tensor {} is absent, though model.safetensors.index.json puts it there; "
                   "download both files again",
                   shards.files[file_index].string(), printable(name));
    }
  }
  return Status();
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
                 "tensor {} lies in {} and in {}; keep the files of one download only",
                 printable(tensor), shards_.files[first].string(), shards_.files[second].string());
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

  OriginEvidence evidence;
  IndexVerdict verdict(shards);
  TensorTable& tensors = checkpoint.tensors_;
  for (std::uint32_t i = 0; i < shards.files.size(); ++i) {
    FM_ASSIGN_OR_RETURN(const File file, File::open(shards.files[i], File::Mode::kBuffered));
    FM_ASSIGN_OR_RETURN(SafetensorsHeader header, read_safetensors_header(file));
    evidence.see_metadata(header.metadata);
    for (SafetensorsEntry& entry : header.tensors) {
      TensorRecord record{entry.dtype, std::move(entry.shape), i, entry.offset, entry.size};
      const auto [tensor, is_new] = tensors.try_emplace(std::move(entry.name), record);
      if (is_new) continue;
      FM_ASSIGN_OR_RETURN(const std::uint32_t counts,
                          verdict.between(tensor->first, tensor->second.file_index, i));
      if (counts == i) tensor->second = std::move(record);
    }
  }
  FM_RETURN_IF_ERROR(check_index(shards, tensors));
  for (const auto& [name, record] : tensors) evidence.see(name, record);
  checkpoint.files_ = std::move(shards.files);
  checkpoint.index_complaint_ = std::move(shards.complaint);
  checkpoint.is_mlx_ = evidence.is_mlx();
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
