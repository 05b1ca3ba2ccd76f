// Qwen3-Next (Qwen3-Coder-Next, Qwen3-Next-80B-A3B) and Qwen3.5-MoE (Qwen3.5 and 3.6: 35B-A3B to
// 397B-A17B; the text part of the multimodal model): gated attention in every fourth layer, Gated
// DeltaNet in the others, a MoE with one shared expert in all. They differ in how DeltaNet's inputs
// are stored. Sources: transformers models/qwen3_next/modeling_qwen3_next.py,
// models/qwen3_5_moe/modeling_qwen3_5_moe.py (whose rotary sections are equal for text).
#include <string>
#include <vector>

#include "format/printable.h"
#include "model/families/fields.h"
#include "model/model_family.h"

namespace flashmoe {
namespace {

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

/// layer_types if the config spells them out, else every full_attention_interval-th layer is full
/// attention.
Result<std::vector<bool>> read_attention_layers(const ConfigReader& reader,
                                                std::size_t layer_count) {
  FM_ASSIGN_OR_RETURN(const std::size_t interval,
                      reader.uint_or("full_attention_interval", 4, 1, 1024));
  std::vector<bool> is_full(layer_count);
  if (!reader.has("layer_types")) {
    for (std::size_t i = 0; i < layer_count; ++i) is_full[i] = (i + 1) % interval == 0;
    return is_full;
  }
  FM_ASSIGN_OR_RETURN(const std::vector<std::string> types,
                      read_layer_words(reader, "layer_types", layer_count));
  for (std::size_t i = 0; i < layer_count; ++i) {
    is_full[i] = types[i] == "full_attention" || types[i] == "attention";
    if (!is_full[i] && types[i] != "linear_attention" && types[i] != "mamba") {
      return contradiction(reader, "layer_types",
                           fmt::format("has '{}'; expected full_attention or linear_attention",
                                       printable(types[i])));
    }
  }
  return is_full;
}

Result<ModelSpec> read_hybrid(const ConfigReader& reader, bool is_grouped_by_head) {
  FM_ASSIGN_OR_RETURN(ModelSpec spec, read_model_fields(reader));
  FM_ASSIGN_OR_RETURN(const AttentionSpec attention, read_hybrid_attention(reader));
  FM_ASSIGN_OR_RETURN(DeltaNetSpec delta_net, read_delta_net(reader));
  delta_net.is_grouped_by_head = is_grouped_by_head;
  FM_ASSIGN_OR_RETURN(const MoeSpec moe, read_hybrid_experts(reader));
  FM_ASSIGN_OR_RETURN(const std::size_t layer_count, read_layer_count(reader));
  FM_ASSIGN_OR_RETURN(const std::vector<bool> is_full, read_attention_layers(reader, layer_count));
  FM_ASSIGN_OR_RETURN(const std::vector<bool> has_experts, read_sparse_layers(reader, layer_count));
  FM_ASSIGN_OR_RETURN(spec.layers, make_layers(reader, attention, moe, has_experts));
  for (std::size_t i = 0; i < layer_count; ++i) {
    if (!is_full[i]) spec.layers[i].mixer = delta_net;
  }
  return spec;
}

/// Norms add 1 to what Hugging Face checkpoints hold; the one inside DeltaNet does not.
constexpr TensorRow kHybridTensors[] = {
    {TensorId::kFinalNorm, "model.norm.weight", StoredAs::kZeroCentred},
    {TensorId::kInputNorm, "model.layers.{layer}.input_layernorm.weight", StoredAs::kZeroCentred},
    {TensorId::kPostAttentionNorm, "model.layers.{layer}.post_attention_layernorm.weight",
     StoredAs::kZeroCentred},
    {TensorId::kQNorm, "model.layers.{layer}.self_attn.q_norm.weight", StoredAs::kZeroCentred},
    {TensorId::kKNorm, "model.layers.{layer}.self_attn.k_norm.weight", StoredAs::kZeroCentred},
};

}  // namespace

const ModelFamily kQwen3Next = {
    .model_type = "qwen3_next",
    .tensors = TensorTable(kHybridTensors),
    .read_config = [](const ConfigReader& reader) { return read_hybrid(reader, true); },
};

const ModelFamily kQwen35Moe = {
    .model_type = "qwen3_5_moe",
    .also_called = "qwen3_5_moe_text",
    .tensors = TensorTable(kHybridTensors),
    .read_config = [](const ConfigReader& reader) { return read_hybrid(reader, false); },
};

}  // namespace flashmoe
