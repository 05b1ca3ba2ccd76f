// DeepSeek-V2, DeepSeek-V3 (R1, V3.1; Kimi-K2 is one) and GLM-4.7-Flash: latent attention, dense
// layers first, then routed experts beside shared ones that every row passes. Sources: transformers
// models/deepseek_v2/modeling_deepseek_v2.py, models/deepseek_v3/modeling_deepseek_v3.py,
// models/glm4_moe_lite/modeling_glm4_moe_lite.py.
#include <algorithm>
#include <cmath>
#include <string>

#include "model/families/fields.h"
#include "model/families/tensor_names.h"
#include "model/model_family.h"

namespace flashmoe {
namespace {

Result<LatentAttentionSpec> read_latent_attention(const ConfigReader& reader) {
  FM_ASSIGN_OR_RETURN(const bool has_bias, reader.boolean_or("attention_bias", false));
  if (has_bias) {
    return reader.reject(StatusCode::kUnsupported, "attention_bias",
                         "latent attention is supported without biases");
  }
  LatentAttentionSpec attention;
  FM_ASSIGN_OR_RETURN(attention.num_heads, reader.uint("num_attention_heads", 1, 1024));
  FM_ASSIGN_OR_RETURN(attention.q_lora_rank, reader.uint_or("q_lora_rank", 0, 0, kWidthMax));
  FM_ASSIGN_OR_RETURN(attention.kv_lora_rank, reader.uint("kv_lora_rank", 1, 4096));
  FM_ASSIGN_OR_RETURN(attention.qk_nope_head_dim, reader.uint("qk_nope_head_dim", 1, 4096));
  FM_ASSIGN_OR_RETURN(attention.qk_rope_head_dim, reader.uint("qk_rope_head_dim", 2, 512));
  FM_ASSIGN_OR_RETURN(attention.v_head_dim, reader.uint("v_head_dim", 1, 4096));
  FM_ASSIGN_OR_RETURN(attention.is_rope_interleaved, reader.boolean_or("rope_interleave", true));
  FM_ASSIGN_OR_RETURN(attention.rope,
                      read_rope(reader, attention.qk_rope_head_dim, HeadDefaults()));
  if (attention.num_heads * std::max(attention.qk_head_dim(), attention.latent_size()) >
      8 * kWidthMax) {
    return contradiction(reader, "num_attention_heads", "gives heads that are too wide");
  }
  attention.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(attention.qk_head_dim())));
  if (const auto* yarn = std::get_if<YarnRope>(&attention.rope.scaling)) {
    FM_ASSIGN_OR_RETURN(const double mscale, reader.number_or({"rope_scaling.mscale_all_dim",
                                                               "rope_parameters.mscale_all_dim"},
                                                              0, 0, 1e3));
    const double magnitude = mscale > 0 ? yarn_magnitude(yarn->factor, mscale) : 1;
    attention.scale *= static_cast<float>(magnitude * magnitude);
  }
  return attention;
}

/// What both versions share; `router` is the version's.
Result<ModelSpec> read_deepseek(const ConfigReader& reader, const RouterSpec& router) {
  FM_ASSIGN_OR_RETURN(ModelSpec spec, read_model_fields(reader));
  FM_ASSIGN_OR_RETURN(const LatentAttentionSpec attention, read_latent_attention(reader));
  FM_ASSIGN_OR_RETURN(const MoeSpec moe,
                      read_experts_beside_shared(reader, router, /*n_shared_default=*/0));
  FM_ASSIGN_OR_RETURN(const std::size_t layer_count, read_layer_count(reader));
  FM_ASSIGN_OR_RETURN(const std::vector<bool> has_experts,
                      read_layers_after_dense(reader, layer_count));
  FM_ASSIGN_OR_RETURN(spec.layers, make_layers(reader, attention, moe, has_experts));
  return spec;
}

Result<ModelSpec> read_deepseek_v3(const ConfigReader& reader) {
  FM_ASSIGN_OR_RETURN(const RouterSpec router, read_grouped_router_fields(reader));
  return read_deepseek(reader, router);
}

/// Softmax scores, without groups or by the best expert of each.
Result<ModelSpec> read_deepseek_v2(const ConfigReader& reader) {
  FM_ASSIGN_OR_RETURN(RouterSpec router,
                      read_router_fields(reader, /*norm_topk_prob_default=*/false));
  FM_ASSIGN_OR_RETURN(router.routed_scaling_factor, read_scaling_factor(reader));
  FM_ASSIGN_OR_RETURN(const std::string method, reader.string_or("topk_method", "greedy"));
  if (method == "group_limited_greedy") {
    FM_RETURN_IF_ERROR(read_groups(reader, router));
  } else if (method != "greedy") {
    return reader.reject(StatusCode::kUnsupported, "topk_method",
                         "expected greedy or group_limited_greedy");
  }
  return read_deepseek(reader, router);
}

}  // namespace

const ModelFamily kDeepseekV2 = {.model_type = "deepseek_v2",
                                 .tensors = TensorTable(kSharedExpertsTensors),
                                 .read_config = read_deepseek_v2};
const ModelFamily kDeepseekV3 = {.model_type = "deepseek_v3",
                                 .also_called = "kimi_k2",
                                 .tensors = TensorTable(kSharedExpertsTensors),
                                 .read_config = read_deepseek_v3};
const ModelFamily kGlm4MoeLite = {.model_type = "glm4_moe_lite",
                                  .tensors = TensorTable(kSharedExpertsTensors),
                                  .read_config = read_deepseek_v3};

}  // namespace flashmoe
