// gpt-oss (20b, 120b): sinks beside the scores, every second layer behind a window, biases in all
// projections, the router and the experts, whose swiglu is clamped. Source: transformers
// models/gpt_oss/modeling_gpt_oss.py.
#include <vector>

#include "model/families/fields.h"
#include "model/families/tensor_names.h"
#include "model/model_family.h"

namespace flashmoe {
namespace {

/// layer_types if the config spells them out, else every second layer has a window, the first
/// among them.
Result<std::vector<bool>> read_window_layers(const ConfigReader& reader, std::size_t layer_count) {
  if (reader.has("layer_types")) return read_sliding_layers(reader, layer_count);
  std::vector<bool> has_window(layer_count);
  for (std::size_t i = 0; i < layer_count; i += 2) has_window[i] = true;
  return has_window;
}

Result<MoeSpec> read_clamped_experts(const ConfigReader& reader) {
  MoeSpec moe{.glu = {.kind = Glu::Kind::kClampedSwiglu}, .has_expert_bias = true};
  FM_ASSIGN_OR_RETURN(const double alpha, reader.number_or("swiglu_alpha", 1.702, 1e-3, 1e3));
  FM_ASSIGN_OR_RETURN(const double limit, reader.number_or("swiglu_limit", 7.0, 1e-3, 1e6));
  moe.glu.clamp = {.alpha = static_cast<float>(alpha), .limit = static_cast<float>(limit)};
  // Softmax over the chosen experts' logits, which is what the others' normalised weights are.
  FM_ASSIGN_OR_RETURN(moe.router, read_router_fields(reader, /*norm_topk_prob_default=*/true));
  moe.router.has_bias = true;
  FM_ASSIGN_OR_RETURN(moe.intermediate_size, reader.uint("intermediate_size", 1, kWidthMax));
  return moe;
}

Result<ModelSpec> read_gpt_oss(const ConfigReader& reader) {
  FM_ASSIGN_OR_RETURN(ModelSpec spec, read_model_fields(reader, /*rms_norm_eps_default=*/1e-5));
  FM_ASSIGN_OR_RETURN(AttentionSpec attention,
                      read_attention_fields(reader, {.head_dim = 64, .rope_theta = 150000}));
  FM_RETURN_IF_ERROR(read_attention_bias(reader, attention, /*fallback=*/true));
  attention.has_sinks = true;
  FM_ASSIGN_OR_RETURN(const std::size_t window, reader.uint_or("sliding_window", 128, 1, 1u << 30));
  FM_ASSIGN_OR_RETURN(const MoeSpec moe, read_clamped_experts(reader));
  FM_ASSIGN_OR_RETURN(const std::size_t layer_count, read_layer_count(reader));
  FM_ASSIGN_OR_RETURN(const std::vector<bool> has_window, read_window_layers(reader, layer_count));
  for (const bool is_sliding : has_window) {
    attention.window = is_sliding ? window : 0;
    spec.layers.push_back({attention, moe});
  }
  return spec;
}

constexpr TensorRow kGptOssTensors[] = {
    {TensorId::kRouter, "model.layers.{layer}.mlp.router"},
    {TensorId::kStackedGate, "model.layers.{layer}.mlp.experts.gate_proj"},
    {TensorId::kStackedUp, "model.layers.{layer}.mlp.experts.up_proj"},
    {TensorId::kStackedDown, "model.layers.{layer}.mlp.experts.down_proj"},
    {TensorId::kFusedGateUp, "model.layers.{layer}.mlp.experts.gate_up_proj",
     StoredAs::kInterleaved},
};

}  // namespace

const ModelFamily kGptOss = {
    .model_type = "gpt_oss",
    .tensors = TensorTable(kGptOssTensors, {&kGgufPostAttentionNorm, 1}),
    .read_config = read_gpt_oss,
};

}  // namespace flashmoe
