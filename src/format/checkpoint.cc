#include "format/checkpoint.h"

#include <string>
#include <system_error>
#include <utility>

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

/// Each tensor that the index promises must lie where it says. Tensors that the index leaves out
/// are accepted: other loaders read them too.
Status check_index(const ShardList& shards,
                   const std::map<std::string, TensorRecord, std::less<>>& tensors) {
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

Result<Checkpoint> Checkpoint::open(const fs::path& folder) {
  FM_RETURN_IF_ERROR(check_folder(folder));
  Checkpoint checkpoint;
  checkpoint.folder_ = folder;
  FM_ASSIGN_OR_RETURN(checkpoint.config_, load_config(folder / "config.json"));
  FM_ASSIGN_OR_RETURN(checkpoint.generation_config_,
                      load_optional_config(folder / "generation_config.json"));
  FM_ASSIGN_OR_RETURN(ShardList shards, find_shards(folder));

  OriginEvidence evidence;
  for (std::uint32_t i = 0; i < shards.files.size(); ++i) {
    FM_ASSIGN_OR_RETURN(const File file, File::open(shards.files[i], File::Mode::kBuffered));
    FM_ASSIGN_OR_RETURN(SafetensorsHeader header, read_safetensors_header(file));
    evidence.see_metadata(header.metadata);
    for (SafetensorsEntry& entry : header.tensors) {
      TensorRecord record{entry.dtype, std::move(entry.shape), i, entry.offset, entry.size};
      evidence.see(entry.name, record);
      const auto [tensor, is_new] =
          checkpoint.tensors_.try_emplace(std::move(entry.name), std::move(record));
      if (!is_new) {
        return error(StatusCode::kCorrupt,
                     "tensor {} lies in {} and in {}; keep the files of one download only",
                     printable(tensor->first), shards.files[tensor->second.file_index].string(),
                     shards.files[i].string());
      }
    }
  }
  FM_RETURN_IF_ERROR(check_index(shards, checkpoint.tensors_));
  checkpoint.files_ = std::move(shards.files);
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
