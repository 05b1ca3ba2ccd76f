#include "synthesis/geometries.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

#include "format/json_file.h"

namespace flashmoe {
namespace {

using nlohmann::json;

/// What the geometries of one family share.
json qwen3_next_config() {
  return {{"architectures", {"Qwen3NextForCausalLM"}},
          {"model_type", "qwen3_next"},
          {"attention_bias", false},
          {"decoder_sparse_step", 1},
          {"full_attention_interval", 4},
          {"hidden_act", "silu"},
          {"linear_conv_kernel_dim", 4},
          {"mlp_only_layers", json::array()},
          {"norm_topk_prob", true},
          {"partial_rotary_factor", 0.25},
          {"rms_norm_eps", 1e-6},
          {"rope_scaling", nullptr},
          {"torch_dtype", "bfloat16"}};
}

json with(json config, const json& fields) {
  config.update(fields);
  return config;
}

json qwen3_next_80b() {
  return with(qwen3_next_config(), {{"bos_token_id", 151643},
                                    {"eos_token_id", 151645},
                                    {"head_dim", 256},
                                    {"hidden_size", 2048},
                                    {"intermediate_size", 5120},
                                    {"linear_key_head_dim", 128},
                                    {"linear_num_key_heads", 16},
                                    {"linear_num_value_heads", 32},
                                    {"linear_value_head_dim", 128},
                                    {"max_position_embeddings", 262144},
                                    {"moe_intermediate_size", 512},
                                    {"num_attention_heads", 16},
                                    {"num_experts", 512},
                                    {"num_experts_per_tok", 10},
                                    {"num_hidden_layers", 48},
                                    {"num_key_value_heads", 2},
                                    {"rope_theta", 10000000},
                                    {"shared_expert_intermediate_size", 512},
                                    {"tie_word_embeddings", false},
                                    {"vocab_size", 151936}});
}

json qwen3_coder_next() { return with(qwen3_next_80b(), {{"rope_theta", 5000000}}); }

/// The model in models/.
json sprout() {
  return with(qwen3_next_config(), {{"bos_token_id", 0},
                                    {"eos_token_id", 0},
                                    {"head_dim", 64},
                                    {"hidden_size", 384},
                                    {"intermediate_size", 64},
                                    {"linear_key_head_dim", 64},
                                    {"linear_num_key_heads", 4},
                                    {"linear_num_value_heads", 8},
                                    {"linear_value_head_dim", 64},
                                    {"max_position_embeddings", 4096},
                                    {"moe_intermediate_size", 64},
                                    {"num_attention_heads", 6},
                                    {"num_experts", 128},
                                    {"num_experts_per_tok", 8},
                                    {"num_hidden_layers", 8},
                                    {"num_key_value_heads", 2},
                                    {"rope_theta", 10000},
                                    {"shared_expert_intermediate_size", 128},
                                    {"tie_word_embeddings", true},
                                    {"vocab_size", 16384}});
}

struct Geometry {
  std::string_view name;
  json (*config)();
};

constexpr Geometry kGeometries[] = {
    {"qwen3-coder-next", qwen3_coder_next}, {"qwen3-next-80b", qwen3_next_80b}, {"sprout", sprout}};

Result<json> base_config(const SynthesisOptions& options) {
  if (options.like.empty() == options.config.empty()) {
    return error(StatusCode::kInvalidArgument, "give either a named geometry ({}) or a config.json",
                 fmt::join(geometry_names(), ", "));
  }
  if (!options.config.empty()) return load_json_file(options.config);
  for (const Geometry& geometry : kGeometries) {
    if (geometry.name == options.like) return geometry.config();
  }
  return error(StatusCode::kInvalidArgument, "no geometry is called '{}'; there are: {}",
               options.like, fmt::join(geometry_names(), ", "));
}

/// Cuts or extends what the config says of each layer on its own.
Status set_layers(json& config, std::size_t layers) {
  config["num_hidden_layers"] = layers;
  if (json* types = config.contains("layer_types") ? &config["layer_types"] : nullptr;
      types != nullptr && types->is_array()) {
    if (types->size() < layers) {
      return error(StatusCode::kInvalidArgument,
                   "the config lists the types of {} layers, so there cannot be {}: remove "
                   "layer_types from it, or ask for fewer layers",
                   types->size(), layers);
    }
    types->erase(types->begin() + static_cast<std::ptrdiff_t>(layers), types->end());
  }
  if (json* dense = config.contains("mlp_only_layers") ? &config["mlp_only_layers"] : nullptr;
      dense != nullptr && dense->is_array()) {
    std::erase_if(*dense->get_ptr<json::array_t*>(), [layers](const json& layer) {
      return layer.is_number_unsigned() && layer.get<std::uint64_t>() >= layers;
    });
  }
  return Status();
}

}  // namespace

std::vector<std::string_view> geometry_names() {
  std::vector<std::string_view> names;
  for (const Geometry& geometry : kGeometries) names.push_back(geometry.name);
  return names;
}

Result<json> geometry_config(const SynthesisOptions& options) {
  FM_ASSIGN_OR_RETURN(json config, base_config(options));
  if (!config.is_object()) {
    return error(StatusCode::kCorrupt, "{}: is not a JSON object", options.config.string());
  }
  config.erase("quantization");
  config.erase("quantization_config");
  if (options.layers != 0) FM_RETURN_IF_ERROR(set_layers(config, options.layers));
  if (options.experts != 0) config["num_experts"] = options.experts;
  return config;
}

}  // namespace flashmoe
