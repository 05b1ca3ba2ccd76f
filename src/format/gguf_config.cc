#include "format/gguf_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "format/gguf_keys.h"
#include "format/printable.h"

namespace flashmoe {
namespace {

using nlohmann::json;

/// Says it in config.json's words, key by key.
class ConfigTranslator {
 public:
  ConfigTranslator(const GgufMetadata& metadata, const ModelPackage::Tensors& tensors,
                   std::span<const float> rope_freqs, const GgufArchitecture& architecture)
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
    FM_RETURN_IF_ERROR(architecture_.has_sliding_heads ? read_sliding_heads() : read_heads());
    FM_RETURN_IF_ERROR(read_rope_scaling());
    FM_RETURN_IF_ERROR(read_router());
    FM_RETURN_IF_ERROR(read_delta_net());
    config_["tie_word_embeddings"] = !has_tensor("output.weight");
    config_["attention_bias"] = has_first_layer_tensor("attn_q.bias");
    config_["use_qk_norm"] = has_first_layer_tensor("attn_q_norm.weight");
    if (architecture_.has_latent_attention) FM_RETURN_IF_ERROR(read_latent_attention());
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
        if (value && !(row.zero_is_none && *value == 0)) config_[row.word] = *value;
        break;
      }
      case KeyKind::kNumber: {
        FM_ASSIGN_OR_RETURN(const auto value, number(row.key));
        if (value && !(row.zero_is_none && *value == 0)) config_[row.word] = *value;
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
    FM_ASSIGN_OR_RETURN(const auto count, uint(gguf_key::kBlockCount));
    if (!count) return missing(gguf_key::kBlockCount);
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
                        metadata_.uints(key_of(gguf_key::kFeedForwardLength)));
    if (!widths.empty()) {
      if (std::adjacent_find(widths.begin(), widths.end(), std::not_equal_to<>()) != widths.end()) {
        return reject(StatusCode::kUnsupported, gguf_key::kFeedForwardLength,
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
                        metadata_.uints(key_of(gguf_key::kHeadCountKv)));
    // Hybrid models may write 0 for their layers without attention.
    std::uint64_t kv_head_count = 0;
    for (const std::uint64_t count : kv_heads) {
      if (kv_head_count == 0) kv_head_count = count;
      if (count == 0 || count == kv_head_count) continue;
      return reject(StatusCode::kUnsupported, gguf_key::kHeadCountKv,
                    "differs from layer to layer, which is not supported");
    }
    config_["num_key_value_heads"] =
        kv_head_count != 0 ? json(kv_head_count) : config_["num_attention_heads"];

    FM_ASSIGN_OR_RETURN(const auto key_length, uint(gguf_key::kKeyLength));
    FM_ASSIGN_OR_RETURN(const auto value_length, uint(gguf_key::kValueLength));
    if (key_length) config_["head_dim"] = *key_length;
    const bool is_latent = architecture_.has_latent_attention;
    if (!is_latent && key_length && value_length && *key_length != *value_length) {
      return reject(StatusCode::kUnsupported, gguf_key::kValueLength,
                    "differs from attention.key_length, which is not supported");
    }
    FM_ASSIGN_OR_RETURN(const auto rotated, uint(gguf_key::kRopeDimensions));
    return rotated && !is_latent ? read_rotary_fraction(*rotated) : Status();
  }

  /// The part of each head that rotates.
  Status read_rotary_fraction(std::uint64_t rotated) {
    const std::uint64_t heads = config_["num_attention_heads"].get<std::uint64_t>();
    const std::uint64_t hidden = config_["hidden_size"].get<std::uint64_t>();
    const std::uint64_t head_dim = config_.contains("head_dim")
                                       ? config_["head_dim"].get<std::uint64_t>()
                                       : hidden / std::max<std::uint64_t>(heads, 1);
    FM_ASSIGN_OR_RETURN(const double fraction,
                        rotary_fraction(gguf_key::kRopeDimensions, rotated, head_dim));
    config_["partial_rotary_factor"] = fraction;
    config_["rotary_dim"] = rotated;
    return Status();
  }

  Result<double> rotary_fraction(std::string_view key, std::uint64_t rotated,
                                 std::uint64_t head_dim) const {
    if (rotated == 0 || rotated > head_dim) {
      return reject(
          StatusCode::kCorrupt, key,
          fmt::format("is {}; heads have {}; download the file again", rotated, head_dim));
    }
    // A little more where the quotient is rounded down: readers multiply and cut off.
    const double fraction = static_cast<double>(rotated) / static_cast<double>(head_dim);
    return static_cast<double>(head_dim) * fraction < static_cast<double>(rotated)
               ? std::nextafter(fraction, 1.0)
               : fraction;
  }

  /// What a key of every layer says of the layers that are sliding, or not, as `wanted`. Errors:
  /// kUnsupported if that differs.
  Result<std::uint64_t> value_where(std::string_view key, const std::vector<std::uint64_t>& values,
                                    const std::vector<bool>& is_sliding, bool wanted) const {
    std::optional<std::uint64_t> found;
    for (std::size_t i = 0; i < is_sliding.size(); ++i) {
      if (is_sliding[i] != wanted) continue;
      const std::uint64_t value = values.size() == 1 ? values.front() : values[i];
      if (found && *found != value) {
        return reject(StatusCode::kUnsupported, key,
                      "differs between layers of one kind, which is not supported");
      }
      found = value;
    }
    return found.value_or(values.front());
  }

  /// The length of keys and values of a head, which has to be one.
  Result<std::uint64_t> head_length(std::string_view key_name, std::string_view value_name) const {
    FM_ASSIGN_OR_RETURN(const auto key_length, uint(key_name));
    FM_ASSIGN_OR_RETURN(const auto value_length, uint(value_name));
    if (!key_length) return missing(key_name);
    if (value_length && *value_length != *key_length) {
      return reject(StatusCode::kUnsupported, value_name,
                    fmt::format("differs from {}, which is not supported", key_name));
    }
    return *key_length;
  }

  /// Sliding layers and full ones, each kind with heads and a rotary embedding of its own.
  Status read_sliding_heads() {
    FM_ASSIGN_OR_RETURN(const std::vector<std::uint64_t> pattern,
                        metadata_.uints(key_of(gguf_key::kSlidingPattern)));
    FM_ASSIGN_OR_RETURN(const std::vector<std::uint64_t> kv_heads,
                        metadata_.uints(key_of(gguf_key::kHeadCountKv)));
    if (pattern.empty()) return missing(gguf_key::kSlidingPattern);
    if (kv_heads.empty()) return missing(gguf_key::kHeadCountKv);
    if (pattern.size() < layer_count_ || (kv_heads.size() > 1 && kv_heads.size() < layer_count_)) {
      return reject(
          StatusCode::kCorrupt,
          pattern.size() < layer_count_ ? gguf_key::kSlidingPattern : gguf_key::kHeadCountKv,
          "must have a value for each layer; download the file again");
    }
    std::vector<bool> is_sliding;
    json types = json::array();
    bool has_all_values = true;
    for (std::uint64_t i = 0; i < layer_count_; ++i) {
      is_sliding.push_back(pattern[i] != 0);
      types.push_back(pattern[i] != 0 ? "sliding_attention" : "full_attention");
      if (pattern[i] == 0 && !has_tensor(fmt::format("blk.{}.attn_v.weight", i))) {
        has_all_values = false;
      }
    }
    config_["layer_types"] = std::move(types);
    config_["attention_k_eq_v"] = !has_all_values;
    FM_ASSIGN_OR_RETURN(config_["num_key_value_heads"],
                        value_where(gguf_key::kHeadCountKv, kv_heads, is_sliding, true));
    FM_ASSIGN_OR_RETURN(const std::uint64_t full_kv_heads,
                        value_where(gguf_key::kHeadCountKv, kv_heads, is_sliding, false));
    if (has_all_values && config_["num_key_value_heads"] != full_kv_heads) {
      return reject(StatusCode::kUnsupported, gguf_key::kHeadCountKv,
                    "differs from layer to layer where all have attn_v, which is not supported");
    }
    config_["num_global_key_value_heads"] = full_kv_heads;
    FM_ASSIGN_OR_RETURN(const std::uint64_t full_dim,
                        head_length(gguf_key::kKeyLength, gguf_key::kValueLength));
    FM_ASSIGN_OR_RETURN(const std::uint64_t sliding_dim,
                        head_length(gguf_key::kKeyLengthSwa, gguf_key::kValueLengthSwa));
    config_["head_dim"] = sliding_dim;
    config_["global_head_dim"] = full_dim;

    FM_ASSIGN_OR_RETURN(const auto full_rotated, uint(gguf_key::kRopeDimensions));
    FM_ASSIGN_OR_RETURN(const auto sliding_rotated, uint(gguf_key::kRopeDimensionsSwa));
    FM_ASSIGN_OR_RETURN(const auto sliding_theta, number(gguf_key::kRopeFreqBaseSwa));
    FM_ASSIGN_OR_RETURN(json full, divided_rope(full_rotated.value_or(full_dim), full_dim));
    json sliding = {{"rope_type", "default"}, {"rope_theta", sliding_theta.value_or(1e4)}};
    FM_ASSIGN_OR_RETURN(sliding["partial_rotary_factor"],
                        rotary_fraction(gguf_key::kRopeDimensionsSwa,
                                        sliding_rotated.value_or(sliding_dim), sliding_dim));
    if (config_.contains("rope_theta")) full["rope_theta"] = config_["rope_theta"];
    config_["rope_parameters"] = {{"full_attention", std::move(full)},
                                  {"sliding_attention", std::move(sliding)}};
    config_["enable_moe_block"] = metadata_.has(key_of(gguf_key::kExpertCount));
    return Status();
  }

  /// A rotary embedding with divisors, which most often leave the first pairs alone and stop the
  /// others: what config.json calls proportional.
  Result<json> divided_rope(std::uint64_t rotated, std::uint64_t head_dim) const {
    FM_ASSIGN_OR_RETURN(const double fraction,
                        rotary_fraction(gguf_key::kRopeDimensions, rotated, head_dim));
    json rope = {{"rope_type", "default"}, {"partial_rotary_factor", fraction}};
    if (rope_freqs_.empty()) return rope;
    const auto moving_end =
        std::find_if(rope_freqs_.begin(), rope_freqs_.end(), [](float d) { return d != 1; });
    const bool others_stop = std::all_of(moving_end, rope_freqs_.end(),
                                         [](float d) { return d >= kRopeFreqsUnrotated; });
    const auto moving = static_cast<std::uint64_t>(moving_end - rope_freqs_.begin());
    if (others_stop && moving > 0 && rotated == head_dim && rope_freqs_.size() == head_dim / 2) {
      FM_ASSIGN_OR_RETURN(const double moving_fraction,
                          rotary_fraction(gguf_key::kRopeDimensions, 2 * moving, head_dim));
      return json{{"rope_type", "proportional"}, {"partial_rotary_factor", moving_fraction}};
    }
    rope["rope_type"] = "divisors";
    rope["divisors"] = rope_freqs_;
    return rope;
  }

  Status read_rope_scaling() {
    FM_ASSIGN_OR_RETURN(const auto type, metadata_.string(key_of(gguf_key::kRopeScalingType)));
    const bool is_scaled = type && *type != "none";
    // Llama 3.1 and later: each pair has a divisor of its own.
    const bool is_by_pairs = !rope_freqs_.empty() && !architecture_.has_sliding_heads;
    if (has_first_layer_tensor(kRopeFreqsTensor) ||
        (is_by_pairs && (is_scaled || architecture_.name != "llama"))) {
      return error(StatusCode::kUnsupported,
                   "{}: tensor rope_freqs.weight scales the rotary embedding, which is supported "
                   "for architecture llama, once for all layers and without rope.scaling.type; use "
                   "the model's safetensors",
                   metadata_.file());
    }
    if (is_scaled && architecture_.has_sliding_heads) {
      return reject(StatusCode::kUnsupported, gguf_key::kRopeScalingType,
                    "is not supported for this architecture; use the model's safetensors");
    }
    if (is_by_pairs)
      config_["rope_scaling"] = {{"rope_type", "divisors"}, {"divisors", rope_freqs_}};
    if (!is_scaled) return Status();
    json scaling = {{"rope_type", *type}};
    for (const KeyRow& row : kRopeScalingKeys) {
      FM_ASSIGN_OR_RETURN(const auto value, number(row.key));
      if (value) scaling[row.word] = *value;
    }
    // No key says so, but the published models are of this kind.
    if (architecture_.name == "gpt-oss") scaling["truncate"] = false;
    FM_ASSIGN_OR_RETURN(const auto multiplier, number(gguf_key::kYarnLogMultiplier));
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
    FM_ASSIGN_OR_RETURN(const std::uint64_t experts, uint_or_none(gguf_key::kExpertCount));
    if (experts == 0) return Status();
    config_["num_experts"] = experts;
    if (architecture_.name == "llama") config_["model_type"] = "mixtral";
    if (architecture_.norm_topk_prob && !config_.contains("norm_topk_prob")) {
      config_["norm_topk_prob"] = *architecture_.norm_topk_prob;
    }
    FM_ASSIGN_OR_RETURN(const std::uint64_t groups, uint_or_none(gguf_key::kExpertGroupCount));
    FM_ASSIGN_OR_RETURN(const std::uint64_t used, uint_or_none(gguf_key::kExpertGroupUsedCount));
    if (groups > 1) set_groups(groups, used);
    FM_ASSIGN_OR_RETURN(const std::uint64_t scores, uint_or_none(gguf_key::kExpertGatingFunc));
    if (architecture_.has_latent_attention) {
      FM_RETURN_IF_ERROR(read_deepseek_version(scores));
      if (groups == 0) set_published_groups(experts);
      return Status();
    }
    if (scores == 0 || scores == architecture_.scores) return Status();
    return reject(
        StatusCode::kUnsupported, gguf_key::kExpertGatingFunc,
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
    return reject(StatusCode::kUnsupported, gguf_key::kExpertGatingFunc,
                  "expected 1 (softmax) or 2 (sigmoid)");
  }

  /// Keys and values of the compressed cache have lengths of their own, without `_mla`; early
  /// conversions had the heads' there.
  Status read_latent_attention() {
    FM_ASSIGN_OR_RETURN(const std::uint64_t q_rank, uint_or_none(gguf_key::kQLoraRank));
    if (q_rank != 0) config_["q_lora_rank"] = q_rank;
    FM_ASSIGN_OR_RETURN(const auto kv_rank, uint(gguf_key::kKvLoraRank));
    if (!kv_rank) return missing(gguf_key::kKvLoraRank);
    config_["kv_lora_rank"] = *kv_rank;
    FM_ASSIGN_OR_RETURN(const auto rotated, uint(gguf_key::kRopeDimensions));
    if (!rotated) return missing(gguf_key::kRopeDimensions);
    config_["qk_rope_head_dim"] = *rotated;

    const bool is_early = !metadata_.has(key_of(gguf_key::kKeyLengthMla));
    const auto key_name = is_early ? gguf_key::kKeyLength : gguf_key::kKeyLengthMla;
    const auto value_name = is_early ? gguf_key::kValueLength : gguf_key::kValueLengthMla;
    FM_ASSIGN_OR_RETURN(const auto key_length, uint(key_name));
    FM_ASSIGN_OR_RETURN(const auto value_length, uint(value_name));
    if (!key_length) return missing(key_name);
    if (!value_length) return missing(value_name);
    if (*key_length <= *rotated) {
      return reject(StatusCode::kCorrupt, key_name,
                    "must exceed rope.dimension_count; download the file again");
    }
    config_["qk_nope_head_dim"] = *key_length - *rotated;
    config_["v_head_dim"] = *value_length;
    return Status();
  }

  Status read_delta_net() {
    FM_ASSIGN_OR_RETURN(const auto inner, uint(gguf_key::kSsmInnerSize));
    if (!inner) return Status();
    FM_ASSIGN_OR_RETURN(const std::uint64_t heads, uint_or_none("ssm.time_step_rank"));
    if (heads == 0 || *inner % heads != 0) {
      return reject(StatusCode::kCorrupt, gguf_key::kSsmInnerSize,
                    "must be a multiple of ssm.time_step_rank; download the file again");
    }
    config_["linear_value_head_dim"] = *inner / heads;
    FM_ASSIGN_OR_RETURN(const std::vector<std::uint64_t> recurrent,
                        metadata_.uints(key_of(gguf_key::kRecurrentLayers)));
    if (recurrent.empty()) return Status();
    if (recurrent.size() < layer_count_) {
      return reject(StatusCode::kCorrupt, gguf_key::kRecurrentLayers,
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
  const GgufArchitecture& architecture_;
  std::uint64_t layer_count_ = 0;
  json config_ = json::object();
};

}  // namespace

Result<json> read_gguf_config(const GgufMetadata& metadata, const ModelPackage::Tensors& tensors,
                              std::span<const float> rope_freqs) {
  FM_ASSIGN_OR_RETURN(const auto name, metadata.string(gguf_key::kArchitecture));
  if (!name) {
    return metadata.reject(StatusCode::kCorrupt, gguf_key::kArchitecture,
                           "is absent; download the file again");
  }
  std::string supported;
  for (const GgufArchitecture& architecture : kGgufArchitectures) {
    if (architecture.name == *name) {
      return ConfigTranslator(metadata, tensors, rope_freqs, architecture).translate();
    }
    supported += fmt::format("{}{}", supported.empty() ? "" : ", ", architecture.name);
  }
  return metadata.reject(StatusCode::kUnsupported, gguf_key::kArchitecture,
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
