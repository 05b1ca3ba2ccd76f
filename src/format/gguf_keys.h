#ifndef FLASHMOE_FORMAT_GGUF_KEYS_H_
#define FLASHMOE_FORMAT_GGUF_KEYS_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace flashmoe {

// GGUF's keys and config.json's words for them, for reading (gguf_config.cc) and for writing
// (gguf_config_writer.cc). Sources: llama.cpp's gguf-py/gguf/constants.py and src/llama-model.cpp,
// and the config.json of each family.

/// How a key's value is read.
enum class KeyKind : std::uint8_t { kUint, kNumber, kBool };

/// "{architecture}.{key}" and config.json's word for it.
struct KeyRow {
  std::string_view key;
  const char* word;
  KeyKind kind = KeyKind::kUint;
  bool is_required = false;
  bool zero_is_none = false;  // a value of 0 counts as no value
};

/// What all architectures share; a family's reader leaves alone what it does not know.
inline constexpr KeyRow kCommonKeys[] = {
    {"context_length", "max_position_embeddings"},
    {"embedding_length", "hidden_size", KeyKind::kUint, true},
    {"attention.head_count", "num_attention_heads", KeyKind::kUint, true},
    {"attention.layer_norm_rms_epsilon", "rms_norm_eps", KeyKind::kNumber, true},
    {"attention.sliding_window", "sliding_window", KeyKind::kUint, false, true},
    {"rope.freq_base", "rope_theta", KeyKind::kNumber},
    {"expert_used_count", "num_experts_per_tok"},
    {"expert_feed_forward_length", "moe_intermediate_size"},
    {"expert_shared_feed_forward_length", "shared_expert_intermediate_size"},
    {"expert_shared_count", "n_shared_experts"},
    {"expert_weights_norm", "norm_topk_prob", KeyKind::kBool},
    {"expert_weights_scale", "routed_scaling_factor", KeyKind::kNumber, false, true},
    {"leading_dense_block_count", "first_k_dense_replace"},
    {"full_attention_interval", "full_attention_interval"},
    {"ssm.conv_kernel", "linear_conv_kernel_dim"},
    {"ssm.state_size", "linear_key_head_dim"},
    {"ssm.group_count", "linear_num_key_heads"},
    {"ssm.time_step_rank", "linear_num_value_heads"},
    {"final_logit_softcapping", "final_logit_softcapping", KeyKind::kNumber, false, true},
    {"embedding_length_per_layer_input", "hidden_size_per_layer_input"},
    {"attention.shared_kv_layers", "num_kv_shared_layers"},
};

/// The fields of a scaled rotary embedding.
inline constexpr std::array<KeyRow, 4> kRopeScalingKeys = {{
    {"rope.scaling.factor", "factor", KeyKind::kNumber},
    {"rope.scaling.original_context_length", "original_max_position_embeddings"},
    {"rope.scaling.yarn_beta_fast", "beta_fast", KeyKind::kNumber},
    {"rope.scaling.yarn_beta_slow", "beta_slow", KeyKind::kNumber},
}};

