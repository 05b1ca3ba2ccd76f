// GGUF's keys in config.json's words: the one place that knows both. Sources: llama.cpp's
// gguf-py/gguf/constants.py and src/llama-model.cpp, and the config.json of each family.
#include "format/gguf_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "format/printable.h"

namespace flashmoe {
namespace {

using nlohmann::json;

/// How a key's value is read.
enum class KeyKind : std::uint8_t { kUint, kNumber, kBool };

/// "{architecture}.{key}" and config.json's word for it.
struct KeyRow {
  std::string_view key;
  const char* word;
  KeyKind kind = KeyKind::kUint;
  bool is_required = false;
};

/// What all architectures share; a family's reader leaves alone what it does not know.
constexpr KeyRow kCommonKeys[] = {
    {"context_length", "max_position_embeddings"},
    {"embedding_length", "hidden_size", KeyKind::kUint, true},
    {"attention.head_count", "num_attention_heads", KeyKind::kUint, true},
    {"attention.layer_norm_rms_epsilon", "rms_norm_eps", KeyKind::kNumber, true},
    {"rope.freq_base", "rope_theta", KeyKind::kNumber},
    {"expert_used_count", "num_experts_per_tok"},
    {"expert_feed_forward_length", "moe_intermediate_size"},
    {"expert_shared_feed_forward_length", "shared_expert_intermediate_size"},
    {"expert_shared_count", "n_shared_experts"},
    {"expert_weights_norm", "norm_topk_prob", KeyKind::kBool},
    {"leading_dense_block_count", "first_k_dense_replace"},
    {"full_attention_interval", "full_attention_interval"},
    {"ssm.conv_kernel", "linear_conv_kernel_dim"},
    {"ssm.state_size", "linear_key_head_dim"},
    {"ssm.group_count", "linear_num_key_heads"},
    {"ssm.time_step_rank", "linear_num_value_heads"},
};

/// llama.cpp's numbers of router scores.
constexpr std::uint64_t kSoftmaxScores = 1;
constexpr std::uint64_t kSigmoidScores = 2;

/// An architecture, and what its files leave unsaid since llama.cpp's code knows it.
struct Architecture {
  std::string_view name;
  const char* model_type;
  std::uint64_t scores = kSoftmaxScores;
  std::optional<bool> norm_topk_prob = std::nullopt;
  /// The width of experts is config.json's intermediate_size.
  bool experts_are_plain = false;
};

constexpr Architecture kArchitectures[] = {
    {.name = "qwen3moe", .model_type = "qwen3_moe", .norm_topk_prob = true},
    {.name = "qwen3next", .model_type = "qwen3_next", .norm_topk_prob = true},
    {.name = "qwen35moe", .model_type = "qwen3_5_moe", .norm_topk_prob = true},
    {.name = "qwen2moe", .model_type = "qwen2_moe", .norm_topk_prob = false},
    {.name = "llama", .model_type = "llama"},  // mixtral where there are experts
    {.name = "olmoe", .model_type = "olmoe", .norm_topk_prob = false, .experts_are_plain = true},
    {.name = "deepseek2", .model_type = "deepseek_v2"},  // deepseek_v3 by its scores
    {.name = "glm4moe", .model_type = "glm4_moe", .scores = kSigmoidScores},
    {.name = "minimax-m2",
     .model_type = "minimax_m2",
     .scores = kSigmoidScores,
     .norm_topk_prob = true,
     .experts_are_plain = true},
    {.name = "gpt-oss", .model_type = "gpt_oss", .norm_topk_prob = true, .experts_are_plain = true},
    {.name = "qwen3", .model_type = "qwen3"},
};

/// Says it in config.json's words, key by key.
class ConfigTranslator {
 public:
  ConfigTranslator(const GgufMetadata& metadata, const ModelPackage::Tensors& tensors,
                   std::span<const float> rope_freqs, const Architecture& architecture)
      : metadata_(metadata),
        tensors_(tensors),
        rope_freqs_(rope_freqs),
        architecture_(architecture) {}

  Result<json> translate() {
    config_["model_type"] = architecture_.model_type;
    for (const KeyRow& row : kCommonKeys) FM_RETURN_IF_ERROR(copy(row));
    FM_RETURN_IF_ERROR(read_vocabulary());
    FM_RETURN_IF_ERROR(read_layer_count());
    FM_RETURN_IF_ERROR(read_widths());
    FM_RETURN_IF_ERROR(read_heads());
    FM_RETURN_IF_ERROR(read_rope_scaling());
    FM_RETURN_IF_ERROR(read_router());
    FM_RETURN_IF_ERROR(read_delta_net());
    config_["tie_word_embeddings"] = !has_tensor("output.weight");
    config_["attention_bias"] = has_first_layer_tensor("attn_q.bias");
    config_["use_qk_norm"] = has_first_layer_tensor("attn_q_norm.weight");
    if (architecture_.name == "deepseek2") FM_RETURN_IF_ERROR(read_latent_attention());
    return std::move(config_);
  }

