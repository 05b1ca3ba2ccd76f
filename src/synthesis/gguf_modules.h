#ifndef FLASHMOE_SYNTHESIS_GGUF_MODULES_H_
#define FLASHMOE_SYNTHESIS_GGUF_MODULES_H_

#include <vector>

#include "base/result.h"
#include "model/model_spec.h"
#include "model/tensor_table.h"
#include "synthesis/gguf_mixture.h"
#include "synthesis/module_list.h"

namespace flashmoe {

/// The tensors of a model as llama.cpp's converter and quantiser leave them, a module for each.
/// `names` in GGUF's spelling. Errors: kInvalidArgument for sizes that overflow.
Result<std::vector<SyntheticModule>> list_gguf_modules(const TensorTable& names,
                                                       const ModelSpec& spec,
                                                       const GgufMixture& mixture);

}  // namespace flashmoe

#endif  // FLASHMOE_SYNTHESIS_GGUF_MODULES_H_
