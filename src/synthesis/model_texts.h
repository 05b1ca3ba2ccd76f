#ifndef FLASHMOE_SYNTHESIS_MODEL_TEXTS_H_
#define FLASHMOE_SYNTHESIS_MODEL_TEXTS_H_

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "format/gguf_writer.h"
#include "format/shard_plan.h"
#include "synthesis/module_list.h"

namespace flashmoe {

/// A small file of a model folder: its name and its text.
using TextFile = std::pair<std::string, std::string>;

/// Ending where the config says so, sampling greedily.
nlohmann::json generation_config(const nlohmann::json& config);

/// Everything of a model folder but its weights: config.json with the quantisation of `modules`,
/// generation_config.json, the index of `shards`, and a tokenizer. `vocab_size` and `eos_token_ids`
/// are the config's, checked. Errors: kInvalidArgument if the vocabulary cannot hold every byte.
Result<std::vector<TextFile>> model_texts(const nlohmann::json& config,
                                          std::span<const SyntheticModule> modules,
                                          std::span<const Shard> shards, std::size_t vocab_size,
                                          std::span<const std::int32_t> eos_token_ids);

/// Adds the same tokenizer as a GGUF file's metadata has it. Errors: the same.
Status add_gguf_tokenizer(std::size_t vocab_size, std::span<const std::int32_t> eos_token_ids,
                          GgufValues& values);

}  // namespace flashmoe

#endif  // FLASHMOE_SYNTHESIS_MODEL_TEXTS_H_
