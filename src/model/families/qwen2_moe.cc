// Qwen2-MoE (Qwen1.5-MoE-A2.7B, Qwen2-57B-A14B): attention with biases, a MoE with a gated shared
// expert. Source: transformers models/qwen2_moe/modeling_qwen2_moe.py.
#include "model/families/fields.h"
#include "model/model_family.h"

namespace flashmoe {
namespace {

Result<ModelSpec> read_qwen2_moe(const ConfigReader& reader) {
  FM_RETURN_IF_ERROR(refuse_window(reader));
  FM_ASSIGN_OR_RETURN(ModelSpec spec, read_model_fields(reader));
  FM_ASSIGN_OR_RETURN(AttentionSpec attention, read_attention_fields(reader, {}));
  FM_ASSIGN_OR_RETURN(attention.has_qkv_bias, reader.boolean_or("qkv_bias", true));
  MoeSpec moe{.has_shared_gate = true};
  FM_ASSIGN_OR_RETURN(moe.router, read_router_fields(reader, /*norm_topk_prob_default=*/false));
  FM_ASSIGN_OR_RETURN(moe.intermediate_size, reader.uint("moe_intermediate_size", 1, kWidthMax));
  FM_ASSIGN_OR_RETURN(moe.shared_intermediate_size,
                      reader.uint("shared_expert_intermediate_size", 1, kWidthMax));
  FM_ASSIGN_OR_RETURN(const std::size_t layer_count, read_layer_count(reader));
  FM_ASSIGN_OR_RETURN(const std::vector<bool> has_experts, read_sparse_layers(reader, layer_count));
  FM_ASSIGN_OR_RETURN(spec.layers, make_layers(reader, attention, moe, has_experts));
  return spec;
}

}  // namespace

const ModelFamily kQwen2Moe = {
    .model_type = "qwen2_moe",
    .read_config = read_qwen2_moe,
};

}  // namespace flashmoe
