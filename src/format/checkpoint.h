#ifndef FLASHMOE_FORMAT_CHECKPOINT_H_
#define FLASHMOE_FORMAT_CHECKPOINT_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "format/config_reader.h"
#include "tensor/dtype.h"

namespace flashmoe {

/// Where one tensor's bytes lie. Nothing is read until somebody asks for them.
struct TensorRecord {
  DType dtype = DType::kF32;
  std::vector<std::uint64_t> shape;
  std::uint32_t file_index = 0;  // into Checkpoint::files()
  std::uint64_t offset = 0;      // from the start of that file; any residue: MLX pads no header
  std::uint64_t size = 0;        // bytes: the product of shape and dtype, inside the file (checked)
};

/// A model folder as downloaded: config.json and the safetensors shards, headers only.
/// Immutable once opened; safe to share between threads.
class Checkpoint {
 public:
  /// Reads config.json, generation_config.json (optional) and the headers of the shards that
  /// find_shards() finds. Never reads weights. `folder` may also be a repository in the hub's cache
  /// (find_model_folder()). Tensors lie where the shards have them; of one that two shards hold,
  /// the index says which counts. Errors name the file, the field and the remedy: kNotFound,
  /// kCorrupt, kInvalidArgument, kUnsupported, kIo.
  static Result<Checkpoint> open(const std::filesystem::path& folder);

  /// A checkpoint that is yet to be written to `folder`: its config, but no files and no tensors.
  static Checkpoint planned(const std::filesystem::path& folder, nlohmann::json config,
                            nlohmann::json generation_config);

  const std::filesystem::path& folder() const { return folder_; }

  /// config.json with MLX's `{"__float__": "Infinity"}` objects resolved.
  const nlohmann::json& config() const { return config_; }
  /// Typed access to config() and generation_config(). Refers to this checkpoint, which must stay
  /// where it is.
  ConfigReader config_reader() const;
  ConfigReader generation_config_reader() const;
  /// generation_config.json; an empty object where there is none.
  const nlohmann::json& generation_config() const { return generation_config_; }

  const std::vector<std::filesystem::path>& files() const { return files_; }
  const std::map<std::string, TensorRecord, std::less<>>& tensors() const { return tensors_; }

  /// The tensor called `name`, or null.
  const TensorRecord* find(std::string_view name) const;

  /// What is wrong with the index, or with what it or the numbers of shards say should be there;
  /// empty where all is as it should be. What is missing of a model is then to be blamed on that.
  const std::string& index_complaint() const { return index_complaint_; }

  /// True if norm weights are stored as 1 + w and convolutions transposed, as MLX conversions are
  /// (docs/formats.md: presence of switch_mlp names, a conv1d.weight whose last dimension is 1, or,
  /// without convolutions of another shape, metadata format mlx).
  bool is_mlx() const { return is_mlx_; }

 private:
  Checkpoint() = default;

  std::filesystem::path folder_;
  nlohmann::json config_;
  nlohmann::json generation_config_;
  std::vector<std::filesystem::path> files_;
  std::map<std::string, TensorRecord, std::less<>> tensors_;
  std::string index_complaint_;
  bool is_mlx_ = false;
};

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_CHECKPOINT_H_
