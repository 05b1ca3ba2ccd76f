#ifndef FLASHMOE_FORMAT_GGUF_CONFIG_H_
#define FLASHMOE_FORMAT_GGUF_CONFIG_H_

#include <nlohmann/json.hpp>
#include <span>

#include "base/result.h"
#include "format/gguf.h"
#include "format/model_package.h"

namespace flashmoe {

/// What the metadata of a GGUF model says, in config.json's words. Some of it only the tensors
/// tell: whether the head is tied and projections have biases. Errors name the file, the key and
/// the remedy: kUnsupported for an architecture that is not known here, naming those that are.
/// `rope_freqs`: the values of the tensor of that name, which is metadata by its nature; empty
/// without one.
Result<nlohmann::json> read_gguf_config(const GgufMetadata& metadata,
                                        const ModelPackage::Tensors& tensors,
                                        std::span<const float> rope_freqs);

/// Recommended sampling and the tokens that end a text, in generation_config.json's words.
Result<nlohmann::json> read_gguf_generation_config(const GgufMetadata& metadata);

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_GGUF_CONFIG_H_
