// Qwen3-MoE (Qwen3-30B-A3B, Qwen3-Coder-30B-A3B, Qwen3-235B-A22B): attention with norms per head,
// a MoE without a shared expert. Source: transformers models/qwen3_moe/modeling_qwen3_moe.py.
#include "model/families/fields.h"
#include "model/model_family.h"

namespace flashmoe {
namespace {

Result<ModelSpec> read_qwen3_moe(const ConfigReader& reader) {
  FM_RETURN_IF_ERROR(refuse_window(reader));
  FM_ASSIGN_OR_RETURN(ModelSpec spec, read_model_fields(reader));
  FM_ASSIGN_OR_RETURN(AttentionSpec attention, read_attention_fields(reader, {}));
  attention.qk_norm = QkNorm::kHeads;
  FM_RETURN_IF_ERROR(read_attention_bias(reader, attention));
  MoeSpec moe;
  FM_ASSIGN_OR_RETURN(moe.router, read_router_fields(reader, /*norm_topk_prob_default=*/false));
  FM_ASSIGN_OR_RETURN(moe.intermediate_size, reader.uint("moe_intermediate_size", 1, kWidthMax));
  FM_ASSIGN_OR_RETURN(const std::size_t layer_count, read_layer_count(reader));
  FM_ASSIGN_OR_RETURN(const std::vector<bool> has_experts, read_sparse_layers(reader, layer_count));
  FM_ASSIGN_OR_RETURN(spec.layers, make_layers(reader, attention, moe, has_experts));
  return spec;
}

}  // namespace

const ModelFamily kQwen3Moe = {
    .model_type = "qwen3_moe",
    .read_config = read_qwen3_moe,
};

}  // namespace flashmoe