 private:
  std::string key_of(std::string_view suffix) const {
    return fmt::format("{}.{}", architecture_.name, suffix);
  }
  Result<std::optional<std::uint64_t>> uint(std::string_view suffix) const {
    return metadata_.uint(key_of(suffix));
  }
  Result<std::optional<double>> number(std::string_view suffix) const {
    return metadata_.number(key_of(suffix));
  }
  /// 0 where the key is absent.
  Result<std::uint64_t> uint_or_none(std::string_view suffix) const {
    FM_ASSIGN_OR_RETURN(const auto value, uint(suffix));
    return value.value_or(0);
  }
  Status reject(StatusCode code, std::string_view suffix, std::string_view reason) const {
    return metadata_.reject(code, key_of(suffix), reason);
  }
  Status missing(std::string_view suffix) const {
    return reject(StatusCode::kNotFound, suffix, "is absent; use a newer conversion of the model");
  }
  bool has_tensor(std::string_view name) const { return tensors_.contains(name); }
  bool has_first_layer_tensor(std::string_view suffix) const {
    return has_tensor(fmt::format("blk.0.{}", suffix));
  }

  Status copy(const KeyRow& row) {
    switch (row.kind) {
      case KeyKind::kUint: {
        FM_ASSIGN_OR_RETURN(const auto value, uint(row.key));
        if (value) config_[row.word] = *value;
        break;
      }
      case KeyKind::kNumber: {
        FM_ASSIGN_OR_RETURN(const auto value, number(row.key));
        if (value) config_[row.word] = *value;
        break;
      }
      case KeyKind::kBool: {
        FM_ASSIGN_OR_RETURN(const auto value, metadata_.boolean(key_of(row.key)));
        if (value) config_[row.word] = *value;
        break;
      }
    }
    return row.is_required && !config_.contains(row.word) ? missing(row.key) : Status();
  }

  /// The embedding's rows count, which may be more than the tokenizer's.
  Status read_vocabulary() {
    const auto embedding = tensors_.find("token_embd.weight");
    if (embedding == tensors_.end() || embedding->second.shape.size() != 2) {
      return error(StatusCode::kCorrupt,
                   "{}: tensor token_embd.weight is absent or no matrix; the file holds no whole "
                   "model, download it again",
                   metadata_.file());
    }
    config_["vocab_size"] = embedding->second.shape.front();
    return Status();
  }

  /// The layers that predict further tokens come last, and are left out.
  Status read_layer_count() {
    FM_ASSIGN_OR_RETURN(const auto count, uint("block_count"));
    if (!count) return missing("block_count");
    FM_ASSIGN_OR_RETURN(const std::uint64_t predicting, uint_or_none("nextn_predict_layers"));
    if (predicting >= *count) {
      return reject(StatusCode::kCorrupt, "nextn_predict_layers",
                    "must be fewer than block_count; download the file again");
    }
    layer_count_ = *count - predicting;
    config_["num_hidden_layers"] = layer_count_;
    return Status();
  }

  /// The rows of the first layer's tensor of that name, 0 without one.
  std::uint64_t rows_of(std::string_view suffix) const {
    // A model has fewer layers than tensors, whatever its header says.
    const std::uint64_t layers = std::min<std::uint64_t>(layer_count_, tensors_.size());
    for (std::uint64_t layer = 0; layer < layers; ++layer) {
      const auto tensor = tensors_.find(fmt::format("blk.{}.{}", layer, suffix));
      if (tensor == tensors_.end() || tensor->second.shape.size() < 2) continue;
      return tensor->second.shape[tensor->second.shape.size() - 2];
    }
    return 0;
  }

