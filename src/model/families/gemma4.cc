// Gemma 4 with experts (26B-A4B; the text part of the multimodal model): sliding layers and full
// ones, whose heads are of their own kind and whose values are keys; in each a dense MLP beside
// experts, with norms before and behind both. Source: transformers
// models/gemma4/modeling_gemma4.py.
#include <cmath>
#include <string>
#include <vector>

#include "model/families/fields.h"
#include "model/model_family.h"

namespace flashmoe {
namespace {

/// Models of the same names that compute otherwise. Errors: kUnsupported.
Status refuse_gemma_relatives(const ConfigReader& reader) {
  FM_ASSIGN_OR_RETURN(const bool has_experts, reader.boolean_or("enable_moe_block", false));
  if (!has_experts) {
    return reader.reject(StatusCode::kUnsupported, "enable_moe_block",
                         "of this family only the models with experts (26B-A4B) are supported");
  }
  for (const char* field : {"hidden_size_per_layer_input", "num_kv_shared_layers"}) {
    FM_ASSIGN_OR_RETURN(const std::uint64_t count, reader.uint_or(field, 0, 0, kWidthMax));
    if (count == 0) continue;
    return reader.reject(StatusCode::kUnsupported, field,
                         "what the small models of this family (E2B, E4B) have is not supported");
  }
  FM_ASSIGN_OR_RETURN(const bool is_wide, reader.boolean_or("use_double_wide_mlp", false));
  if (is_wide) {
    return reader.reject(StatusCode::kUnsupported, "use_double_wide_mlp",
                         "what the small models of this family (E2B, E4B) have is not supported");
  }
  // "vision" is of the tokens of pictures.
  const FieldNames direction = "use_bidirectional_attention";
  FM_ASSIGN_OR_RETURN(const std::string both_ways, reader.string_or(direction, "vision"));
  if (both_ways == "vision") return Status();
  return reader.reject(StatusCode::kUnsupported, direction, "texts are read forward alone");
}

/// What layers of both kinds share, with the heads of sliding ones.
Result<AttentionSpec> read_sliding(const ConfigReader& reader) {
  FM_ASSIGN_OR_RETURN(AttentionSpec attention, read_heads(reader, {.head_dim = 256}));
  attention.qk_norm = QkNorm::kHeads;
  attention.has_value_norm = true;
  attention.scale = 1;
  FM_RETURN_IF_ERROR(read_attention_bias(reader, attention));
  FM_ASSIGN_OR_RETURN(attention.window, reader.uint("sliding_window", 1, 1u << 30));
  FM_ASSIGN_OR_RETURN(attention.rope,
                      read_rope_of("sliding_attention", reader, attention.head_dim, {}));
  return attention;
}

Result<AttentionSpec> read_full(const ConfigReader& reader, AttentionSpec attention) {
  attention.window = 0;
  FM_ASSIGN_OR_RETURN(attention.head_dim,
                      reader.uint_or("global_head_dim", attention.head_dim, 2, kHeadDimMax));
  FM_ASSIGN_OR_RETURN(attention.keys_are_values, reader.boolean_or("attention_k_eq_v", false));
  if (attention.keys_are_values) {
    FM_ASSIGN_OR_RETURN(attention.num_kv_heads, reader.uint_or("num_global_key_value_heads",
                                                               attention.num_kv_heads, 1, 1024));
  }
  if (attention.num_heads % attention.num_kv_heads != 0) {
    return contradiction(reader, "num_global_key_value_heads", "must divide num_attention_heads");
  }
  if (attention.query_size() > kWidthMax) {
    return contradiction(reader, "global_head_dim", "gives heads that are too wide");
  }
  FM_ASSIGN_OR_RETURN(attention.rope, read_rope_of("full_attention", reader, attention.head_dim,
                                                   {.rope_theta = 1e6}));
  return attention;
}

/// The dense MLP is a shared expert: every row passes it, while experts are read.
Result<MoeSpec> read_gemma_experts(const ConfigReader& reader) {
  MoeSpec moe{.glu = {.kind = Glu::Kind::kGeglu}, .has_branch_norms = true};
  // Softmax over the chosen experts' logits, which is what the others' normalised weights are.
  FM_ASSIGN_OR_RETURN(moe.router, read_router_fields(reader, /*norm_topk_prob_default=*/true));
  moe.router.has_input_norm = true;
  moe.router.has_expert_scale = true;
  FM_ASSIGN_OR_RETURN(moe.intermediate_size, reader.uint("moe_intermediate_size", 1, kWidthMax));
  FM_ASSIGN_OR_RETURN(moe.shared_intermediate_size, reader.uint("intermediate_size", 1, kWidthMax));
  return moe;
}

Result<ModelSpec> read_gemma4(const ConfigReader& reader) {
  FM_RETURN_IF_ERROR(refuse_gemma_relatives(reader));
  FM_ASSIGN_OR_RETURN(ModelSpec spec, read_model_fields(reader, /*rms_norm_eps_default=*/1e-6,
                                                        "gelu_pytorch_tanh"));
  FM_ASSIGN_OR_RETURN(spec.tie_word_embeddings, reader.boolean_or("tie_word_embeddings", true));
  spec.embedding_scale = std::sqrt(static_cast<float>(spec.hidden_size));
  FM_ASSIGN_OR_RETURN(const double cap, reader.number_or("final_logit_softcapping", 0, 1e-3, 1e6));
  spec.final_logit_softcapping = static_cast<float>(cap);
  FM_ASSIGN_OR_RETURN(const AttentionSpec sliding, read_sliding(reader));
  FM_ASSIGN_OR_RETURN(const AttentionSpec full, read_full(reader, sliding));
  FM_ASSIGN_OR_RETURN(const MoeSpec moe, read_gemma_experts(reader));
  FM_ASSIGN_OR_RETURN(const std::size_t layer_count, read_layer_count(reader));
  FM_ASSIGN_OR_RETURN(const std::vector<bool> layers, read_sliding_layers(reader, layer_count));
  for (const bool is_sliding : layers) {
    spec.layers.push_back({.mixer = is_sliding ? sliding : full,
                           .feed_forward = moe,
                           .has_output_norms = true,
                           .has_scale = true});
  }
  return spec;
}

constexpr TensorRow kGemmaTensors[] = {
    {TensorId::kMixerOutNorm, "model.layers.{layer}.post_attention_layernorm.weight"},
    {TensorId::kFeedForwardNorm, "model.layers.{layer}.pre_feedforward_layernorm.weight"},
    {TensorId::kRouter, "model.layers.{layer}.router.proj"},
    {TensorId::kSharedGateProj, "model.layers.{layer}.mlp.gate_proj"},
    {TensorId::kSharedUpProj, "model.layers.{layer}.mlp.up_proj"},
    {TensorId::kSharedDownProj, "model.layers.{layer}.mlp.down_proj"},
    {TensorId::kStackedGate, "model.layers.{layer}.experts.switch_glu.gate_proj"},
    {TensorId::kStackedUp, "model.layers.{layer}.experts.switch_glu.up_proj"},
    {TensorId::kStackedDown, "model.layers.{layer}.experts.switch_glu.down_proj"},
    {TensorId::kSeparateGate, "model.layers.{layer}.experts.{expert}.gate_proj"},
    {TensorId::kSeparateUp, "model.layers.{layer}.experts.{expert}.up_proj"},
    {TensorId::kSeparateDown, "model.layers.{layer}.experts.{expert}.down_proj"},
    {TensorId::kFusedGateUp, "model.layers.{layer}.experts.gate_up_proj"},
    {TensorId::kFusedDown, "model.layers.{layer}.experts.down_proj"},
};

/// llama.cpp has gate and up rows of experts in one tensor.
constexpr TensorRow kGgufGemmaTensors[] = {
    {TensorId::kMixerOutNorm, "blk.{layer}.post_attention_norm.weight"},
    {TensorId::kFeedForwardOutNorm, "blk.{layer}.post_ffw_norm.weight"},
    {TensorId::kLayerScale, "blk.{layer}.layer_output_scale.weight"},
    {TensorId::kRouterScale, "blk.{layer}.ffn_gate_inp.scale", StoredAs::kOverRootSize},
    {TensorId::kExpertScale, "blk.{layer}.ffn_down_exps.scale"},
    {TensorId::kExpertsNorm, "blk.{layer}.pre_ffw_norm_2.weight"},
    {TensorId::kExpertsOutNorm, "blk.{layer}.post_ffw_norm_2.weight"},
    {TensorId::kSharedOutNorm, "blk.{layer}.post_ffw_norm_1.weight"},
    {TensorId::kSharedGateProj, "blk.{layer}.ffn_gate"},
    {TensorId::kSharedUpProj, "blk.{layer}.ffn_up"},
    {TensorId::kSharedDownProj, "blk.{layer}.ffn_down"},
    {TensorId::kFusedGateUp, "blk.{layer}.ffn_gate_up_exps"},
};

}  // namespace

const ModelFamily kGemma4 = {
    .model_type = "gemma4",
    .also_called = "gemma4_text",
    .tensors = TensorTable(kGemmaTensors, kGgufGemmaTensors),
    .read_config = read_gemma4,
};

}  // namespace flashmoe
