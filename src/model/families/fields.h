#ifndef FLASHMOE_MODEL_FAMILIES_FIELDS_H_
#define FLASHMOE_MODEL_FAMILIES_FIELDS_H_

#include <cstddef>
#include <cstdint>
#include <string>
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
/// The largest head_dim; all of it may rotate.
inline constexpr std::size_t kHeadDimMax = kRotaryDimMax;

/// What is wrong with a field whose value contradicts another.
Status contradiction(const ConfigReader& reader, const FieldNames& field, std::string_view reason);

/// Everything but the layers. Errors: kUnsupported for an activation other than `activation`.
Result<ModelSpec> read_model_fields(const ConfigReader& reader, double rms_norm_eps_default = 1e-6,
                                    std::string_view activation = "silu");

/// num_hidden_layers.
Result<std::size_t> read_layer_count(const ConfigReader& reader);

struct HeadDefaults {
  std::size_t head_dim = 0;             // 0: hidden_size over the number of heads
  bool kv_heads_may_be_absent = false;  // then there are as many as heads
  double rotary_fraction = 1;           // of head_dim
  double rope_theta = 10000;
};

/// The rotary embedding of heads of `head_dim`, with `defaults` where the config says nothing.
/// Errors: kUnsupported for ways of scaling other than linear, llama3 and yarn, and for embeddings
/// that differ from layer to layer.
Result<RopeSpec> read_rope(const ConfigReader& reader, std::size_t head_dim,
                           const HeadDefaults& defaults);

/// That of one kind of layers, where rope_parameters has an object for each: "full_attention".
/// Errors: as above, and kNotFound where rope_parameters has no such object.
Result<RopeSpec> read_rope_of(std::string_view layer_type, const ConfigReader& reader,
                              std::size_t head_dim, const HeadDefaults& defaults);

/// num_attention_heads, num_key_value_heads and head_dim.
Result<AttentionSpec> read_heads(const ConfigReader& reader, const HeadDefaults& defaults);

/// Heads and rotary embedding; gate, norms and biases are the family's to say. Errors: those of
/// read_rope.
Result<AttentionSpec> read_attention_fields(const ConfigReader& reader,
                                            const HeadDefaults& defaults);

/// attention_bias, which is of all four projections.
Status read_attention_bias(const ConfigReader& reader, AttentionSpec& attention,
                           bool fallback = false);

/// A list of one word for each layer. Errors: kCorrupt for another number of words.
Result<std::vector<std::string>> read_layer_words(const ConfigReader& reader,
                                                  const FieldNames& field, std::size_t layer_count);

/// Which layers look back through a window, by layer_types.
Result<std::vector<bool>> read_sliding_layers(const ConfigReader& reader, std::size_t layer_count);

/// Which layers have experts: every decoder_sparse_step-th, but none of mlp_only_layers.
Result<std::vector<bool>> read_sparse_layers(const ConfigReader& reader, std::size_t layer_count);

/// num_experts (under any of its names) and num_experts_per_tok.
Result<RouterSpec> read_router_fields(const ConfigReader& reader, bool norm_topk_prob_default);

/// The same with sigmoid scores and a correction bias.
Result<RouterSpec> read_sigmoid_router_fields(const ConfigReader& reader);

/// The same of DeepSeek-V3's kind: with groups and scaled weights, too.
Result<RouterSpec> read_grouped_router_fields(const ConfigReader& reader);

/// routed_scaling_factor, 1 where there is none.
Result<float> read_scaling_factor(const ConfigReader& reader);

/// n_group and topk_group, checked against the router's experts.
Status read_groups(const ConfigReader& reader, RouterSpec& router);

/// What YaRN multiplies attention with: 0.1 scale ln(factor) + 1.
double yarn_magnitude(double factor, double scale);

/// Which layers have experts, where the first first_k_dense_replace have none.
Result<std::vector<bool>> read_layers_after_dense(const ConfigReader& reader,
                                                  std::size_t layer_count);

/// Experts of moe_intermediate_size behind `router`, beside n_shared_experts that every row passes.
Result<MoeSpec> read_experts_beside_shared(const ConfigReader& reader, const RouterSpec& router,
                                           std::size_t n_shared_default);

/// sliding_window, 0 where there is none.
Result<std::size_t> read_window(const ConfigReader& reader);

/// Errors: kUnsupported where there is a sliding window, for families without one.
Status refuse_window(const ConfigReader& reader);

/// intermediate_size, for layers without experts.
Result<DenseMlpSpec> read_dense_mlp(const ConfigReader& reader);

/// The layers: each with `mixer`, and with experts where `has_experts` says so, else with
/// read_dense_mlp()'s.
Result<std::vector<LayerSpec>> make_layers(const ConfigReader& reader,
                                           const decltype(LayerSpec::mixer)& mixer,
                                           const MoeSpec& moe,
                                           const std::vector<bool>& has_experts);

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_FAMILIES_FIELDS_H_
