#ifndef FLASHMOE_ENGINE_EXPERT_INDEX_H_
#define FLASHMOE_ENGINE_EXPERT_INDEX_H_

#include <vector>

#include "base/result.h"
#include "experts/expert_store.h"
#include "format/checkpoint.h"
#include "model/expert_layout.h"
#include "model/model_spec.h"
#include "model/tensor_table.h"

namespace flashmoe {

/// Where the routed experts of a checkpoint lie, and how to read them: the one place where files
/// meet math.
struct ExpertIndex {
  std::vector<ExpertStore::Layer> layers;  // one per model layer
  std::vector<ExpertLayout> layouts;       // one per model layer
};

/// Finds the routed experts in whichever of the family's three spellings a checkpoint has. Reads
/// headers only. Errors: kNotFound, naming the spellings tried; kCorrupt for shapes that contradict
/// the config.
Result<ExpertIndex> build_expert_index(const Checkpoint& checkpoint, const TensorTable& names,
                                       const ModelSpec& spec);

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_EXPERT_INDEX_H_