  Status read_widths() {
    FM_ASSIGN_OR_RETURN(const std::vector<std::uint64_t> widths,
                        metadata_.uints(key_of("feed_forward_length")));
    if (!widths.empty()) {
      if (std::adjacent_find(widths.begin(), widths.end(), std::not_equal_to<>()) != widths.end()) {
        return reject(StatusCode::kUnsupported, "feed_forward_length",
                      "differs from layer to layer, which is not supported");
      }
      config_["intermediate_size"] = widths.front();
    }
    // Early conversions leave these to the tensors.
    const std::pair<const char*, const char*> from_tensors[] = {
        {"moe_intermediate_size", "ffn_gate_exps.weight"},
        {"shared_expert_intermediate_size", "ffn_gate_shexp.weight"}};
    for (const auto& [word, tensor] : from_tensors) {
      const std::uint64_t rows = rows_of(tensor);
      if (!config_.contains(word) && rows != 0) config_[word] = rows;
    }
    if (architecture_.experts_are_plain && config_.contains("moe_intermediate_size")) {
      config_["intermediate_size"] = config_["moe_intermediate_size"];
    }
    return Status();
  }

  Status read_heads() {
    FM_ASSIGN_OR_RETURN(const std::vector<std::uint64_t> kv_heads,
                        metadata_.uints(key_of("attention.head_count_kv")));
    // Hybrid models may write 0 for their layers without attention.
    std::uint64_t kv_head_count = 0;
    for (const std::uint64_t count : kv_heads) {
      if (kv_head_count == 0) kv_head_count = count;
      if (count == 0 || count == kv_head_count) continue;
      return reject(StatusCode::kUnsupported, "attention.head_count_kv",
                    "differs from layer to layer, which is not supported");
    }
    config_["num_key_value_heads"] =
        kv_head_count != 0 ? json(kv_head_count) : config_["num_attention_heads"];

    FM_ASSIGN_OR_RETURN(const auto key_length, uint("attention.key_length"));
    FM_ASSIGN_OR_RETURN(const auto value_length, uint("attention.value_length"));
    if (key_length) config_["head_dim"] = *key_length;
    const bool is_latent = architecture_.name == "deepseek2";
    if (!is_latent && key_length && value_length && *key_length != *value_length) {
      return reject(StatusCode::kUnsupported, "attention.value_length",
                    "differs from attention.key_length, which is not supported");
    }
    FM_ASSIGN_OR_RETURN(const std::uint64_t window, uint_or_none("attention.sliding_window"));
    if (window != 0) config_["sliding_window"] = window;
    FM_ASSIGN_OR_RETURN(const auto rotated, uint("rope.dimension_count"));
    return rotated && !is_latent ? read_rotary_fraction(*rotated) : Status();
  }

  /// The part of each head that rotates.
  Status read_rotary_fraction(std::uint64_t rotated) {
    const std::uint64_t heads = config_["num_attention_heads"].get<std::uint64_t>();
    const std::uint64_t hidden = config_["hidden_size"].get<std::uint64_t>();
    const std::uint64_t head_dim = config_.contains("head_dim")
                                       ? config_["head_dim"].get<std::uint64_t>()
                                       : hidden / std::max<std::uint64_t>(heads, 1);
    if (rotated == 0 || rotated > head_dim) {
      return reject(
          StatusCode::kCorrupt, "rope.dimension_count",
          fmt::format("is {}; heads have {}; download the file again", rotated, head_dim));
    }
    // A little more where the quotient is rounded down: readers multiply and cut off.
    double fraction = static_cast<double>(rotated) / static_cast<double>(head_dim);
    if (static_cast<double>(head_dim) * fraction < static_cast<double>(rotated)) {
      fraction = std::nextafter(fraction, 1.0);
    }
    config_["partial_rotary_factor"] = fraction;
    config_["rotary_dim"] = rotated;
    return Status();
  }

  Status read_rope_scaling() {
    FM_ASSIGN_OR_RETURN(const auto type, metadata_.string(key_of("rope.scaling.type")));
    const bool is_scaled = type && *type != "none";
    // Llama 3.1 and later: each pair has a divisor of its own.
    const bool is_by_pairs = !rope_freqs_.empty();
    if (has_first_layer_tensor("rope_freqs.weight") ||
        (is_by_pairs && (is_scaled || architecture_.name != "llama"))) {
      return error(StatusCode::kUnsupported,
                   "{}: tensor rope_freqs.weight scales the rotary embedding, which is supported "
                   "for architecture llama, once for all layers and without rope.scaling.type; use "
                   "the model's safetensors",
                   metadata_.file());
    }
    if (is_by_pairs)
      config_["rope_scaling"] = {{"rope_type", "divisors"}, {"divisors", rope_freqs_}};
    if (!is_scaled) return Status();
    json scaling = {{"rope_type", *type}};
    const std::pair<const char*, const char*> fields[] = {
        {"rope.scaling.factor", "factor"},
        {"rope.scaling.original_context_length", "original_max_position_embeddings"},
        {"rope.scaling.yarn_beta_fast", "beta_fast"},
        {"rope.scaling.yarn_beta_slow", "beta_slow"}};
    for (const auto& [key, word] : fields) {
      FM_ASSIGN_OR_RETURN(const auto value, number(key));
      if (value) scaling[word] = *value;
    }
    // No key says so, but the published models are of this kind.
    if (architecture_.name == "gpt-oss") scaling["truncate"] = false;
    // 0.1 * mscale_all_dim, which published models have equal to mscale.
    FM_ASSIGN_OR_RETURN(const auto multiplier, number("rope.scaling.yarn_log_multiplier"));
    if (multiplier && *multiplier != 0) {
      const double mscale = std::round(*multiplier * 1e7) / 1e6;
      scaling["mscale"] = mscale;
      scaling["mscale_all_dim"] = mscale;
    }
    FM_ASSIGN_OR_RETURN(const auto attention, number("rope.scaling.attn_factor"));
    if (attention && *attention != 1) {
      return reject(StatusCode::kUnsupported, "rope.scaling.attn_factor",
                    "only 1 is supported; use the model's safetensors");
    }
    config_["rope_scaling"] = std::move(scaling);
    return Status();
  }

