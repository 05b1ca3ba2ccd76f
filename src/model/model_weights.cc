#include "model/model_weights.h"

#include <cmath>
#include <utility>

#include "base/portable_math.h"

namespace flashmoe {
namespace {

using Shapes = std::vector<std::vector<std::uint64_t>>;

Status declare_attention(const TensorNames& names, const ModelConfig& config, std::size_t layer,
                         WeightSource& source, AttentionWeights& out) {
  const AttentionConfig& attention = config.attention;
  const std::size_t hidden = config.hidden_size;
  const std::size_t q_size = attention.num_heads * attention.head_dim;
  const std::size_t kv_size = attention.num_kv_heads * attention.head_dim;
  FM_RETURN_IF_ERROR(
      source.matrix(tensor_name(names.q_proj, layer), 2 * q_size, hidden, &out.q_proj));
  FM_RETURN_IF_ERROR(source.matrix(tensor_name(names.k_proj, layer), kv_size, hidden, &out.k_proj));
  FM_RETURN_IF_ERROR(source.matrix(tensor_name(names.v_proj, layer), kv_size, hidden, &out.v_proj));
  FM_RETURN_IF_ERROR(source.matrix(tensor_name(names.o_proj, layer), hidden, q_size, &out.o_proj));
  if (attention.has_bias) {
    const auto declare_bias = [&](std::string_view projection, std::size_t size,
                                  std::vector<float>* bias) {
      const Shapes shape = {{size}};
      return source.vector(tensor_name(projection, layer) + ".bias", shape, bias);
    };
    FM_RETURN_IF_ERROR(declare_bias(names.q_proj, 2 * q_size, &out.q_bias));
    FM_RETURN_IF_ERROR(declare_bias(names.k_proj, kv_size, &out.k_bias));
    FM_RETURN_IF_ERROR(declare_bias(names.v_proj, kv_size, &out.v_bias));
    FM_RETURN_IF_ERROR(declare_bias(names.o_proj, hidden, &out.o_bias));
  }
  const Shapes head = {{attention.head_dim}};
  FM_RETURN_IF_ERROR(source.vector(tensor_name(names.q_norm, layer), head, &out.q_norm));
  return source.vector(tensor_name(names.k_norm, layer), head, &out.k_norm);
}

Status declare_delta_net(const TensorNames& names, const ModelConfig& config, std::size_t layer,
                         WeightSource& source, DeltaNetWeights& out) {
  const DeltaNetConfig& delta = config.delta_net;
  const std::size_t hidden = config.hidden_size;
  const std::size_t qkvz_size = 2 * delta.keys_size() + 2 * delta.values_size();
  FM_RETURN_IF_ERROR(
      source.matrix(tensor_name(names.in_proj_qkvz, layer), qkvz_size, hidden, &out.in_proj_qkvz));
  FM_RETURN_IF_ERROR(source.matrix(tensor_name(names.in_proj_ba, layer), 2 * delta.value_heads,
                                   hidden, &out.in_proj_ba));
  FM_RETURN_IF_ERROR(source.matrix(tensor_name(names.out_proj, layer), hidden, delta.values_size(),
                                   &out.out_proj));
  // [channels, 1, kernel] as PyTorch has it, [channels, kernel, 1] as MLX does: the same bytes.
  const Shapes conv = {{delta.conv_channels(), 1, delta.conv_kernel},
                       {delta.conv_channels(), delta.conv_kernel, 1}};
  FM_RETURN_IF_ERROR(source.vector(tensor_name(names.conv1d, layer), conv, &out.conv));
  const Shapes per_head = {{delta.value_heads}};
  FM_RETURN_IF_ERROR(source.vector(tensor_name(names.a_log, layer), per_head, &out.neg_exp_a));
  FM_RETURN_IF_ERROR(source.vector(tensor_name(names.dt_bias, layer), per_head, &out.dt_bias));
  const Shapes norm = {{delta.value_dim}};
  return source.vector(tensor_name(names.delta_norm, layer), norm, &out.norm);
}

Status declare_mlp(const std::string& gate, const std::string& up, const std::string& down,
                   std::size_t hidden, std::size_t intermediate, WeightSource& source,
                   MlpWeights& out) {
  FM_RETURN_IF_ERROR(source.matrix(gate, intermediate, hidden, &out.gate_proj));
  FM_RETURN_IF_ERROR(source.matrix(up, intermediate, hidden, &out.up_proj));
  return source.matrix(down, hidden, intermediate, &out.down_proj);
}

Status declare_layer(const TensorNames& names, const ModelConfig& config, std::size_t layer,
                     WeightSource& source, LayerWeights& out) {
  const std::size_t hidden = config.hidden_size;
  const Shapes norm = {{hidden}};
  FM_RETURN_IF_ERROR(
      source.vector(tensor_name(names.input_layernorm, layer), norm, &out.input_layernorm));
  FM_RETURN_IF_ERROR(source.vector(tensor_name(names.post_attention_layernorm, layer), norm,
                                   &out.post_attention_layernorm));
  if (config.layers[layer].mixer == MixerKind::kFullAttention) {
    FM_RETURN_IF_ERROR(declare_attention(names, config, layer, source, out.attention));
  } else {
    FM_RETURN_IF_ERROR(declare_delta_net(names, config, layer, source, out.delta_net));
  }
  if (!config.layers[layer].is_moe) {
    return declare_mlp(
        tensor_name(names.mlp_gate_proj, layer), tensor_name(names.mlp_up_proj, layer),
        tensor_name(names.mlp_down_proj, layer), hidden, config.intermediate_size, source, out.mlp);
  }
  FM_RETURN_IF_ERROR(
      source.matrix(tensor_name(names.router, layer), config.moe.num_experts, hidden, &out.router));
  FM_RETURN_IF_ERROR(source.matrix(tensor_name(names.shared_expert_gate, layer), 1, hidden,
                                   &out.shared_expert_gate));
  return declare_mlp(tensor_name(names.shared_gate_proj, layer),
                     tensor_name(names.shared_up_proj, layer),
                     tensor_name(names.shared_down_proj, layer), hidden,
                     config.moe.shared_expert_intermediate_size, source, out.mlp);
}

void add_one_to(std::vector<float>& weight) {
  for (float& w : weight) w += 1.0f;
}

/// [channels, kernel] -> [kernel, channels], so that a tap of all channels is contiguous.
std::vector<float> tap_major(const std::vector<float>& weight, std::size_t channels,
                             std::size_t kernel) {
  std::vector<float> out(weight.size());
  for (std::size_t c = 0; c < channels; ++c) {
    for (std::size_t j = 0; j < kernel; ++j) out[j * channels + c] = weight[c * kernel + j];
  }
  return out;
}

}  // namespace

Status ModelWeights::declare(const ModelFamily& family, const ModelConfig& config,
                             WeightSource& source) {
  const TensorNames& names = family.tensors;
  const std::string embed_name(names.embed_tokens);
  FM_RETURN_IF_ERROR(
      source.matrix(embed_name, config.vocab_size, config.hidden_size, &embed_tokens));
  const Shapes norm = {{config.hidden_size}};
  FM_RETURN_IF_ERROR(source.vector(std::string(names.final_norm), norm, &final_norm));
  if (!config.tie_word_embeddings) {
    FM_RETURN_IF_ERROR(
        source.matrix(std::string(names.lm_head), config.vocab_size, config.hidden_size, &lm_head));
  }
  layers.resize(config.layers.size());
  for (std::size_t layer = 0; layer < layers.size(); ++layer) {
    FM_RETURN_IF_ERROR(declare_layer(names, config, layer, source, layers[layer]));
  }
  return Status();
}

Status ModelWeights::finish(const ModelConfig& config, bool add_one) {
  if (config.tie_word_embeddings) lm_head = embed_tokens;
  if (add_one) add_one_to(final_norm);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    LayerWeights& layer = layers[i];
    if (add_one) {
      add_one_to(layer.input_layernorm);
      add_one_to(layer.post_attention_layernorm);
      add_one_to(layer.attention.q_norm);
      add_one_to(layer.attention.k_norm);
    }
    if (config.layers[i].mixer == MixerKind::kLinearAttention) {
      DeltaNetWeights& delta = layer.delta_net;
      delta.conv =
          tap_major(delta.conv, config.delta_net.conv_channels(), config.delta_net.conv_kernel);
      for (float& a : delta.neg_exp_a) {
        if (!std::isfinite(a)) {
          return error(StatusCode::kCorrupt, "layer {}: A_log has a value that is not finite", i);
        }
        a = static_cast<float>(-portable::exp(static_cast<double>(a)));
      }
    }
  }
  return Status();
}

}  // namespace flashmoe
