// Qwen3-Next (Qwen3-Coder-Next, Qwen3-Next-80B-A3B): gated attention in every fourth layer, Gated
// DeltaNet in the others, a MoE with one shared expert in all. Source: transformers
// models/qwen3_next/modeling_qwen3_next.py.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "format/config_reader.h"
#include "format/printable.h"
#include "model/model_family.h"

namespace flashmoe {
namespace {

constexpr std::uint64_t kSizeMax = 1u << 20;

Status reject(const ConfigReader& reader, const char* field, std::string_view reason) {
  return reader.reject(StatusCode::kCorrupt, field, reason);
}

Result<AttentionConfig> read_attention(const ConfigReader& reader) {
  AttentionConfig attention;
  FM_ASSIGN_OR_RETURN(attention.num_heads, reader.uint("num_attention_heads", 1, 1024));
  FM_ASSIGN_OR_RETURN(attention.num_kv_heads, reader.uint("num_key_value_heads", 1, 1024));
  FM_ASSIGN_OR_RETURN(attention.head_dim, reader.uint_or("head_dim", 256, 2, 4096));
  FM_ASSIGN_OR_RETURN(attention.has_bias, reader.boolean_or("attention_bias", false));
  if (attention.num_heads % attention.num_kv_heads != 0) {
    return reject(reader, "num_key_value_heads", "must divide num_attention_heads");
  }
  // transformers 4 has these at the top, transformers 5 inside rope_parameters.
  FM_ASSIGN_OR_RETURN(
      attention.rope_theta,
      reader.number_or({"rope_theta", "rope_parameters.rope_theta"}, 10000.0, 1.0, 1e12));
  FM_ASSIGN_OR_RETURN(
      const double rotary_fraction,
      reader.number_or({"partial_rotary_factor", "rope_parameters.partial_rotary_factor"}, 0.25,
                       0.0, 1.0));
  const FieldNames rope_type = {"rope_scaling.rope_type", "rope_scaling.type",
                                "rope_parameters.rope_type", "rope_parameters.type"};
  FM_ASSIGN_OR_RETURN(const std::string type, reader.string_or(rope_type, "default"));
  if (type != "default") {
    return reader.reject(StatusCode::kUnsupported, rope_type,
                         "only the default rotary embedding is supported; remove rope_scaling and "
                         "keep within the original context");
  }
  const auto head_dim = static_cast<double>(attention.head_dim);
  attention.rotary_dim = static_cast<std::size_t>(head_dim * rotary_fraction);
  if (attention.rotary_dim == 0 || attention.rotary_dim % 2 != 0) {
    return reject(reader, "partial_rotary_factor",
                  "must give an even, positive number of rotary dimensions of head_dim");
  }
  return attention;
}

Result<DeltaNetConfig> read_delta_net(const ConfigReader& reader) {
  DeltaNetConfig delta;
  FM_ASSIGN_OR_RETURN(delta.key_heads, reader.uint("linear_num_key_heads", 1, 1024));
  FM_ASSIGN_OR_RETURN(delta.value_heads, reader.uint("linear_num_value_heads", 1, 1024));
  FM_ASSIGN_OR_RETURN(delta.key_dim, reader.uint("linear_key_head_dim", 1, 4096));
  FM_ASSIGN_OR_RETURN(delta.value_dim, reader.uint("linear_value_head_dim", 1, 4096));
  FM_ASSIGN_OR_RETURN(delta.conv_kernel, reader.uint("linear_conv_kernel_dim", 1, 16));
  if (delta.value_heads % delta.key_heads != 0) {
    return reject(reader, "linear_num_value_heads", "must be a multiple of linear_num_key_heads");
  }
  return delta;
}

Result<MoeConfig> read_moe(const ConfigReader& reader) {
  MoeConfig moe;
  FM_ASSIGN_OR_RETURN(moe.num_experts, reader.uint("num_experts", 1, 65535));
  FM_ASSIGN_OR_RETURN(moe.num_experts_per_tok, reader.uint("num_experts_per_tok", 1, 65535));
  FM_ASSIGN_OR_RETURN(moe.moe_intermediate_size, reader.uint("moe_intermediate_size", 1, kSizeMax));
  FM_ASSIGN_OR_RETURN(moe.shared_expert_intermediate_size,
                      reader.uint("shared_expert_intermediate_size", 1, kSizeMax));
  FM_ASSIGN_OR_RETURN(moe.norm_topk_prob, reader.boolean_or("norm_topk_prob", true));
  if (moe.num_experts_per_tok > moe.num_experts) {
    return reject(reader, "num_experts_per_tok", "must not exceed num_experts");
  }
  return moe;
}

/// layer_types if the config spells them out, else every full_attention_interval-th layer is full
/// attention.
Result<std::vector<LayerConfig>> read_layers(const ConfigReader& reader) {
  FM_ASSIGN_OR_RETURN(const std::size_t layer_count, reader.uint("num_hidden_layers", 1, 1024));
  FM_ASSIGN_OR_RETURN(const std::size_t interval,
                      reader.uint_or("full_attention_interval", 4, 1, 1024));
  FM_ASSIGN_OR_RETURN(const std::size_t sparse_step,
                      reader.uint_or("decoder_sparse_step", 1, 1, 1024));
  std::vector<std::uint64_t> dense_layers;
  if (reader.has("mlp_only_layers")) {
    FM_ASSIGN_OR_RETURN(dense_layers, reader.uint_list("mlp_only_layers", 0, layer_count - 1));
  }
  std::vector<std::string> layer_types;
  if (reader.has("layer_types")) {
    FM_ASSIGN_OR_RETURN(layer_types, reader.string_list("layer_types"));
  }
  if (!layer_types.empty() && layer_types.size() != layer_count) {
    return reject(reader, "layer_types", "must list num_hidden_layers entries");
  }
  std::vector<LayerConfig> layers(layer_count);
  for (std::size_t i = 0; i < layer_count; ++i) {
    bool is_full = (i + 1) % interval == 0;
    if (!layer_types.empty()) {
      const std::string& type = layer_types[i];
      is_full = type == "full_attention" || type == "attention";
      if (!is_full && type != "linear_attention" && type != "mamba") {
        return reject(
            reader, "layer_types",
            fmt::format("has '{}'; expected full_attention or linear_attention", printable(type)));
      }
    }
    layers[i].mixer = is_full ? MixerKind::kFullAttention : MixerKind::kLinearAttention;
    layers[i].is_moe = (i + 1) % sparse_step == 0;
  }
  for (const std::uint64_t dense : dense_layers) layers[dense].is_moe = false;
  return layers;
}

/// What either file calls an end of text: one id or a list. A generation_config.json that names
/// fewer than config.json is more often incomplete than meant so.
Result<std::vector<std::int32_t>> read_eos_token_ids(const Checkpoint& checkpoint,
                                                     std::size_t vocab_size) {
  std::vector<std::int32_t> all;
  for (const ConfigReader& reader :
       {checkpoint.generation_config_reader(), checkpoint.config_reader()}) {
    if (!reader.has("eos_token_id")) continue;
    FM_ASSIGN_OR_RETURN(const std::vector<std::uint64_t> ids,
                        reader.uint_list("eos_token_id", 0, vocab_size - 1));
    for (const std::uint64_t id : ids) {
      const auto token = static_cast<std::int32_t>(id);
      if (std::find(all.begin(), all.end(), token) == all.end()) all.push_back(token);
    }
  }
  return all;
}

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
  const ConfigReader reader = checkpoint.config_reader();
  ModelConfig config;
  FM_ASSIGN_OR_RETURN(config.model_type, reader.string("model_type"));
  FM_ASSIGN_OR_RETURN(config.vocab_size, reader.uint("vocab_size", 1, 1u << 24));
  FM_ASSIGN_OR_RETURN(config.hidden_size, reader.uint("hidden_size", 1, kSizeMax));
  FM_ASSIGN_OR_RETURN(config.max_position_embeddings,
                      reader.uint_or("max_position_embeddings", 32768, 1, 1u << 30));
  FM_ASSIGN_OR_RETURN(const double eps, reader.number_or("rms_norm_eps", 1e-6, 0.0, 1.0));
  config.rms_norm_eps = static_cast<float>(eps);
  FM_ASSIGN_OR_RETURN(config.tie_word_embeddings, reader.boolean_or("tie_word_embeddings", false));
  FM_ASSIGN_OR_RETURN(const std::string act, reader.string_or("hidden_act", "silu"));
  if (act != "silu")
    return reader.reject(StatusCode::kUnsupported, "hidden_act", "only silu is supported");
  FM_ASSIGN_OR_RETURN(config.attention, read_attention(reader));
  FM_ASSIGN_OR_RETURN(config.delta_net, read_delta_net(reader));
  FM_ASSIGN_OR_RETURN(config.moe, read_moe(reader));
  FM_ASSIGN_OR_RETURN(config.layers, read_layers(reader));
  FM_ASSIGN_OR_RETURN(config.intermediate_size,
                      reader.uint_or("intermediate_size", 0, 0, kSizeMax));
  for (const LayerConfig& layer : config.layers) {
    if (!layer.is_moe && config.intermediate_size == 0) {
      return reject(reader, "intermediate_size", "is needed for the layers without experts");
    }
  }
  FM_ASSIGN_OR_RETURN(config.eos_token_ids, read_eos_token_ids(checkpoint, config.vocab_size));
  return config;
}

}  // namespace

