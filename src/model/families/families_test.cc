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
  const ModelPackage package = ModelPackage::planned("model", config, json::object());
  FM_ASSIGN_OR_RETURN(const ModelFamily* const family, find_model_family(package));
  return read_model_spec(*family, package);
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

/// The text part of gemma-4-26B-A4B, cut to a full layer and the two before it.
json gemma4() {
  const json text = {{"model_type", "gemma4_text"},
                     {"attention_bias", false},
                     {"attention_k_eq_v", true},
                     {"enable_moe_block", true},
                     {"final_logit_softcapping", 30.0},
                     {"global_head_dim", 512},
                     {"head_dim", 256},
                     {"hidden_activation", "gelu_pytorch_tanh"},
                     {"hidden_size", 2816},
                     {"hidden_size_per_layer_input", 0},
                     {"intermediate_size", 2112},
                     {"layer_types", {"sliding_attention", "sliding_attention", "full_attention"}},
                     {"max_position_embeddings", 262144},
                     {"moe_intermediate_size", 704},
                     {"num_attention_heads", 16},
                     {"num_experts", 128},
                     {"num_global_key_value_heads", 2},
                     {"num_hidden_layers", 3},
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
                     {"tie_word_embeddings", true},
                     {"top_k_experts", 8},
                     {"use_bidirectional_attention", "vision"},
                     {"use_double_wide_mlp", false},
                     {"vocab_size", 262144}};
  return {{"model_type", "gemma4"}, {"text_config", text}, {"tie_word_embeddings", true}};
}

json gemma4_with(const json& fields) {
  json config = gemma4();
  config["text_config"].update(fields);
  return config;
}

