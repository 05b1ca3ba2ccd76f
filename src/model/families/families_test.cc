// What published config.json files mean. Their fields are facts about the models; what the blocks
// compute with them is tested against golden files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "model/model_family.h"

namespace flashmoe {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

Result<ModelSpec> read(const json& config) {
  const Checkpoint checkpoint = Checkpoint::planned("model", config, json::object());
  FM_ASSIGN_OR_RETURN(const ModelFamily* const family, find_model_family(checkpoint));
  return read_model_spec(*family, checkpoint);
}

json with(json config, const json& fields) {
  config.update(fields);
  return config;
}

json llama_3_1_8b() {
  return {{"model_type", "llama"},
          {"hidden_size", 4096},
          {"intermediate_size", 14336},
          {"max_position_embeddings", 131072},
          {"num_attention_heads", 32},
          {"num_hidden_layers", 32},
          {"num_key_value_heads", 8},
          {"rms_norm_eps", 1e-5},
          {"rope_scaling",
           {{"factor", 8.0},
            {"high_freq_factor", 4.0},
            {"low_freq_factor", 1.0},
            {"original_max_position_embeddings", 8192},
            {"rope_type", "llama3"}}},
          {"rope_theta", 500000.0},
          {"vocab_size", 128256}};
}

json deepseek_v3() {
  return {{"model_type", "deepseek_v3"},
          {"first_k_dense_replace", 3},
          {"hidden_size", 7168},
          {"intermediate_size", 18432},
          {"kv_lora_rank", 512},
          {"max_position_embeddings", 163840},
          {"moe_intermediate_size", 2048},
          {"n_group", 8},
          {"n_routed_experts", 256},
          {"n_shared_experts", 1},
          {"norm_topk_prob", true},
          {"num_attention_heads", 128},
          {"num_experts_per_tok", 8},
          {"num_hidden_layers", 61},
          {"q_lora_rank", 1536},
          {"qk_nope_head_dim", 128},
          {"qk_rope_head_dim", 64},
          {"rms_norm_eps", 1e-6},
          {"rope_scaling",
           {{"beta_fast", 32},
            {"beta_slow", 1},
            {"factor", 40},
            {"mscale", 1.0},
            {"mscale_all_dim", 1.0},
            {"original_max_position_embeddings", 4096},
            {"type", "yarn"}}},
          {"rope_theta", 10000},
          {"routed_scaling_factor", 2.5},
          {"topk_group", 4},
          {"v_head_dim", 128},
          {"vocab_size", 129280}};
}

json minimax_m2() {
  return {{"model_type", "minimax_m2"}, {"attn_type_list", {1, 1}},  {"head_dim", 128},
          {"hidden_size", 3072},        {"intermediate_size", 1536}, {"num_attention_heads", 48},
          {"num_experts_per_tok", 8},   {"num_hidden_layers", 2},    {"num_key_value_heads", 8},
          {"num_local_experts", 256},   {"rope_theta", 5000000},     {"rotary_dim", 64},
          {"scoring_func", "sigmoid"},  {"use_qk_norm", true},       {"vocab_size", 200064}};
}

std::string complaint(const json& config) { return read(config).status().message(); }

TEST(Families, Llama31) {
  const ModelSpec spec = read(llama_3_1_8b()).value();
  ASSERT_EQ(spec.layers.size(), 32u);
  const auto& attention = std::get<AttentionSpec>(spec.layers[5].mixer);
  EXPECT_EQ(attention.head_dim, 128u);  // hidden_size over the heads
  EXPECT_EQ(attention.num_kv_heads, 8u);
  EXPECT_EQ(attention.rope.theta, 500000.0);
  const Llama3Rope expected = {8, 1, 4, 8192};
  EXPECT_EQ(std::get<Llama3Rope>(attention.rope.scaling), expected);
  EXPECT_EQ(std::get<DenseMlpSpec>(spec.layers[0].feed_forward).intermediate_size, 14336u);
  EXPECT_EQ(spec.moe_layer_count(), 0u);
}

TEST(Families, DeepseekV3) {
  const ModelSpec spec = read(deepseek_v3()).value();
  const auto& attention = std::get<LatentAttentionSpec>(spec.layers[0].mixer);
  EXPECT_EQ(attention.latent_size(), 576u);
  // 192^-0.5 * (0.1 ln 40 + 1)^2, and a quotient of equal magnitudes for cosines and sines.
  EXPECT_NEAR(attention.scale, 0.0721688 * 1.8738, 1e-5);
  EXPECT_FLOAT_EQ(attention.rope.attention_factor, 1);
  EXPECT_EQ(spec.moe_layer_count(), 58u);
  EXPECT_EQ(spec.layers[2].moe(), nullptr);
  const RouterSpec& router = spec.moe().router;
  EXPECT_EQ(router.score, RouteRule::Score::kSigmoid);
  EXPECT_EQ(router.n_group, 8u);
  EXPECT_EQ(router.topk_group, 4u);
  EXPECT_TRUE(router.groups_by_best_two);
  EXPECT_EQ(router.routed_scaling_factor, 2.5f);
  EXPECT_EQ(spec.moe().shared_intermediate_size, 2048u);
  EXPECT_FALSE(spec.moe().has_shared_gate);
}

TEST(Families, FieldsThatContradictEachOtherAreRefused) {
  EXPECT_THAT(complaint(with(deepseek_v3(), {{"n_group", 7}})), HasSubstr("n_group"));
  EXPECT_THAT(complaint(with(deepseek_v3(), {{"n_group", 64}, {"topk_group", 1}})),
              HasSubstr("topk_group"));
  EXPECT_THAT(complaint(with(deepseek_v3(), {{"attention_bias", true}})),
              HasSubstr("attention_bias"));
  EXPECT_THAT(complaint(with(deepseek_v3(), {{"n_routed_experts", 8192}})),
              HasSubstr("n_routed_experts"));
  EXPECT_THAT(complaint(with(deepseek_v3(), {{"model_type", "deepseek_v2"},
                                             {"n_routed_experts", 8192},
                                             {"topk_method", "group_limited_greedy"}})),
              HasSubstr("n_routed_experts"));
  EXPECT_TRUE(
      read(with(deepseek_v3(), {{"model_type", "deepseek_v2"}, {"n_routed_experts", 8192}})).ok());
  EXPECT_THAT(complaint(with(minimax_m2(), {{"num_local_experts", 8192}})),
              HasSubstr("num_local_experts"));
  EXPECT_THAT(complaint(with(llama_3_1_8b(), {{"num_attention_heads", 33}})),
              HasSubstr("num_attention_heads"));
  EXPECT_THAT(complaint(with(llama_3_1_8b(), {{"mlp_bias", true}})), HasSubstr("mlp_bias"));
  EXPECT_THAT(complaint(with(llama_3_1_8b(), {{"rope_scaling", {{"rope_type", "longrope"}}}})),
              HasSubstr("rope_type"));
  json unsaid = llama_3_1_8b();
  unsaid["rope_scaling"].erase("original_max_position_embeddings");
  EXPECT_THAT(complaint(unsaid), HasSubstr("original_max_position_embeddings"));
  json per_kind = llama_3_1_8b();
  per_kind.erase("rope_theta");
  per_kind["rope_parameters"] = {{"full_attention", {{"rope_theta", 1e6}}}};
  EXPECT_THAT(complaint(per_kind), HasSubstr("rope_parameters.full_attention"));
}

TEST(Families, RelativesThatComputeOtherwiseAreRefused) {
  EXPECT_TRUE(read(minimax_m2()).ok()) << complaint(minimax_m2());
  // As its first MLX conversions call it.
  EXPECT_TRUE(read(with(minimax_m2(), {{"model_type", "minimax"}})).ok());
  EXPECT_THAT(complaint(with(minimax_m2(), {{"attn_type_list", {0, 1}}})),
              HasSubstr("attn_type_list"));
  EXPECT_THAT(complaint(with(minimax_m2(), {{"scoring_func", "softmax"}})),
              HasSubstr("scoring_func"));
  EXPECT_THAT(complaint(with(minimax_m2(), {{"shared_intermediate_size", 64}})),
              HasSubstr("shared_intermediate_size"));
}

TEST(Families, NamesOfAMultimodalModelHaveAPrefix) {
  const json text = with(minimax_m2(), {{"model_type", "minimax_m2"}});
  const json config = {
      {"model_type", "minimax_m2"}, {"text_config", text}, {"tie_word_embeddings", true}};
  const Checkpoint checkpoint = Checkpoint::planned("model", config, json::object());
  const ModelFamily* const family = find_model_family(checkpoint).value();
  EXPECT_TRUE(read_model_spec(*family, checkpoint).value().tie_word_embeddings);
  const TensorTable names = mlx_tensor_names(*family, checkpoint);
  EXPECT_EQ(names.name(TensorId::kRouter, 3),
            "language_model.model.layers.3.block_sparse_moe.gate");
  EXPECT_EQ(names.name(TensorId::kLmHead), "language_model.lm_head");
  EXPECT_EQ(names.name(TensorId::kSeparateUp, 3, 7),
            "language_model.model.layers.3.block_sparse_moe.experts.7.w3");
}

}  // namespace
}  // namespace flashmoe