  Status read_router() {
    FM_ASSIGN_OR_RETURN(const std::uint64_t experts, uint_or_none("expert_count"));
    if (experts == 0) return Status();
    config_["num_experts"] = experts;
    if (architecture_.name == "llama") config_["model_type"] = "mixtral";
    if (architecture_.norm_topk_prob && !config_.contains("norm_topk_prob")) {
      config_["norm_topk_prob"] = *architecture_.norm_topk_prob;
    }
    FM_ASSIGN_OR_RETURN(const auto scale, number("expert_weights_scale"));
    if (scale && *scale != 0) config_["routed_scaling_factor"] = *scale;
    FM_ASSIGN_OR_RETURN(const std::uint64_t groups, uint_or_none("expert_group_count"));
    FM_ASSIGN_OR_RETURN(const std::uint64_t used, uint_or_none("expert_group_used_count"));
    if (groups > 1) set_groups(groups, used);
    FM_ASSIGN_OR_RETURN(const std::uint64_t scores, uint_or_none("expert_gating_func"));
    if (architecture_.name == "deepseek2") {
      FM_RETURN_IF_ERROR(read_deepseek_version(scores));
      if (groups == 0) set_published_groups(experts);
      return Status();
    }
    if (scores == 0 || scores == architecture_.scores) return Status();
    return reject(
        StatusCode::kUnsupported, "expert_gating_func",
        fmt::format("is {}; this architecture is supported with {}", scores, architecture_.scores));
  }

  void set_groups(std::uint64_t groups, std::uint64_t used) {
    config_["n_group"] = groups;
    config_["topk_group"] = used;
    config_["topk_method"] = "group_limited_greedy";
  }

  /// Early conversions leave out the groups of DeepSeek-V2 and V3, which llama.cpp did without:
  /// those of the published models, by their number of experts.
  void set_published_groups(std::uint64_t experts) {
    if (config_["model_type"] == "deepseek_v2" && experts == 160) set_groups(8, 3);
    if (config_["model_type"] == "deepseek_v3" && experts == 256) set_groups(8, 4);
  }

  /// DeepSeek-V2, V3 and GLM-4.7-Flash are one architecture to llama.cpp.
  Status read_deepseek_version(std::uint64_t scores) {
    constexpr std::uint64_t kGlmVocabulary = 154880;
    const bool is_glm =
        (layer_count_ == 47 || layer_count_ == 48) && config_["vocab_size"] == kGlmVocabulary;
    if (scores == 0) scores = is_glm ? kSigmoidScores : kSoftmaxScores;
    if (scores == kSigmoidScores) {
      config_["model_type"] = is_glm ? "glm4_moe_lite" : "deepseek_v3";
      return Status();
    }
    if (scores == kSoftmaxScores) return Status();
    return reject(StatusCode::kUnsupported, "expert_gating_func",
                  "expected 1 (softmax) or 2 (sigmoid)");
  }

