#ifndef FLASHMOE_MODEL_MODEL_CONFIG_H_
#define FLASHMOE_MODEL_MODEL_CONFIG_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace flashmoe {

/// How a layer mixes tokens.
enum class MixerKind : std::uint8_t {
  kFullAttention,   // gated grouped-query attention with a KV cache
  kLinearAttention  // Gated DeltaNet with a recurrent state
};

struct AttentionConfig {
  std::size_t num_heads = 0;
  std::size_t num_kv_heads = 0;
  std::size_t head_dim = 0;
  std::size_t rotary_dim = 0;  // the first elements of each head that rotate
  double rope_theta = 0;
  bool has_bias = false;  // q_proj, k_proj, v_proj and o_proj add one
};

struct DeltaNetConfig {
  std::size_t key_heads = 0;
  std::size_t value_heads = 0;
  std::size_t key_dim = 0;    // of one head
  std::size_t value_dim = 0;  // of one head
  std::size_t conv_kernel = 0;

  std::size_t heads_ratio() const { return value_heads / key_heads; }
  std::size_t keys_size() const { return key_heads * key_dim; }
  std::size_t values_size() const { return value_heads * value_dim; }
  std::size_t conv_channels() const { return 2 * keys_size() + values_size(); }
  std::size_t state_size() const { return value_heads * key_dim * value_dim; }
};

struct MoeConfig {
  std::size_t num_experts = 0;
  std::size_t num_experts_per_tok = 0;
  std::size_t moe_intermediate_size = 0;
  std::size_t shared_expert_intermediate_size = 0;  // 0: no shared expert
  bool norm_topk_prob = true;
};

struct LayerConfig {
  MixerKind mixer = MixerKind::kFullAttention;
  bool is_moe = true;  // else a dense MLP of intermediate_size
};

/// config.json, checked: every size is in range and consistent with the others.
struct ModelConfig {
  std::string model_type;
  std::size_t vocab_size = 0;
  std::size_t hidden_size = 0;
  std::size_t intermediate_size = 0;
  std::size_t max_position_embeddings = 0;
  float rms_norm_eps = 0;
  bool tie_word_embeddings = false;
  AttentionConfig attention;
  DeltaNetConfig delta_net;
  MoeConfig moe;
  std::vector<LayerConfig> layers;
  std::vector<std::int32_t> eos_token_ids;

  std::size_t count(MixerKind kind) const;
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_MODEL_CONFIG_H_
