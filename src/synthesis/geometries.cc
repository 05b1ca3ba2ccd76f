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

/// The last of every `period` layers has full attention, those before it are of the kind `other`.
json layer_types(int count, int period, const char* other) {
  json types = json::array();
  for (int i = 0; i < count; ++i) {
    types.push_back(i % period == period - 1 ? "full_attention" : other);
  }
  return types;
}

/// The text part of Qwen3.5-35B-A3B and Qwen3.6-35B-A3B, in the form of the multimodal model.
json qwen3_6_35b_a3b() {
  const json text = {{"model_type", "qwen3_5_moe_text"},
                     {"attention_bias", false},
                     {"eos_token_id", 248044},
                     {"head_dim", 256},
                     {"hidden_act", "silu"},
                     {"hidden_size", 2048},
                     {"layer_types", layer_types(40, 4, "linear_attention")},
                     {"linear_conv_kernel_dim", 4},
                     {"linear_key_head_dim", 128},
                     {"linear_num_key_heads", 16},
                     {"linear_num_value_heads", 32},
                     {"linear_value_head_dim", 128},
                     {"max_position_embeddings", 262144},
                     {"moe_intermediate_size", 512},
                     {"num_attention_heads", 16},
                     {"num_experts", 256},
                     {"num_experts_per_tok", 8},
                     {"num_hidden_layers", 40},
                     {"num_key_value_heads", 2},
                     {"rms_norm_eps", 1e-6},
                     {"rope_parameters",
                      {{"rope_type", "default"},
                       {"rope_theta", 10000000},
                       {"partial_rotary_factor", 0.25},
                       {"mrope_interleaved", true},
                       {"mrope_section", {11, 11, 10}}}},
                     {"shared_expert_intermediate_size", 512},
                     {"vocab_size", 248320}};
  return {{"architectures", {"Qwen3_5MoeForConditionalGeneration"}},
          {"model_type", "qwen3_5_moe"},
          {"text_config", text},
          {"tie_word_embeddings", false}};
}

/// The text part of Qwen3.8-Flash-Next, in the form of the multimodal model.
json qwen3_8_flash_next() {
  const json text = {{"model_type", "qwen4_exp_text"},
                     {"attention_bias", false},
                     {"eos_token_id", 248044},
                     {"hc_count", 4},
                     {"hc_lowrank", 320},
                     {"head_dim", 256},
                     {"heads_per_ngram", 8},
                     {"hidden_act", "silu"},
                     {"hidden_size", 2560},
                     {"indexer_budget", 2048},
                     {"indexer_compress_ratio", 4},
                     {"indexer_head_dim", 128},
                     {"indexer_kv_heads", 1},
                     {"indexer_n_heads", 4},
                     {"layer_types", layer_types(48, 4, "linear_attention")},
                     {"linear_conv_kernel_dim", 4},
                     {"linear_key_head_dim", 128},
                     {"linear_num_key_heads", 16},
                     {"linear_num_value_heads", 48},
                     {"linear_value_head_dim", 128},
                     {"make_ngram_vocab_size_divisible_by", 128},
                     {"max_position_embeddings", 262144},
                     {"moe_intermediate_size", 640},
                     {"ngram_size", 3},
                     {"ngram_vocab_size_base", 20000000},
                     {"norm_topk_prob", true},
                     {"num_attention_heads", 24},
                     {"num_experts", 512},
                     {"num_experts_per_tok", 10},
                     {"num_hidden_layers", 48},
                     {"num_key_value_heads", 2},
                     {"output_gate_type", "sigmoid"},
                     {"ple_conv_kernel_size", 4},
                     {"ple_embed_dim", 2560},
                     {"ple_layer_ids", {2u}},
                     {"rms_norm_eps", 1e-6},
                     {"rope_parameters",
                      {{"rope_type", "default"},
                       {"rope_theta", 10000000},
                       {"partial_rotary_factor", 0.25},
                       {"mrope_interleaved", true},
                       {"mrope_section", {11, 11, 10}}}},
                     {"seed", 1234},
                     {"shared_expert_intermediate_size", 640},
                     {"split_ngram_parts", 128},
                     {"vocab_size", 248320}};
  return {{"architectures", {"Qwen4ExpForConditionalGeneration"}},
          {"model_type", "qwen4_exp"},
          {"text_config", text},
          {"tie_word_embeddings", false}};
}

