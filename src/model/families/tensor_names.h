#ifndef FLASHMOE_MODEL_FAMILIES_TENSOR_NAMES_H_
#define FLASHMOE_MODEL_FAMILIES_TENSOR_NAMES_H_

#include "model/tensor_table.h"

namespace flashmoe {

// Names that some families share and most do not.

/// Of experts beside the routed ones, as DeepSeek calls them.
inline constexpr TensorRow kSharedExpertsTensors[] = {
    {TensorId::kSharedGateProj, "model.layers.{layer}.mlp.shared_experts.gate_proj"},
    {TensorId::kSharedUpProj, "model.layers.{layer}.mlp.shared_experts.up_proj"},
    {TensorId::kSharedDownProj, "model.layers.{layer}.mlp.shared_experts.down_proj"},
};

/// Mixtral's for what most families call mlp, gate_proj, up_proj and down_proj.
inline constexpr TensorRow kBlockSparseMoeTensors[] = {
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

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_FAMILIES_TENSOR_NAMES_H_
