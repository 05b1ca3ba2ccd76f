#include "synthesis/gguf_words.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <variant>

#include "base/check.h"
#include "format/gguf.h"
#include "format/gguf_config.h"
#include "format/gguf_config_writer.h"
#include "format/gguf_keys.h"
#include "format/model_package.h"
#include "model/families/fields.h"
#include "model/model_family.h"
#include "synthesis/model_texts.h"

namespace flashmoe {
namespace {

using nlohmann::json;

json rope_scaling_words(const RopeSpec& rope) {
  if (const auto* linear = std::get_if<LinearRope>(&rope.scaling)) {
    return {{"rope_type", "linear"}, {"factor", linear->factor}};
  }
  if (const auto* yarn = std::get_if<YarnRope>(&rope.scaling)) {
    return {{"rope_type", "yarn"},
            {"factor", yarn->factor},
            {"original_max_position_embeddings",
             static_cast<std::uint64_t>(yarn->original_max_position)},
            {"beta_fast", yarn->beta_fast},
            {"beta_slow", yarn->beta_slow}};
  }
  return nullptr;
}

/// A model's spec in the words that write_gguf_config() takes. What those cannot say is left out.
class SpecWords {
 public:
  explicit SpecWords(const ModelSpec& spec) : spec_(spec) {}

  json say() {
    words_ = {{"model_type", spec_.model_type},
              {"vocab_size", spec_.vocab_size},
              {"hidden_size", spec_.hidden_size},
              {"max_position_embeddings", spec_.max_position_embeddings},
              {"rms_norm_eps", spec_.rms_norm_eps},
              {"num_hidden_layers", spec_.layers.size()}};
    if (spec_.final_logit_softcapping != 0) {
      words_["final_logit_softcapping"] = spec_.final_logit_softcapping;
    }
    say_attention();
    if (const auto* latent = spec_.first_mixer<LatentAttentionSpec>()) say_latent(*latent);
    if (const auto* delta = spec_.first_mixer<DeltaNetSpec>()) say_delta_net(*delta);
    say_widths();
    if (spec_.moe_layer_count() != 0) say_experts(spec_.moe());
    return std::move(words_);
  }

 private:
  const AttentionSpec* first_attention(bool is_sliding) const {
    for (const LayerSpec& layer : spec_.layers) {
      const auto* const attention = std::get_if<AttentionSpec>(&layer.mixer);
      if (attention != nullptr && (attention->window != 0) == is_sliding) return attention;
    }
    return nullptr;
  }

  void say_rope(const RopeSpec& rope) {
    words_["rope_theta"] = rope.theta;
    words_["rotary_dim"] = rope.rotary_dim;
    json scaling = rope_scaling_words(rope);
    if (!scaling.is_null()) words_["rope_scaling"] = std::move(scaling);
  }

  void say_attention() {
    const AttentionSpec* const sliding = first_attention(true);
    const AttentionSpec* const full = first_attention(false);
    const AttentionSpec* const attention = sliding != nullptr ? sliding : full;
    if (attention == nullptr) return;
    words_["num_attention_heads"] = attention->num_heads;
    words_["num_key_value_heads"] = attention->num_kv_heads;
    words_["head_dim"] = attention->head_dim;
    say_rope(attention->rope);
    if (sliding != nullptr) words_["sliding_window"] = sliding->window;
    if (!spec_.moe().has_branch_norms) return;
    // Two kinds of layers, whose full one has the plain keys.
    const AttentionSpec& global = full != nullptr ? *full : *attention;
    words_["num_global_key_value_heads"] = global.num_kv_heads;
    words_["global_head_dim"] = global.head_dim;
    words_["global_rotary_dim"] = global.rope.rotary_dim;
    words_["sliding_rope_theta"] = attention->rope.theta;
    words_["rope_theta"] = global.rope.theta;
    words_["hidden_size_per_layer_input"] = 0;
    words_["num_kv_shared_layers"] = 0;
    json types = json::array();
    for (const LayerSpec& layer : spec_.layers) {
      const bool is_sliding = std::get<AttentionSpec>(layer.mixer).window != 0;
      types.push_back(is_sliding ? "sliding_attention" : "full_attention");
    }
    words_["layer_types"] = std::move(types);
  }