json qwen3_30b_a3b() {
  return {{"architectures", {"Qwen3MoeForCausalLM"}},
          {"model_type", "qwen3_moe"},
          {"attention_bias", false},
          {"bos_token_id", 151643},
          {"decoder_sparse_step", 1},
          {"eos_token_id", 151645},
          {"head_dim", 128},
          {"hidden_act", "silu"},
          {"hidden_size", 2048},
          {"intermediate_size", 6144},
          {"max_position_embeddings", 40960},
          {"mlp_only_layers", json::array()},
          {"moe_intermediate_size", 768},
          {"norm_topk_prob", true},
          {"num_attention_heads", 32},
          {"num_experts", 128},
          {"num_experts_per_tok", 8},
          {"num_hidden_layers", 48},
          {"num_key_value_heads", 4},
          {"rms_norm_eps", 1e-6},
          {"rope_scaling", nullptr},
          {"rope_theta", 1000000},
          {"tie_word_embeddings", false},
          {"vocab_size", 151936}};
}

json glm_4_5_air() {
  return {{"architectures", {"Glm4MoeForCausalLM"}},
          {"model_type", "glm4_moe"},
          {"attention_bias", true},
          {"eos_token_id", {151329, 151336, 151338}},
          {"first_k_dense_replace", 1},
          {"head_dim", 128},
          {"hidden_act", "silu"},
          {"hidden_size", 4096},
          {"intermediate_size", 10944},
          {"max_position_embeddings", 131072},
          {"moe_intermediate_size", 1408},
          {"n_group", 1},
          {"n_routed_experts", 128},
          {"n_shared_experts", 1},
          {"norm_topk_prob", true},
          {"num_attention_heads", 96},
          {"num_experts_per_tok", 8},
          {"num_hidden_layers", 46},
          {"num_key_value_heads", 8},
          {"partial_rotary_factor", 0.5},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 1000000},
          {"routed_scaling_factor", 1.0},
          {"tie_word_embeddings", false},
          {"topk_group", 1},
          {"use_qk_norm", false},
          {"vocab_size", 151552}};
}

json minimax_m2() {
  return {{"architectures", {"MiniMaxM2ForCausalLM"}},
          {"model_type", "minimax_m2"},
          {"bos_token_id", 200019},
          {"eos_token_id", 200020},
          {"head_dim", 128},
          {"hidden_act", "silu"},
          {"hidden_size", 3072},
          {"intermediate_size", 1536},
          {"max_position_embeddings", 196608},
          {"num_attention_heads", 48},
          {"num_experts_per_tok", 8},
          {"num_hidden_layers", 62},
          {"num_key_value_heads", 8},
          {"num_local_experts", 256},
          {"rms_norm_eps", 1e-6},
          {"rope_theta", 5000000},
          {"rotary_dim", 64},
          {"scoring_func", "sigmoid"},
          {"tie_word_embeddings", false},
          {"use_qk_norm", true},
          {"vocab_size", 200064}};
}

/// The text part of gemma-4-26B-A4B, in the form of the multimodal model.
json gemma_4_26b_a4b() {
  const json text = {{"model_type", "gemma4_text"},
                     {"attention_bias", false},
                     {"attention_k_eq_v", true},
                     {"bos_token_id", 2},
                     {"enable_moe_block", true},
                     {"eos_token_id", 1},
                     {"final_logit_softcapping", 30.0},
                     {"global_head_dim", 512},
                     {"head_dim", 256},
                     {"hidden_activation", "gelu_pytorch_tanh"},
                     {"hidden_size", 2816},
                     {"hidden_size_per_layer_input", 0},
                     {"intermediate_size", 2112},
                     {"layer_types", layer_types(30, 6, "sliding_attention")},
                     {"max_position_embeddings", 262144},
                     {"moe_intermediate_size", 704},
                     {"num_attention_heads", 16},
                     {"num_experts", 128},
                     {"num_global_key_value_heads", 2},
                     {"num_hidden_layers", 30},
                     {"num_key_value_heads", 8},
                     {"num_kv_shared_layers", 0},
                     {"rms_norm_eps", 1e-6},
                     {"rope_parameters",
                      {{"full_attention",
                        {{"partial_rotary_factor", 0.25},
                         {"rope_theta", 1000000.0},
                         {"rope_type", "proportional"}}},
                       {"sliding_attention", {{"rope_theta", 10000.0}, {"rope_type", "default"}}}}},
                     {"sliding_window", 1024},
                     {"top_k_experts", 8},
                     {"vocab_size", 262144}};
  return {{"architectures", {"Gemma4ForConditionalGeneration"}},
          {"model_type", "gemma4"},
          {"text_config", text},
          {"tie_word_embeddings", true}};
}

