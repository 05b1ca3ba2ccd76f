#include "format/gguf_config_writer.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/check.h"
#include "format/gguf_keys.h"
#include "format/printable.h"

namespace flashmoe {
namespace {

using nlohmann::json;

/// The inverse of ConfigTranslator.
class ConfigWriter {
 public:
  ConfigWriter(const json& config, const GgufArchitecture& architecture, GgufValues& values)
      : config_(config), architecture_(architecture), values_(values) {}

  void write() {
    values_.text(gguf_key::kArchitecture, architecture_.name);
    u32("vocab_size", size("vocab_size"));
    u32(gguf_key::kBlockCount, size("num_hidden_layers"));
    u32(gguf_key::kFeedForwardLength, size("intermediate_size"));
    for (const KeyRow& row : kCommonKeys) write_common(row);
    if (architecture_.has_latent_attention) {
      write_latent_attention();
    } else if (architecture_.has_sliding_heads) {
      write_sliding_heads();
    } else {
      write_heads();
    }
    write_rope_scaling();
    if (has("num_experts")) write_router();
    if (has("linear_value_head_dim")) write_delta_net();
  }

 private:
  bool has(const char* word) const { return config_.contains(word); }
  std::uint64_t size(const char* word) const { return config_.at(word).get<std::uint64_t>(); }

  std::string key_of(std::string_view suffix) const {
    return fmt::format("{}.{}", architecture_.name, suffix);
  }
  /// Families' limits are far below 2^32.
  void u32(std::string_view suffix, std::uint64_t value) {
    values_.u32(key_of(suffix), static_cast<std::uint32_t>(value));
  }
  void f32(std::string_view suffix, const json& value) {
    values_.f32(key_of(suffix), value.get<float>());
  }

  void write_value(const KeyRow& row, const json& value) {
    switch (row.kind) {
      case KeyKind::kUint:
        u32(row.key, value.get<std::uint64_t>());
        break;
      case KeyKind::kNumber:
        f32(row.key, value);
        break;
      case KeyKind::kBool:
        values_.boolean(key_of(row.key), value.get<bool>());
        break;
    }
  }

  void write_common(const KeyRow& row) {
    // What the architecture implies has no key in its files.
    const bool is_implied =
        architecture_.norm_topk_prob && row.word == std::string_view("norm_topk_prob");
    if (has(row.word) && !is_implied) write_value(row, config_[row.word]);
  }

  void write_heads() {
    u32(gguf_key::kHeadCountKv, size("num_key_value_heads"));
    u32(gguf_key::kKeyLength, size("head_dim"));
    u32(gguf_key::kValueLength, size("head_dim"));
    u32(gguf_key::kRopeDimensions, size("rotary_dim"));
    if (!architecture_.has_rope_sections) return;
    // Every rotary pair belongs to a section; pair i to section i % 3.
    const auto pairs = static_cast<std::uint32_t>(size("rotary_dim") / 2);
    const std::uint32_t sections[] = {(pairs + 2) / 3, (pairs + 1) / 3, pairs / 3, 0};
    values_.u32s(key_of("rope.dimension_sections"), sections);
  }

  /// The compressed cache has one head of its own lengths.
  void write_latent_attention() {
    const std::uint64_t rank = size("kv_lora_rank");
    const std::uint64_t rotated = size("qk_rope_head_dim");
    u32(gguf_key::kHeadCountKv, 1);
    u32(gguf_key::kKeyLength, rank + rotated);
    u32(gguf_key::kValueLength, rank);
    u32(gguf_key::kKeyLengthMla, size("qk_nope_head_dim") + rotated);
    u32(gguf_key::kValueLengthMla, size("v_head_dim"));
    u32(gguf_key::kKvLoraRank, rank);
    // llama.cpp asks for it where there is none.
    u32(gguf_key::kQLoraRank, has("q_lora_rank") ? size("q_lora_rank") : 0);
    u32(gguf_key::kRopeDimensions, rotated);
  }

