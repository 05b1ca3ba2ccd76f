// Qwen3-Next (Qwen3-Coder-Next, Qwen3-Next-80B-A3B) and Qwen3.5-MoE (Qwen3.5 and 3.6: 35B-A3B to
// 397B-A17B; the text part of the multimodal model): gated attention in every fourth layer, Gated
// DeltaNet in the others, a MoE with one shared expert in all. They differ in how DeltaNet's inputs
// are stored. Sources: transformers models/qwen3_next/modeling_qwen3_next.py,
// models/qwen3_5_moe/modeling_qwen3_5_moe.py (whose rotary sections are equal for text).
#include <string>
#include <vector>

#include "format/printable.h"
#include "model/families/fields.h"
#include "model/families/hybrid.h"
#include "model/families/tensor_names.h"
#include "model/model_family.h"

namespace flashmoe {
namespace {

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
    {TensorId::kFeedForwardNorm, "model.layers.{layer}.post_attention_layernorm.weight",
     StoredAs::kZeroCentred},
    {TensorId::kQNorm, "model.layers.{layer}.self_attn.q_norm.weight", StoredAs::kZeroCentred},
    {TensorId::kKNorm, "model.layers.{layer}.self_attn.k_norm.weight", StoredAs::kZeroCentred},
};

/// llama.cpp's converter puts the value heads of Qwen3.5 into another order, in all tensors alike.
constexpr TensorRow kGgufTiledTensors[] = {
    kGgufPostAttentionNorm,
    {TensorId::kInProjQkv, "blk.{layer}.attn_qkv", StoredAs::kTiledHeads},
};

}  // namespace

const ModelFamily kQwen3Next = {
    .model_type = "qwen3_next",
    .tensors = TensorTable(kHybridTensors, {&kGgufPostAttentionNorm, 1}),
    .read_config = [](const ConfigReader& reader) { return read_hybrid(reader, true); },
};

const ModelFamily kQwen35Moe = {
    .model_type = "qwen3_5_moe",
    .also_called = "qwen3_5_moe_text",
    .tensors = TensorTable(kHybridTensors, kGgufTiledTensors),
    .read_config = [](const ConfigReader& reader) { return read_hybrid(reader, false); },
};

}  // namespace flashmoe