const ModelFamily kQwen3Next = {
    .model_type = "qwen3_next",
    .norms_are_zero_centred = true,
    .tensors =
        {
            .embed_tokens = "model.embed_tokens",
            .final_norm = "model.norm.weight",
            .lm_head = "lm_head",
            .input_layernorm = "model.layers.{layer}.input_layernorm.weight",
            .post_attention_layernorm = "model.layers.{layer}.post_attention_layernorm.weight",
            .q_proj = "model.layers.{layer}.self_attn.q_proj",
            .k_proj = "model.layers.{layer}.self_attn.k_proj",
            .v_proj = "model.layers.{layer}.self_attn.v_proj",
            .o_proj = "model.layers.{layer}.self_attn.o_proj",
            .q_norm = "model.layers.{layer}.self_attn.q_norm.weight",
            .k_norm = "model.layers.{layer}.self_attn.k_norm.weight",
            .in_proj_qkvz = "model.layers.{layer}.linear_attn.in_proj_qkvz",
            .in_proj_ba = "model.layers.{layer}.linear_attn.in_proj_ba",
            .conv1d = "model.layers.{layer}.linear_attn.conv1d.weight",
            .a_log = "model.layers.{layer}.linear_attn.A_log",
            .dt_bias = "model.layers.{layer}.linear_attn.dt_bias",
            .delta_norm = "model.layers.{layer}.linear_attn.norm.weight",
            .out_proj = "model.layers.{layer}.linear_attn.out_proj",
            .router = "model.layers.{layer}.mlp.gate",
            .shared_gate_proj = "model.layers.{layer}.mlp.shared_expert.gate_proj",
            .shared_up_proj = "model.layers.{layer}.mlp.shared_expert.up_proj",
            .shared_down_proj = "model.layers.{layer}.mlp.shared_expert.down_proj",
            .shared_expert_gate = "model.layers.{layer}.mlp.shared_expert_gate",
            .stacked_experts = "model.layers.{layer}.mlp.switch_mlp",
            .separate_experts = "model.layers.{layer}.mlp.experts.{expert}",
            .fused_gate_up = "model.layers.{layer}.mlp.experts.gate_up_proj",
            .fused_down = "model.layers.{layer}.mlp.experts.down_proj",
            .mlp_gate_proj = "model.layers.{layer}.mlp.gate_proj",
            .mlp_up_proj = "model.layers.{layer}.mlp.up_proj",
            .mlp_down_proj = "model.layers.{layer}.mlp.down_proj",
        },
    .read_config = read_config,
};

}  // namespace flashmoe