  void say_latent(const LatentAttentionSpec& latent) {
    words_["num_attention_heads"] = latent.num_heads;
    if (latent.q_lora_rank != 0) words_["q_lora_rank"] = latent.q_lora_rank;
    words_["kv_lora_rank"] = latent.kv_lora_rank;
    words_["qk_nope_head_dim"] = latent.qk_nope_head_dim;
    words_["qk_rope_head_dim"] = latent.qk_rope_head_dim;
    words_["v_head_dim"] = latent.v_head_dim;
    say_rope(latent.rope);
    const auto* const yarn = std::get_if<YarnRope>(&latent.rope.scaling);
    if (yarn == nullptr) return;
    // scale = magnitude^2 / sqrt(qk_head_dim), magnitude = 0.1 mscale_all_dim ln(factor) + 1
    const double magnitude = std::sqrt(static_cast<double>(latent.scale) *
                                       std::sqrt(static_cast<double>(latent.qk_head_dim())));
    const double per_mscale = yarn_magnitude(yarn->factor, 1) - 1;
    if (per_mscale <= 0) return;
    const double mscale = std::round((magnitude - 1) / per_mscale * 1e4) / 1e4;
    if (mscale > 0) words_["rope_scaling"]["mscale_all_dim"] = mscale;
  }

  void say_delta_net(const DeltaNetSpec& delta) {
    words_["linear_conv_kernel_dim"] = delta.conv_kernel;
    words_["linear_key_head_dim"] = delta.key_dim;
    words_["linear_num_key_heads"] = delta.key_heads;
    words_["linear_num_value_heads"] = delta.value_heads;
    words_["linear_value_head_dim"] = delta.value_dim;
    const std::size_t count = spec_.layers.size();
    const auto is_full = [&](std::size_t i) {
      return !std::holds_alternative<DeltaNetSpec>(spec_.layers[i].mixer);
    };
    std::size_t interval = 1;
    while (interval < count && !is_full(interval - 1)) ++interval;
    bool is_regular = is_full(interval - 1);
    json types = json::array();
    for (std::size_t i = 0; i < count; ++i) {
      types.push_back(is_full(i) ? "full_attention" : "linear_attention");
      is_regular = is_regular && is_full(i) == ((i + 1) % interval == 0);
    }
    if (is_regular) {
      words_["full_attention_interval"] = interval;
    } else {
      words_["layer_types"] = std::move(types);
    }
  }

  void say_widths() {
    std::size_t dense_layers = 0;
    std::size_t width = spec_.moe().intermediate_size;
    for (const LayerSpec& layer : spec_.layers) {
      const auto* const dense = std::get_if<DenseMlpSpec>(&layer.feed_forward);
      if (dense == nullptr) break;
      width = dense->intermediate_size;
      ++dense_layers;
    }
    if (spec_.moe().has_branch_norms) width = spec_.moe().shared_intermediate_size;
    words_["intermediate_size"] = width;
    if (spec_.moe_layer_count() != 0) words_["first_k_dense_replace"] = dense_layers;
  }

  void say_experts(const MoeSpec& moe) {
    const RouterSpec& router = moe.router;
    words_["num_experts"] = router.num_experts;
    words_["num_experts_per_tok"] = router.num_experts_per_tok;
    words_["norm_topk_prob"] = router.norm_topk_prob;
    words_["n_group"] = router.n_group;
    words_["topk_group"] = router.topk_group;
    words_["moe_intermediate_size"] = moe.intermediate_size;
    if (router.routed_scaling_factor != 1 || router.score == RouteRule::Score::kSigmoid) {
      words_["routed_scaling_factor"] = router.routed_scaling_factor;
    }
    if (moe.has_branch_norms) return;
    if (moe.has_shared_gate) {
      words_["shared_expert_intermediate_size"] = moe.shared_intermediate_size;
    } else if (spec_.first_mixer<LatentAttentionSpec>() != nullptr ||
               moe.shared_intermediate_size != 0) {
      words_["n_shared_experts"] = moe.shared_intermediate_size / moe.intermediate_size;
    }
  }