/// Keys whose meaning depends on others.
namespace gguf_key {
inline constexpr std::string_view kArchitecture = "general.architecture";
inline constexpr std::string_view kBlockCount = "block_count";
inline constexpr std::string_view kFeedForwardLength = "feed_forward_length";
inline constexpr std::string_view kHeadCountKv = "attention.head_count_kv";
inline constexpr std::string_view kKeyLength = "attention.key_length";
inline constexpr std::string_view kValueLength = "attention.value_length";
inline constexpr std::string_view kKeyLengthMla = "attention.key_length_mla";
inline constexpr std::string_view kValueLengthMla = "attention.value_length_mla";
inline constexpr std::string_view kQLoraRank = "attention.q_lora_rank";
inline constexpr std::string_view kKvLoraRank = "attention.kv_lora_rank";
inline constexpr std::string_view kRopeDimensions = "rope.dimension_count";
inline constexpr std::string_view kRopeScalingType = "rope.scaling.type";
/// 0.1 * mscale_all_dim, which published models have equal to mscale.
inline constexpr std::string_view kYarnLogMultiplier = "rope.scaling.yarn_log_multiplier";
inline constexpr std::string_view kExpertCount = "expert_count";
inline constexpr std::string_view kExpertGroupCount = "expert_group_count";
inline constexpr std::string_view kExpertGroupUsedCount = "expert_group_used_count";
inline constexpr std::string_view kExpertGatingFunc = "expert_gating_func";
inline constexpr std::string_view kSsmInnerSize = "ssm.inner_size";
inline constexpr std::string_view kRecurrentLayers = "attention.recurrent_layers";
// Of models whose sliding layers have heads of their own kind.
inline constexpr std::string_view kSlidingPattern = "attention.sliding_window_pattern";
inline constexpr std::string_view kKeyLengthSwa = "attention.key_length_swa";
inline constexpr std::string_view kValueLengthSwa = "attention.value_length_swa";
inline constexpr std::string_view kRopeDimensionsSwa = "rope.dimension_count_swa";
inline constexpr std::string_view kRopeFreqBaseSwa = "rope.freq_base_swa";
}  // namespace gguf_key

/// The tensor that divides the frequencies of the rotary embedding, pair by pair.
inline constexpr std::string_view kRopeFreqsTensor = "rope_freqs.weight";
/// What stands there for pairs that do not rotate.
inline constexpr float kRopeFreqsUnrotated = 1e30f;

/// llama.cpp's numbers of router scores.
inline constexpr std::uint64_t kSoftmaxScores = 1;
inline constexpr std::uint64_t kSigmoidScores = 2;

/// An architecture, and what its files leave unsaid since llama.cpp's code knows it.
struct GgufArchitecture {
  std::string_view name;
  std::string_view model_type;
  /// Others of the same architecture, which other values tell apart.
  std::array<std::string_view, 2> relatives = {};
  std::uint64_t scores = kSoftmaxScores;  // of model_type
  std::optional<bool> norm_topk_prob = std::nullopt;
  /// The width of experts is config.json's intermediate_size.
  bool experts_are_plain = false;
  bool has_latent_attention = false;
  bool has_sliding_heads = false;  // sliding layers have heads of their own kind
  bool has_rope_sections = false;  // of pictures; equal for text, but llama.cpp wants them
};

inline constexpr GgufArchitecture kGgufArchitectures[] = {
    {.name = "qwen3moe", .model_type = "qwen3_moe", .norm_topk_prob = true},
    {.name = "qwen3next", .model_type = "qwen3_next", .norm_topk_prob = true},
    {.name = "qwen35moe",
     .model_type = "qwen3_5_moe",
     .norm_topk_prob = true,
     .has_rope_sections = true},
    {.name = "qwen2moe", .model_type = "qwen2_moe", .norm_topk_prob = false},
    {.name = "llama", .model_type = "llama", .relatives = {"mixtral"}},  // that has experts
    {.name = "olmoe", .model_type = "olmoe", .norm_topk_prob = false, .experts_are_plain = true},
    {.name = "deepseek2",
     .model_type = "deepseek_v2",
     .relatives = {"deepseek_v3", "glm4_moe_lite"},  // whose scores are sigmoids
     .has_latent_attention = true},
    {.name = "glm4moe", .model_type = "glm4_moe", .scores = kSigmoidScores},
    {.name = "minimax-m2",
     .model_type = "minimax_m2",
     .scores = kSigmoidScores,
     .norm_topk_prob = true,
     .experts_are_plain = true},
    {.name = "gpt-oss", .model_type = "gpt_oss", .norm_topk_prob = true, .experts_are_plain = true},
    {.name = "gemma4", .model_type = "gemma4", .norm_topk_prob = true, .has_sliding_heads = true},
    {.name = "qwen3", .model_type = "qwen3"},
};

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_GGUF_KEYS_H_
