#ifndef FLASHMOE_MODEL_MODEL_FAMILY_H_
#define FLASHMOE_MODEL_MODEL_FAMILY_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "format/config_reader.h"
#include "format/model_package.h"
#include "model/model_spec.h"
#include "model/tensor_table.h"

namespace flashmoe {

/// A model architecture as data: how its config.json is read and how its tensors are called. New
/// math becomes a block in layers/, not a branch here.
struct ModelFamily {
  std::string_view model_type;
  /// Another name for it, as of the text part of a multimodal model. Empty: none.
  std::string_view also_called = {};
  TensorTable tensors;
  /// Reads and checks the fields of the (text) model. Errors name the field and the remedy.
  Result<ModelSpec> (*read_config)(const ConfigReader& reader) = nullptr;
};

/// What the config of a package says, which for a multimodal model is in its `text_config`.
/// Errors name the field and the remedy.
Result<ModelSpec> read_model_spec(const ModelFamily& family, const ModelPackage& package);

/// The names of `family` as the package spells them: multimodal models have a prefix before
/// those of their text part.
TensorTable find_tensor_names(const ModelFamily& family, const ModelPackage& package);

/// The names that MLX conversions of such a model have.
TensorTable mlx_tensor_names(const ModelFamily& family, const ModelPackage& package);

/// The names that GGUF files of such a model have.
TensorTable gguf_tensor_names(const ModelFamily& family);

/// The family of a package by its config's `model_type`. Errors: kUnsupported, naming those
/// supported.
Result<const ModelFamily*> find_model_family(const ModelPackage& package);

/// The tokens that end a text, by config.json and generation_config.json: one id or a list in
/// either. A generation_config.json that names fewer than config.json is more often incomplete than
/// meant so. Errors: kCorrupt for ids beyond the vocabulary.
Result<std::vector<std::int32_t>> read_eos_token_ids(const ModelPackage& package,
                                                     std::size_t vocab_size);

extern const ModelFamily kDeepseekV2;
extern const ModelFamily kDeepseekV3;
extern const ModelFamily kGemma4;
extern const ModelFamily kGlm4Moe;
extern const ModelFamily kGlm4MoeLite;
extern const ModelFamily kGptOss;
extern const ModelFamily kLlama;
extern const ModelFamily kMinimaxM2;
extern const ModelFamily kMixtral;
extern const ModelFamily kOlmoe;
extern const ModelFamily kQwen2Moe;
extern const ModelFamily kQwen3;
extern const ModelFamily kQwen3Moe;
extern const ModelFamily kQwen3Next;
extern const ModelFamily kQwen35Moe;
extern const ModelFamily kQwen4Exp;

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_MODEL_FAMILY_H_