  const ModelSpec& spec_;
  json words_;
};

/// As GGUF keeps it: numbers are floats there. Families that differ by name alone are one.
ModelSpec as_kept(ModelSpec spec) {
  spec.model_type.clear();
  const auto round = [](RopeSpec& rope) { rope.theta = static_cast<float>(rope.theta); };
  for (LayerSpec& layer : spec.layers) {
    if (auto* attention = std::get_if<AttentionSpec>(&layer.mixer)) round(attention->rope);
    if (auto* latent = std::get_if<LatentAttentionSpec>(&layer.mixer)) round(latent->rope);
  }
  return spec;
}

/// The spec that a file with such a header would be read as.
Result<ModelSpec> read_back(const std::filesystem::path& path, const GgufValues& values,
                            std::span<const SyntheticModule> modules) {
  std::uint64_t size = 0;
  FM_ASSIGN_OR_RETURN(const std::string bytes,
                      GgufWriter::header(values, gguf_tensors(modules), &size));
  FM_ASSIGN_OR_RETURN(const std::optional<GgufHeader> header,
                      parse_gguf_header(std::as_bytes(std::span(bytes)), size, path.string()));
  FM_CHECK(header.has_value());
  ModelPackage::Tensors tensors;
  for (const GgufTensor& tensor : header->tensors) {
    tensors[tensor.name] = {.shape = tensor.shape, .size = tensor.size, .ggml_type = tensor.type};
  }
  std::vector<float> rope_freqs;
  for (const SyntheticModule& module : modules) {
    if (module.path != kRopeFreqsTensor) continue;
    const std::vector<std::byte>& divisors = module.tensors.front().values;
    rope_freqs.resize(divisors.size() / sizeof(float));
    std::memcpy(rope_freqs.data(), divisors.data(), divisors.size());
    tensors.erase(module.path);
  }
  FM_ASSIGN_OR_RETURN(json config, read_gguf_config(header->metadata, tensors, rope_freqs));
  const ModelPackage package = ModelPackage::planned(path, std::move(config), json::object());
  FM_ASSIGN_OR_RETURN(const ModelFamily* family, find_model_family(package));
  return read_model_spec(*family, package);
}

}  // namespace

std::vector<GgufWriter::Tensor> gguf_tensors(std::span<const SyntheticModule> modules) {
  std::vector<GgufWriter::Tensor> tensors;
  for (const SyntheticModule& module : modules) {
    for (const SyntheticTensor& tensor : module.tensors) {
      tensors.push_back({tensor.tensor.name, tensor.ggml_type, tensor.tensor.shape});
    }
  }
  return tensors;
}

Result<GgufValues> gguf_values(const std::filesystem::path& path, const ModelSpec& spec,
                               std::span<const SyntheticModule> modules, const GgufMixture& mixture,
                               std::span<const std::int32_t> eos_token_ids) {
  if (spec.first_mixer<AttentionSpec>() == nullptr &&
      spec.first_mixer<LatentAttentionSpec>() == nullptr) {
    return error(StatusCode::kUnsupported,
                 "no layer has attention, whose heads GGUF files state; ask for more layers, or "
                 "write it without GGUF");
  }
  GgufValues values;
  write_gguf_config(SpecWords(spec).say(), values);
  values.u32("general.file_type", mixture.file_type);
  values.u32("general.quantization_version", 2);
  values.text("general.name", "random weights");
  FM_RETURN_IF_ERROR(add_gguf_tokenizer(spec.vocab_size, eos_token_ids, values));
  const Result<ModelSpec> kept = read_back(path, values, modules);
  if (kept.ok() && as_kept(*kept) == as_kept(spec)) return values;
  return error(StatusCode::kUnsupported,
               "GGUF has no keys for all that this config says: which layers differ from the "
               "others, or how the rotary embedding is scaled; write it without GGUF");
}

}  // namespace flashmoe
