// MiniMax-M2 (M2, M2.1, M2.5): norms of whole rows of queries and keys, half of each head rotates,
// sigmoid routing with a correction bias. Source: transformers
// models/minimax_m2/modeling_minimax_m2.py.
#include "model/families/fields.h"
#include "model/model_family.h"

namespace flashmoe {
namespace {

Result<ModelSpec> read_config(const ConfigReader& reader) {
  FM_ASSIGN_OR_RETURN(ModelSpec spec, read_model_fields(reader));
  FM_ASSIGN_OR_RETURN(AttentionSpec attention, read_attention_fields(reader, {}));
  FM_ASSIGN_OR_RETURN(
      attention.rope.rotary_dim,
      reader.uint_or("rotary_dim", attention.rope.rotary_dim, 2, attention.head_dim));
  if (attention.rope.rotary_dim % 2 != 0) {
    return contradiction(reader, "rotary_dim", "must be even");
  }
  FM_ASSIGN_OR_RETURN(const bool has_norms, reader.boolean_or("use_qk_norm", true));
  if (has_norms) attention.qk_norm = QkNorm::kWhole;
  MoeSpec moe;
  FM_ASSIGN_OR_RETURN(moe.router, read_router_fields(reader, /*norm_topk_prob_default=*/true));
  moe.router.score = RouteRule::Score::kSigmoid;
  moe.router.has_correction_bias = true;
  FM_ASSIGN_OR_RETURN(moe.intermediate_size, reader.uint("intermediate_size", 1, kWidthMax));
  FM_ASSIGN_OR_RETURN(const std::size_t layer_count, read_layer_count(reader));
  spec.layers.assign(layer_count, {attention, moe});
  return spec;
}

/// Its own names for what most families call mlp, gate_proj, up_proj and down_proj.
constexpr TensorRow kTensors[] = {
    {TensorId::kRouter, "model.layers.{layer}.block_sparse_moe.gate"},
    {TensorId::kCorrectionBias, "model.layers.{layer}.block_sparse_moe.e_score_correction_bias"},
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

const ModelFamily kMinimaxM2 = {
    .model_type = "minimax_m2",
    .tensors = TensorTable(kTensors),
    .read_config = read_config,
};

}  // namespace flashmoe
