#ifndef FLASHMOE_SYNTHESIS_GGUF_WORDS_H_
#define FLASHMOE_SYNTHESIS_GGUF_WORDS_H_

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "base/result.h"
#include "format/gguf_writer.h"
#include "model/model_spec.h"
#include "synthesis/gguf_mixture.h"
#include "synthesis/module_list.h"

namespace flashmoe {

/// The metadata of a GGUF file with these modules: config, tokenizer of single bytes, types. Read
/// back, it makes the same model. `path` is for messages. Errors: kUnsupported where GGUF has no
/// architecture for the model, or no keys for all of it; kInvalidArgument if the vocabulary cannot
/// hold every byte.
Result<GgufValues> gguf_values(const std::filesystem::path& path, const ModelSpec& spec,
                               std::span<const SyntheticModule> modules, const GgufMixture& mixture,
                               std::span<const std::int32_t> eos_token_ids);

/// The same modules as the writer takes them.
std::vector<GgufWriter::Tensor> gguf_tensors(std::span<const SyntheticModule> modules);

}  // namespace flashmoe

#endif  // FLASHMOE_SYNTHESIS_GGUF_WORDS_H_