json gpt_oss_20b() {
  return {{"model_type", "gpt_oss"},
          {"attention_bias", true},
          {"head_dim", 64},
          {"hidden_act", "silu"},
          {"hidden_size", 2880},
          {"intermediate_size", 2880},
          {"max_position_embeddings", 131072},
          {"num_attention_heads", 64},
          {"num_experts_per_tok", 4},
          {"num_hidden_layers", 4},
          {"num_key_value_heads", 8},
          {"num_local_experts", 32},
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
          {"vocab_size", 201088}};
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

json with_scaling(const json& scaling) {
  return with(llama_3_1_8b(), {{"head_dim", 8}, {"rope_scaling", scaling}});
}

const AttentionSpec& first_attention(const ModelSpec& spec) {
  return *spec.first_mixer<AttentionSpec>();
}

TEST(Families, LongRopeIsThatOfTheOriginalContext) {
  const json scaling = {{"type", "longrope"},
                        {"short_factor", {1, 1.5, 2, 4}},
                        {"long_factor", {8, 8, 16, 32}},
                        {"original_max_position_embeddings", 4096}};
  const ModelSpec spec = read(with_scaling(scaling)).value();
  const RopeSpec& rope = first_attention(spec).rope;
  EXPECT_THAT(std::get<DividedRope>(rope.scaling).divisors, ::testing::ElementsAre(1, 1.5, 2, 4));
  EXPECT_FLOAT_EQ(rope.attention_factor, 1.1902381f);  // (1 + ln 32 / ln 4096)^0.5
  EXPECT_EQ(spec.max_position_embeddings, 4096u);

  const auto attention_factor = [&](const json& fields) {
    return first_attention(read(with_scaling(with(scaling, fields))).value()).rope.attention_factor;
  };
  EXPECT_FLOAT_EQ(attention_factor({{"factor", 16}}), 1.1547005f);  // (1 + 4 / 12)^0.5
  EXPECT_FLOAT_EQ(attention_factor({{"factor", 1}}), 1);
  EXPECT_FLOAT_EQ(attention_factor({{"attention_factor", 1.25}}), 1.25f);
  // As Phi writes it: beside the scaling, where it comes first.
  const json beside = with(with_scaling(scaling), {{"original_max_position_embeddings", 2048}});
  EXPECT_EQ(read(beside).value().max_position_embeddings, 2048u);

  EXPECT_THAT(complaint(with_scaling(with(scaling, {{"short_factor", {1, 2, 3}}}))),
              HasSubstr("short_factor"));
  EXPECT_THAT(complaint(with_scaling(with(scaling, {{"long_factor", nullptr}}))),
              HasSubstr("long_factor"));
  EXPECT_THAT(complaint(with_scaling(with(scaling, {{"long_factor", {1, 2, 0, 3}}}))),
              HasSubstr("long_factor"));
}

TEST(Families, DynamicScalingLeavesTheContextOfTheModelAsItIs) {
  const ModelSpec spec = read(with_scaling({{"rope_type", "dynamic"}, {"factor", 4}})).value();
  EXPECT_EQ(first_attention(spec).rope.scaling.index(), 0u);
  EXPECT_EQ(spec.max_position_embeddings, 131072u);
  EXPECT_THAT(complaint(with_scaling({{"rope_type", "dynamic"}})), HasSubstr("factor"));
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
  EXPECT_THAT(complaint(with(llama_3_1_8b(), {{"rope_scaling", {{"rope_type", "spiral"}}}})),
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

TEST(Families, GptOss) {
  const ModelSpec spec = read(gpt_oss_20b()).value();
  for (std::size_t i = 0; i < 4; ++i) {
    const auto& attention = std::get<AttentionSpec>(spec.layers[i].mixer);
    EXPECT_EQ(attention.window, i % 2 == 0 ? 128u : 0u);
    EXPECT_TRUE(attention.has_sinks);
    EXPECT_TRUE(attention.has_qkv_bias);
    EXPECT_TRUE(attention.has_output_bias);
    const YarnRope yarn = {.factor = 32, .original_max_position = 4096, .truncate = false};
    EXPECT_EQ(std::get<YarnRope>(attention.rope.scaling), yarn);
    EXPECT_NEAR(attention.rope.attention_factor, 1.3466, 1e-4);
  }
  const MoeSpec& moe = spec.moe();
  const Glu glu = {.kind = Glu::Kind::kClampedSwiglu, .clamp = {.alpha = 1.702f, .limit = 7}};
  EXPECT_EQ(moe.glu, glu);
  EXPECT_TRUE(moe.has_expert_bias);
  EXPECT_TRUE(moe.router.has_bias);
  EXPECT_TRUE(moe.router.norm_topk_prob);
  const json other = with(
      gpt_oss_20b(),
      {{"layer_types", {"full_attention", "full_attention", "full_attention", "sliding_attention"}},
       {"sliding_window", 64},
       {"swiglu_alpha", 2.0}});
  const ModelSpec spelled = read(other).value();
  EXPECT_EQ(std::get<AttentionSpec>(spelled.layers[0].mixer).window, 0u);
  EXPECT_EQ(std::get<AttentionSpec>(spelled.layers[3].mixer).window, 64u);
  EXPECT_EQ(spelled.moe().glu.clamp.alpha, 2);
}

TEST(Families, GptOssConfigsThatCannotBeAreRefused) {
  const auto expect_complaint = [](const json& fields, const char* field) {
    EXPECT_THAT(complaint(with(gpt_oss_20b(), fields)), HasSubstr(field));
  };
  expect_complaint({{"swiglu_limit", 0}}, "swiglu_limit");
  expect_complaint({{"swiglu_limit", "7"}}, "swiglu_limit");
  expect_complaint({{"swiglu_alpha", -1}}, "swiglu_alpha");
  expect_complaint({{"sliding_window", 0}}, "sliding_window");
  expect_complaint({{"layer_types", {"full_attention"}}}, "layer_types");
  expect_complaint(
      {{"layer_types", {"full_attention", "full_attention", "full_attention", "linear_attention"}}},
      "linear_attention");
  expect_complaint({{"num_experts_per_tok", 33}}, "num_experts_per_tok");
  expect_complaint({{"intermediate_size", nullptr}}, "intermediate_size");
  expect_complaint({{"hidden_act", "gelu"}}, "hidden_act");
  expect_complaint({{"attention_bias", 1}}, "attention_bias");
}

/// The text part of Qwen3.8-Flash-Next, cut to four layers.
json qwen4_exp() {
  return {{"model_type", "qwen4_exp_text"},
          {"eos_token_id", {248044, 248046}},
          {"hc_count", 4},
          {"hc_lowrank", 320},
          {"head_dim", 256},
          {"hidden_size", 2560},
          {"indexer_budget", 2048},
          {"indexer_compress_ratio", 4},
          {"indexer_head_dim", 128},
          {"indexer_kv_heads", 1},
          {"indexer_n_heads", 4},
          {"linear_conv_kernel_dim", 4},
          {"linear_key_head_dim", 128},
          {"linear_num_key_heads", 16},
          {"linear_num_value_heads", 48},
          {"linear_value_head_dim", 128},
          {"moe_intermediate_size", 640},
          {"num_attention_heads", 24},
          {"num_experts", 512},
          {"num_experts_per_tok", 10},
          {"num_hidden_layers", 4},
          {"num_key_value_heads", 2},
          {"output_gate_type", "sigmoid"},
          {"ple_layer_ids", {2}},
          {"rope_parameters", {{"rope_theta", 1e7}, {"partial_rotary_factor", 0.25}}},
          {"shared_expert_intermediate_size", 640},
          {"split_ngram_parts", 128},
          {"vocab_size", 248320}};
}

TEST(Families, Qwen4Exp) {
  const ModelSpec spec = read(qwen4_exp()).value();
  EXPECT_EQ(spec.model_type, "qwen4_exp");
  EXPECT_EQ(spec.streams(), 4u);
  EXPECT_EQ(spec.hyper_connection->rank, 320u);
  const auto& attention = std::get<AttentionSpec>(spec.layers[3].mixer);
  EXPECT_TRUE(attention.has_output_gate);
  EXPECT_EQ(attention.rope.rotary_dim, 64u);
  ASSERT_TRUE(attention.indexer.has_value());
  EXPECT_EQ(attention.indexer->num_heads, 4u);
  EXPECT_EQ(attention.indexer->runs_kept(), 512u);
  for (const std::size_t layer : {0u, 1u, 2u}) {
    EXPECT_TRUE(std::get<DeltaNetSpec>(spec.layers[layer].mixer).has_sigmoid_gate);
    EXPECT_EQ(spec.layers[layer].embedding.has_value(), layer == 1);
  }
  const NgramEmbeddingSpec& embedding = *spec.layers[1].embedding;
  EXPECT_EQ(embedding.ngrams.heads(), 16u);
  EXPECT_EQ(embedding.head_dim(), 160u);
  EXPECT_EQ(embedding.ngrams.eos_token_id, 248044);
  EXPECT_EQ(embedding.conv.kernel, 4u);
  EXPECT_EQ(embedding.conv.dilation, 3u);
  // Sixteen primes from 20 million on: 102 GB of 160 numbers in bf16.
  const std::uint64_t rows = ngram_table_rows(embedding.ngrams);
  EXPECT_EQ(rows % 128, 0u);
  EXPECT_NEAR(static_cast<double>(rows * 160 * 2), 102.4e9, 0.1e9);

  // The names that layers with an indexer go by; silu where nothing is said; tables in their order.
  for (const char* name : {"full_attention", "indexed_attention", "qwen_sparse_attention"}) {
    const json types = {"linear_attention", "linear_attention", name, "linear_attention"};
    const ModelSpec named = read(with(qwen4_exp(), {{"layer_types", types},
                                                    {"output_gate_type", nullptr},
                                                    {"ple_layer_ids", {4, 1, 4}}}))
                                .value();
    EXPECT_TRUE(std::get<AttentionSpec>(named.layers[2].mixer).indexer.has_value());
    EXPECT_FALSE(std::get<DeltaNetSpec>(named.layers[3].mixer).has_sigmoid_gate);
    EXPECT_EQ(named.layers[0].embedding->ngrams.table_index, 0u);
    EXPECT_EQ(named.layers[3].embedding->ngrams.table_index, 1u);
    EXPECT_FALSE(named.layers[1].embedding.has_value());
  }
  const ModelSpec without = read(with(qwen4_exp(), {{"ple_layer_ids", nullptr}})).value();
  EXPECT_FALSE(without.layers[1].embedding.has_value());
}

TEST(Families, Qwen4ExpConfigsThatCannotBeAreRefused) {
  const auto expect_complaint = [](const json& fields, const char* field) {
    EXPECT_THAT(complaint(with(qwen4_exp(), fields)), HasSubstr(field));
  };
  expect_complaint({{"indexer_n_heads", nullptr}}, "indexer_n_heads");
  expect_complaint({{"indexer_kv_heads", 2}}, "indexer_kv_heads");
  expect_complaint({{"indexer_compress_ratio", 3}}, "indexer_compress_ratio");
  expect_complaint({{"indexer_compress_ratio", 0}}, "indexer_compress_ratio");
  expect_complaint({{"indexer_budget", 2046}}, "indexer_budget");
  expect_complaint({{"indexer_head_dim", 32}}, "indexer_head_dim");
  expect_complaint({{"hc_count", 1}}, "hc_count");
  expect_complaint({{"hc_count", 1000}}, "hc_count");
  expect_complaint({{"hc_lowrank", 0}}, "hc_lowrank");
  expect_complaint({{"output_gate_type", "tanh"}}, "output_gate_type");
  expect_complaint({{"layer_types", {"linear_attention", "x", "x", "x"}}}, "layer_types");
  expect_complaint({{"ple_layer_ids", {0}}}, "ple_layer_ids");
  expect_complaint({{"ple_layer_ids", {5}}}, "ple_layer_ids");
  expect_complaint({{"ple_embed_dim", 2561}}, "ple_embed_dim");
  expect_complaint({{"ngram_size", 1}}, "ngram_size");
  expect_complaint({{"heads_per_ngram", 128}, {"ple_layer_ids", {1, 2}}}, "heads_per_ngram");
  expect_complaint({{"ngram_vocab_size_base", 1}}, "ngram_vocab_size_base");
  expect_complaint({{"ngram_vocab_size_base", 2}, {"split_ngram_parts", 60000}},
                   "split_ngram_parts");
  expect_complaint({{"ple_conv_kernel_size", 17}}, "ple_conv_kernel_size");
  expect_complaint({{"eos_token_id", nullptr}}, "eos_token_id");
  expect_complaint({{"eos_token_id", json::array()}}, "eos_token_id");
}

TEST(Families, Gemma4) {
  const ModelSpec spec = read(gemma4()).value();
  const auto& sliding = std::get<AttentionSpec>(spec.layers[1].mixer);
  EXPECT_EQ(sliding.head_dim, 256u);
  EXPECT_EQ(sliding.num_kv_heads, 8u);
  EXPECT_EQ(sliding.window, 1024u);
  EXPECT_FALSE(sliding.keys_are_values);
  const RopeSpec plain = {.rotary_dim = 256, .theta = 1e4};
  EXPECT_EQ(sliding.rope, plain);
  const auto& full = std::get<AttentionSpec>(spec.layers[2].mixer);
  EXPECT_EQ(full.head_dim, 512u);
  EXPECT_EQ(full.num_kv_heads, 2u);
  EXPECT_EQ(full.window, 0u);
  EXPECT_TRUE(full.keys_are_values);
  const RopeSpec partial = {
      .rotary_dim = 512, .theta = 1e6, .scaling = ProportionalRope{.rotated_pairs = 64}};
  EXPECT_EQ(full.rope, partial);
  for (const AttentionSpec* attention : {&sliding, &full}) {
    EXPECT_EQ(attention->scale, 1);
    EXPECT_TRUE(attention->has_value_norm);
  }
  EXPECT_EQ(spec.moe().router.num_experts_per_tok, 8u);
  EXPECT_EQ(spec.moe().shared_intermediate_size, 2112u);
  EXPECT_EQ(spec.moe().glu.kind, Glu::Kind::kGeglu);
  EXPECT_EQ(spec.final_logit_softcapping, 30);
  EXPECT_FLOAT_EQ(spec.embedding_scale * spec.embedding_scale, 2816);
  EXPECT_TRUE(spec.tie_word_embeddings);
  // Values of their own, and heads alike, where the config says nothing else.
  const ModelSpec alike = read(gemma4_with({{"attention_k_eq_v", false},
                                            {"global_head_dim", nullptr},
                                            {"final_logit_softcapping", nullptr}}))
                              .value();
  const auto& own = std::get<AttentionSpec>(alike.layers[2].mixer);
  EXPECT_FALSE(own.keys_are_values);
  EXPECT_EQ(own.num_kv_heads, 8u);
  EXPECT_EQ(own.head_dim, 256u);
  EXPECT_EQ(alike.final_logit_softcapping, 0);
}

TEST(Families, Gemma4ConfigsThatCannotBeAreRefused) {
  const auto expect_complaint = [](const json& fields, const char* field) {
    EXPECT_THAT(complaint(gemma4_with(fields)), HasSubstr(std::string("text_config.") + field));
  };
  expect_complaint({{"enable_moe_block", false}}, "enable_moe_block");
  expect_complaint({{"enable_moe_block", nullptr}}, "enable_moe_block");
  expect_complaint({{"hidden_size_per_layer_input", 256}}, "hidden_size_per_layer_input");
  expect_complaint({{"num_kv_shared_layers", 2}}, "num_kv_shared_layers");
  expect_complaint({{"use_double_wide_mlp", true}}, "use_double_wide_mlp");
  expect_complaint({{"use_bidirectional_attention", "all"}}, "use_bidirectional_attention");
  expect_complaint({{"hidden_activation", "silu"}}, "hidden_activation");
  expect_complaint({{"sliding_window", 0}}, "sliding_window");
  expect_complaint({{"sliding_window", nullptr}}, "sliding_window");
  expect_complaint({{"final_logit_softcapping", -30}}, "final_logit_softcapping");
  expect_complaint({{"final_logit_softcapping", 0}}, "final_logit_softcapping");
  expect_complaint({{"global_head_dim", 8192}}, "global_head_dim");
  expect_complaint({{"num_attention_heads", 1024}, {"global_head_dim", 4096}}, "global_head_dim");
  expect_complaint({{"num_global_key_value_heads", 3}}, "num_global_key_value_heads");
  expect_complaint({{"num_key_value_heads", 3}}, "num_key_value_heads");
  expect_complaint({{"top_k_experts", 129}}, "top_k_experts");
  expect_complaint({{"layer_types", {"full_attention"}}}, "layer_types");
  expect_complaint({{"layer_types", {"full_attention", "linear_attention", "full_attention"}}},
                   "layer_types");
  expect_complaint({{"moe_intermediate_size", nullptr}}, "moe_intermediate_size");
  expect_complaint({{"intermediate_size", 0}}, "intermediate_size");
  expect_complaint({{"rope_parameters", {{"rope_theta", 1e4}}}},
                   "rope_parameters.sliding_attention");
  const auto with_full_rope = [](const json& fields) {
    json ropes = gemma4()["text_config"]["rope_parameters"];
    ropes["full_attention"].update(fields);
    return json{{"rope_parameters", ropes}};
  };
  expect_complaint(with_full_rope({{"rope_theta", 0}}),
                   "rope_parameters.full_attention.rope_theta");
  expect_complaint(with_full_rope({{"partial_rotary_factor", 0.001}}),
                   "rope_parameters.full_attention.partial_rotary_factor");
  expect_complaint(with_full_rope({{"rope_type", "spiral"}}),
                   "rope_parameters.full_attention.rope_type");
  expect_complaint(with_full_rope({{"factor", 0}}), "rope_parameters.full_attention.factor");
  expect_complaint({{"global_head_dim", 511}}, "rope_parameters.full_attention");
}

TEST(Families, NamesOfAMultimodalModelHaveAPrefix) {
  const json text = with(minimax_m2(), {{"model_type", "minimax_m2"}});
  const json config = {
      {"model_type", "minimax_m2"}, {"text_config", text}, {"tie_word_embeddings", true}};
  const ModelPackage package = ModelPackage::planned("model", config, json::object());
  const ModelFamily* const family = find_model_family(package).value();
  EXPECT_TRUE(read_model_spec(*family, package).value().tie_word_embeddings);
  const TensorTable names = mlx_tensor_names(*family, package);
  EXPECT_EQ(names.name(TensorId::kRouter, 3),
            "language_model.model.layers.3.block_sparse_moe.gate");
  EXPECT_EQ(names.name(TensorId::kLmHead), "language_model.lm_head");
  EXPECT_EQ(names.name(TensorId::kSeparateUp, 3, 7),
            "language_model.model.layers.3.block_sparse_moe.experts.7.w3");
}

TEST(TensorTable, HasLlamaCppsNamesAndWhatItsConverterDoes) {
  const auto row = [](const ModelFamily& family, TensorId id) {
    return family.tensors.spelled(TensorSpelling::kGguf).row(id);
  };
  EXPECT_EQ(row(kMixtral, TensorId::kQProj).stored, StoredAs::kInterleavedPairs);
  EXPECT_EQ(row(kLlama, TensorId::kKProj).stored, StoredAs::kInterleavedPairs);
  EXPECT_EQ(row(kQwen3Moe, TensorId::kQProj).stored, StoredAs::kPlain);
  EXPECT_EQ(row(kQwen35Moe, TensorId::kInProjQkv).stored, StoredAs::kTiledHeads);
  EXPECT_EQ(row(kQwen3Next, TensorId::kInProjQkv).stored, StoredAs::kPlain);
  // 1 is added already, and -exp(A_log) is there.
  EXPECT_EQ(row(kQwen3Next, TensorId::kInputNorm).stored, StoredAs::kPlain);
  EXPECT_EQ(row(kQwen3Next, TensorId::kALog).stored, StoredAs::kPlain);
  EXPECT_EQ(kQwen3Next.tensors.row(TensorId::kInputNorm).stored, StoredAs::kZeroCentred);
  EXPECT_EQ(kQwen3Next.tensors.spelled(TensorSpelling::kMlx).row(TensorId::kInputNorm).stored,
            StoredAs::kPlain);
  EXPECT_EQ(row(kGlm4Moe, TensorId::kFeedForwardNorm).name,
            "blk.{layer}.post_attention_norm.weight");
  EXPECT_EQ(row(kQwen3Moe, TensorId::kFeedForwardNorm).name, "blk.{layer}.ffn_norm.weight");
  EXPECT_EQ(kOlmoe.tensors.spelled(TensorSpelling::kGguf).name(TensorId::kSeparateUp, 2, 5),
            "blk.2.ffn_up.5");
}

}  // namespace
}  // namespace flashmoe
