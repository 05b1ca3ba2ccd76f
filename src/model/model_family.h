#ifndef FLASHMOE_MODEL_MODEL_FAMILY_H_
#define FLASHMOE_MODEL_MODEL_FAMILY_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "format/checkpoint.h"
#include "model/model_spec.h"
#include "model/tensor_table.h"

namespace flashmoe {

/// A model architecture as data: how its config.json is read and how its tensors are called. New
/// math becomes a block in layers/, not a branch here.
struct ModelFamily {
  std::string_view model_type;
  TensorTable tensors;
  /// Reads and checks config.json. Errors name the field and the remedy.
  Result<ModelSpec> (*read_config)(const Checkpoint& checkpoint) = nullptr;
};

/// The family of a checkpoint by its config's `model_type`. Errors: kUnsupported, naming those
/// supported.
Result<const ModelFamily*> find_model_family(const Checkpoint& checkpoint);

/// The tokens that end a text, by config.json and generation_config.json: one id or a list in
/// either. A generation_config.json that names fewer than config.json is more often incomplete than
/// meant so. Errors: kCorrupt for ids beyond the vocabulary.
Result<std::vector<std::int32_t>> read_eos_token_ids(const Checkpoint& checkpoint,
                                                     std::size_t vocab_size);

extern const ModelFamily kQwen3Next;

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_MODEL_FAMILY_H_
