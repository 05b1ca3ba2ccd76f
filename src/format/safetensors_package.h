#ifndef FLASHMOE_FORMAT_SAFETENSORS_PACKAGE_H_
#define FLASHMOE_FORMAT_SAFETENSORS_PACKAGE_H_

#include <filesystem>

#include "base/result.h"
#include "format/model_package.h"

namespace flashmoe {

/// A model as Hugging Face and MLX publish it: a folder with config.json, generation_config.json
/// (optional) and safetensors shards, of which only the headers of those that find_shards() finds
/// are read. Tensors lie where the shards have them; of one that two shards hold, the index says
/// which counts. The spelling is MLX's if there are switch_mlp names, or a conv1d.weight whose last
/// dimension is 1, or, without convolutions of another shape, metadata of format mlx
/// (docs/formats.md). Errors: those of ModelPackage::open().
Result<ModelPackage::Contents> read_safetensors_package(const std::filesystem::path& folder);

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_SAFETENSORS_PACKAGE_H_
