// Mixtral (8x7B, 8x22B): plain attention, few wide experts. Source: transformers
// models/mixtral/modeling_mixtral.py.
#include "model/families/fields.h"
#include "model/model_family.h"

namespace flashmoe {
namespace {

Result<ModelSpec> read_mixtral(const ConfigReader& reader) {
  FM_ASSIGN_OR_RETURN(ModelSpec spec, read_model_fields(reader, /*rms_norm_eps_default=*/1e-5));
  FM_ASSIGN_OR_RETURN(AttentionSpec attention, read_attention_fields(reader, {.rope_theta = 1e6}));
  FM_ASSIGN_OR_RETURN(attention.window, read_window(reader));
  MoeSpec moe;
  // Softmax over the chosen experts' logits, which is what the others' normalised weights are.
  FM_ASSIGN_OR_RETURN(moe.router, read_router_fields(reader, /*norm_topk_prob_default=*/true));
  FM_ASSIGN_OR_RETURN(moe.intermediate_size, reader.uint("intermediate_size", 1, kWidthMax));
  FM_ASSIGN_OR_RETURN(const std::size_t layer_count, read_layer_count(reader));
  spec.layers.assign(layer_count, {attention, moe});
  return spec;
}

/// Its own names for what most families call mlp, gate_proj, up_proj and down_proj.
constexpr TensorRow kMixtralTensors[] = {
    {TensorId::kRouter, "model.layers.{layer}.block_sparse_moe.gate"},
    {TensorId::kStackedGate, "model.layers.{layer}.block_sparse_moe.switch_mlp.gate_proj"},
    {TensorId::kStackedUp, "model.layers.{layer}.block_sparse_moe.switch_mlp.up_proj"},
    {TensorId::kStackedDown, "model.layers.{layer}.block_sparse_moe.switch_mlp.down_proj"},
    {TensorId::kSeparateGate, "model.layers.{layer}.block_sparse_moe.experts.{expert}.w1"},
    {TensorId::kSeparateUp, "model.layers.{layer}.block_sparse_moe.experts.{expert}.w3"},
    {TensorId::kSeparateDown, "model.layers.{layer}.block_sparse_moe.experts.{expert}.w2"},
    {TensorId::kFusedGateUp, "model.layers.{layer}.block_sparse_moe.experts.gate_up_proj"},
    {TensorId::kFusedDown, "model.layers.{layer}.block_sparse_moe.experts.down_proj"},
};

}  // namespace

const ModelFamily kMixtral = {
    .model_type = "mixtral",
    .tensors = TensorTable(kMixtralTensors),
    .read_config = read_mixtral,
};

}  // namespace flashmoe
