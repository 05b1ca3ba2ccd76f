#ifndef FLASHMOE_MODEL_FAMILIES_FIELDS_H_
#define FLASHMOE_MODEL_FAMILIES_FIELDS_H_

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "format/config_reader.h"
#include "model/model_spec.h"

namespace flashmoe {

/// Fields of config.json that many families share, in the spellings of transformers 4 and 5. All
/// errors name the file, the field and what is expected of it.

/// The largest width of anything.
inline constexpr std::uint64_t kWidthMax = 1u << 20;

/// What is wrong with a field whose value contradicts another.
Status contradiction(const ConfigReader& reader, const FieldNames& field, std::string_view reason);

/// Everything but the layers. Errors: kUnsupported for an activation other than silu.
Result<ModelSpec> read_model_fields(const ConfigReader& reader);

/// num_hidden_layers.
Result<std::size_t> read_layer_count(const ConfigReader& reader);

struct HeadDefaults {
  std::size_t head_dim = 0;    // 0: hidden_size over the number of heads
  double rotary_fraction = 1;  // of head_dim
};

/// The rotary embedding of heads of `head_dim`, of which `rotary_fraction` rotates unless the
/// config says otherwise. Errors: kUnsupported for ways of scaling other than linear, llama3 and
/// yarn.
Result<RopeSpec> read_rope(const ConfigReader& reader, std::size_t head_dim,
                           double rotary_fraction);

/// Heads and rotary embedding; gate, norms and biases are the family's to say. Errors: those of
/// read_rope.
Result<AttentionSpec> read_attention_fields(const ConfigReader& reader,
                                            const HeadDefaults& defaults);

/// Which layers have experts: every decoder_sparse_step-th, but none of mlp_only_layers.
Result<std::vector<bool>> read_sparse_layers(const ConfigReader& reader, std::size_t layer_count);

/// num_experts (under any of its names) and num_experts_per_tok.
Result<RouterSpec> read_router_fields(const ConfigReader& reader, bool norm_topk_prob_default);

/// The same of DeepSeek-V3's kind: sigmoid scores, a correction bias, groups, scaled weights.
Result<RouterSpec> read_sigmoid_router_fields(const ConfigReader& reader);

/// Which layers have experts, where the first first_k_dense_replace have none.
Result<std::vector<bool>> read_layers_after_dense(const ConfigReader& reader,
                                                  std::size_t layer_count);

/// Errors: kUnsupported where a family that needs no sliding window has one.
Status refuse_window(const ConfigReader& reader);

/// intermediate_size, for layers without experts.
Result<DenseMlpSpec> read_dense_mlp(const ConfigReader& reader);

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_FAMILIES_FIELDS_H_