  void write_sliding_heads() {
    std::vector<bool> is_sliding;
    std::vector<std::uint32_t> kv_heads;
    for (const json& type : config_["layer_types"]) {
      is_sliding.push_back(type == "sliding_attention");
      kv_heads.push_back(static_cast<std::uint32_t>(
          size(is_sliding.back() ? "num_key_value_heads" : "num_global_key_value_heads")));
    }
    values_.booleans(key_of(gguf_key::kSlidingPattern), is_sliding);
    values_.u32s(key_of(gguf_key::kHeadCountKv), kv_heads);
    u32(gguf_key::kKeyLength, size("global_head_dim"));
    u32(gguf_key::kValueLength, size("global_head_dim"));
    u32(gguf_key::kKeyLengthSwa, size("head_dim"));
    u32(gguf_key::kValueLengthSwa, size("head_dim"));
    u32(gguf_key::kRopeDimensions, size("global_rotary_dim"));
    u32(gguf_key::kRopeDimensionsSwa, size("rotary_dim"));
    f32(gguf_key::kRopeFreqBaseSwa, config_["sliding_rope_theta"]);
  }

  void write_rope_scaling() {
    if (!has("rope_scaling")) return;
    const json& scaling = config_["rope_scaling"];
    values_.text(key_of(gguf_key::kRopeScalingType), scaling["rope_type"].get<std::string>());
    for (const KeyRow& row : kRopeScalingKeys) {
      if (scaling.contains(row.word)) write_value(row, scaling[row.word]);
    }
    if (scaling.contains("mscale_all_dim")) {
      values_.f32(key_of(gguf_key::kYarnLogMultiplier),
                  static_cast<float>(0.1 * scaling["mscale_all_dim"].get<double>()));
    }
  }

  void write_router() {
    u32(gguf_key::kExpertCount, size("num_experts"));
    const bool is_relative = config_["model_type"] != architecture_.model_type;
    if (architecture_.has_latent_attention) {
      u32(gguf_key::kExpertGatingFunc, is_relative ? kSigmoidScores : kSoftmaxScores);
      // Without them, files of some sizes are taken for early ones, whose groups are known.
      u32(gguf_key::kExpertGroupCount, size("n_group"));
      u32(gguf_key::kExpertGroupUsedCount, size("topk_group"));
      return;
    }
    if (architecture_.scores != kSoftmaxScores) {
      u32(gguf_key::kExpertGatingFunc, architecture_.scores);
    }
    if (size("n_group") == 1) return;
    u32(gguf_key::kExpertGroupCount, size("n_group"));
    u32(gguf_key::kExpertGroupUsedCount, size("topk_group"));
  }

  void write_delta_net() {
    u32(gguf_key::kSsmInnerSize, size("linear_value_head_dim") * size("linear_num_value_heads"));
    if (has("full_attention_interval")) return;
    std::vector<bool> is_recurrent;
    for (const json& type : config_["layer_types"]) {
      is_recurrent.push_back(type == "linear_attention");
    }
    values_.booleans(key_of(gguf_key::kRecurrentLayers), is_recurrent);
  }

  const json& config_;
  const GgufArchitecture& architecture_;
  GgufValues& values_;
};

/// Null: none.
const GgufArchitecture* find_architecture(std::string_view model_type) {
  for (const GgufArchitecture& architecture : kGgufArchitectures) {
    const auto& relatives = architecture.relatives;
    if (architecture.model_type == model_type ||
        std::find(relatives.begin(), relatives.end(), model_type) != relatives.end()) {
      return &architecture;
    }
  }
  return nullptr;
}

}  // namespace

Status check_gguf_holds(std::string_view model_type) {
  if (find_architecture(model_type) != nullptr) return Status();
  std::string supported;
  for (const GgufArchitecture& architecture : kGgufArchitectures) {
    supported += fmt::format("{}{}", supported.empty() ? "" : ", ", architecture.model_type);
    for (const std::string_view relative : architecture.relatives) {
      if (!relative.empty()) supported += fmt::format(", {}", relative);
    }
  }
  return error(StatusCode::kUnsupported,
               "model_type '{}' has no GGUF architecture that this build writes; these have one: "
               "{}",
               printable(model_type), supported);
}

void write_gguf_config(const json& config, GgufValues& values) {
  const GgufArchitecture* const architecture =
      find_architecture(config.at("model_type").get<std::string>());
  FM_CHECK(architecture != nullptr);
  ConfigWriter(config, *architecture, values).write();
}

}  // namespace flashmoe