json gpt_oss(int layers, int experts) {
  return {{"architectures", {"GptOssForCausalLM"}},
          {"model_type", "gpt_oss"},
          {"attention_bias", true},
          {"eos_token_id", 200002},
          {"head_dim", 64},
          {"hidden_act", "silu"},
          {"hidden_size", 2880},
          {"intermediate_size", 2880},
          {"layer_types", layer_types(layers, 2, "sliding_attention")},
          {"max_position_embeddings", 131072},
          {"num_attention_heads", 64},
          {"num_experts_per_tok", 4},
          {"num_hidden_layers", layers},
          {"num_key_value_heads", 8},
          {"num_local_experts", experts},
          {"rms_norm_eps", 1e-5},
          {"rope_scaling",
           {{"beta_fast", 32.0},
            {"beta_slow", 1.0},
            {"factor", 32.0},
            {"original_max_position_embeddings", 4096},
            {"rope_type", "yarn"},
            {"truncate", false}}},
          {"rope_theta", 150000},
          {"sliding_window", 128},
          {"swiglu_limit", 7.0},
          {"tie_word_embeddings", false},
          {"vocab_size", 201088}};
}

json gpt_oss_20b() { return gpt_oss(24, 32); }
json gpt_oss_120b() { return gpt_oss(36, 128); }

json mixtral_8x7b() {
  return {{"architectures", {"MixtralForCausalLM"}},
          {"model_type", "mixtral"},
          {"bos_token_id", 1},
          {"eos_token_id", 2},
          {"hidden_act", "silu"},
          {"hidden_size", 4096},
          {"intermediate_size", 14336},
          {"max_position_embeddings", 32768},
          {"num_attention_heads", 32},
          {"num_experts_per_tok", 2},
          {"num_hidden_layers", 32},
          {"num_key_value_heads", 8},
          {"num_local_experts", 8},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 1000000},
          {"sliding_window", nullptr},
          {"tie_word_embeddings", false},
          {"vocab_size", 32000}};
}

json olmoe_1b_7b() {
  return {{"architectures", {"OlmoeForCausalLM"}},
          {"model_type", "olmoe"},
          {"attention_bias", false},
          {"clip_qkv", nullptr},
          {"eos_token_id", 50279},
          {"hidden_act", "silu"},
          {"hidden_size", 2048},
          {"intermediate_size", 1024},
          {"max_position_embeddings", 4096},
          {"norm_topk_prob", false},
          {"num_attention_heads", 16},
          {"num_experts", 64},
          {"num_experts_per_tok", 8},
          {"num_hidden_layers", 16},
          {"num_key_value_heads", 16},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 10000},
          {"tie_word_embeddings", false},
          {"vocab_size", 50304}};
}

struct Geometry {
  std::string_view name;
  json (*config)();
};

constexpr Geometry kGeometries[] = {{"qwen3-coder-next", qwen3_coder_next},
                                    {"qwen3-next-80b", qwen3_next_80b},
                                    {"qwen3.6-35b-a3b", qwen3_6_35b_a3b},
                                    {"qwen3.8-flash-next", qwen3_8_flash_next},
                                    {"qwen3-30b-a3b", qwen3_30b_a3b},
                                    {"glm-4.5-air", glm_4_5_air},
                                    {"minimax-m2", minimax_m2},
                                    {"gemma-4-26b-a4b", gemma_4_26b_a4b},
                                    {"gpt-oss-20b", gpt_oss_20b},
                                    {"gpt-oss-120b", gpt_oss_120b},
                                    {"mixtral-8x7b", mixtral_8x7b},
                                    {"olmoe-1b-7b", olmoe_1b_7b},
                                    {"sprout", sprout}};

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

/// The object that has the text model's fields.
json& text_of(json& config) {
  const auto text = config.find("text_config");
  return text != config.end() && text->is_object() ? *text : config;
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
  // These count layers from 1.
  if (json* ngrams = config.contains("ple_layer_ids") ? &config["ple_layer_ids"] : nullptr;
      ngrams != nullptr && ngrams->is_array()) {
    std::erase_if(*ngrams->get_ptr<json::array_t*>(), [layers](const json& layer) {
      return layer.is_number_unsigned() && layer.get<std::uint64_t>() > layers;
    });
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
  json& text = text_of(config);
  if (options.layers != 0) FM_RETURN_IF_ERROR(set_layers(text, options.layers));
  if (options.experts != 0) {
    // Under whichever name the family has it.
    const auto is_there = [&](const char* name) { return text.contains(name); };
    text[is_there("num_local_experts")  ? "num_local_experts"
         : is_there("n_routed_experts") ? "n_routed_experts"
                                        : "num_experts"] = options.experts;
  }
  return config;
}

}  // namespace flashmoe
