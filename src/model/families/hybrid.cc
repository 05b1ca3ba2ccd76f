#include "model/families/hybrid.h"

namespace flashmoe {

Result<AttentionSpec> read_hybrid_attention(const ConfigReader& reader) {
  FM_ASSIGN_OR_RETURN(AttentionSpec attention,
                      read_attention_fields(reader, {.head_dim = 256, .rotary_fraction = 0.25}));
  attention.has_output_gate = true;
  attention.qk_norm = QkNorm::kHeads;
  FM_RETURN_IF_ERROR(read_attention_bias(reader, attention));
  return attention;
}

Result<DeltaNetSpec> read_delta_net(const ConfigReader& reader) {
  DeltaNetSpec delta;
  FM_ASSIGN_OR_RETURN(delta.key_heads, reader.uint("linear_num_key_heads", 1, 1024));
  FM_ASSIGN_OR_RETURN(delta.value_heads, reader.uint("linear_num_value_heads", 1, 1024));
  FM_ASSIGN_OR_RETURN(delta.key_dim, reader.uint("linear_key_head_dim", 1, 4096));
  FM_ASSIGN_OR_RETURN(delta.value_dim, reader.uint("linear_value_head_dim", 1, 4096));
  FM_ASSIGN_OR_RETURN(delta.conv_kernel, reader.uint("linear_conv_kernel_dim", 1, 16));
  if (delta.keys_size() > kWidthMax || delta.values_size() > kWidthMax) {
    return contradiction(reader, "linear_num_value_heads", "gives heads that are too wide");
  }
  if (delta.value_heads % delta.key_heads != 0) {
    return contradiction(reader, "linear_num_value_heads",
                         "must be a multiple of linear_num_key_heads");
  }
  return delta;
}

Result<MoeSpec> read_hybrid_experts(const ConfigReader& reader) {
  MoeSpec moe{.has_shared_gate = true};
  FM_ASSIGN_OR_RETURN(moe.router, read_router_fields(reader, /*norm_topk_prob_default=*/true));
  FM_ASSIGN_OR_RETURN(moe.intermediate_size, reader.uint("moe_intermediate_size", 1, kWidthMax));
  FM_ASSIGN_OR_RETURN(moe.shared_intermediate_size,
                      reader.uint("shared_expert_intermediate_size", 1, kWidthMax));
  return moe;
}

}  // namespace flashmoe