  /// Keys and values of the compressed cache have lengths of their own, without `_mla`; early
  /// conversions had the heads' there.
  Status read_latent_attention() {
    FM_ASSIGN_OR_RETURN(const std::uint64_t q_rank, uint_or_none("attention.q_lora_rank"));
    if (q_rank != 0) config_["q_lora_rank"] = q_rank;
    FM_ASSIGN_OR_RETURN(const auto kv_rank, uint("attention.kv_lora_rank"));
    if (!kv_rank) return missing("attention.kv_lora_rank");
    config_["kv_lora_rank"] = *kv_rank;
    FM_ASSIGN_OR_RETURN(const auto rotated, uint("rope.dimension_count"));
    if (!rotated) return missing("rope.dimension_count");
    config_["qk_rope_head_dim"] = *rotated;

    const bool is_early = !metadata_.has(key_of("attention.key_length_mla"));
    const auto name = [is_early](std::string_view base) {
      return fmt::format("attention.{}{}", base, is_early ? "" : "_mla");
    };
    FM_ASSIGN_OR_RETURN(const auto key_length, uint(name("key_length")));
    FM_ASSIGN_OR_RETURN(const auto value_length, uint(name("value_length")));
    if (!key_length) return missing(name("key_length"));
    if (!value_length) return missing(name("value_length"));
    if (*key_length <= *rotated) {
      return reject(StatusCode::kCorrupt, name("key_length"),
                    "must exceed rope.dimension_count; download the file again");
    }
    config_["qk_nope_head_dim"] = *key_length - *rotated;
    config_["v_head_dim"] = *value_length;
    return Status();
  }

  Status read_delta_net() {
    FM_ASSIGN_OR_RETURN(const auto inner, uint("ssm.inner_size"));
    if (!inner) return Status();
    FM_ASSIGN_OR_RETURN(const std::uint64_t heads, uint_or_none("ssm.time_step_rank"));
    if (heads == 0 || *inner % heads != 0) {
      return reject(StatusCode::kCorrupt, "ssm.inner_size",
                    "must be a multiple of ssm.time_step_rank; download the file again");
    }
    config_["linear_value_head_dim"] = *inner / heads;
    FM_ASSIGN_OR_RETURN(const std::vector<std::uint64_t> recurrent,
                        metadata_.uints(key_of("attention.recurrent_layers")));
    if (recurrent.empty()) return Status();
    if (recurrent.size() < layer_count_) {
      return reject(StatusCode::kCorrupt, "attention.recurrent_layers",
                    "must have a value for each layer; download the file again");
    }
    json types = json::array();
    for (std::uint64_t i = 0; i < layer_count_; ++i) {
      types.push_back(recurrent[i] != 0 ? "linear_attention" : "full_attention");
    }
    config_["layer_types"] = std::move(types);
    return Status();
  }

  const GgufMetadata& metadata_;
  const ModelPackage::Tensors& tensors_;
  const std::span<const float> rope_freqs_;
  const Architecture& architecture_;
  std::uint64_t layer_count_ = 0;
  json config_ = json::object();
};

}  // namespace

Result<json> read_gguf_config(const GgufMetadata& metadata, const ModelPackage::Tensors& tensors,
                              std::span<const float> rope_freqs) {
  constexpr std::string_view kKey = "general.architecture";
  FM_ASSIGN_OR_RETURN(const auto name, metadata.string(kKey));
  if (!name) {
    return metadata.reject(StatusCode::kCorrupt, kKey, "is absent; download the file again");
  }
  std::string supported;
  for (const Architecture& architecture : kArchitectures) {
    if (architecture.name == *name) {
      return ConfigTranslator(metadata, tensors, rope_freqs, architecture).translate();
    }
    supported += fmt::format("{}{}", supported.empty() ? "" : ", ", architecture.name);
  }
  return metadata.reject(StatusCode::kUnsupported, kKey,
                         fmt::format("'{}' is not supported; of GGUF files this build runs: {}",
                                     printable(*name), supported));
}

Result<json> read_gguf_generation_config(const GgufMetadata& metadata) {
  json config = json::object();
  const std::pair<const char*, const char*> sampling[] = {{"temp", "temperature"},
                                                          {"top_k", "top_k"},
                                                          {"top_p", "top_p"},
                                                          {"min_p", "min_p"},
                                                          {"penalty_repeat", "repetition_penalty"}};
  for (const auto& [key, word] : sampling) {
    FM_ASSIGN_OR_RETURN(const auto value, metadata.number(fmt::format("general.sampling.{}", key)));
    if (!value) continue;
    const bool is_whole = *value == std::floor(*value) && std::abs(*value) < 1e15;
    config[word] = is_whole ? json(static_cast<std::int64_t>(*value)) : json(*value);
  }
  config["do_sample"] = config.contains("temperature");
  FM_ASSIGN_OR_RETURN(const std::vector<std::uint64_t> ends, metadata.end_token_ids());
  if (!ends.empty()) config["eos_token_id"] = ends;
  return config;
}

}  // namespace flashmoe
