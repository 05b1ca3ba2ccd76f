#include "format/gguf_package.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "base/testing/temporary_folder.h"
#include "format/testing/expect_failure.h"
#include "format/testing/gguf_bytes.h"
#include "format/weight_catalog.h"

namespace flashmoe {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::uint32_t kF32 = 0;

/// The metadata of a small model; what it lacks is added by tests.
GgufBytes metadata_of(std::string_view architecture) {
  const auto key = [&](std::string_view suffix) {
    return fmt::format("{}.{}", architecture, suffix);
  };
  GgufBytes gguf;
  gguf.text("general.architecture", architecture).u32(key("block_count"), 4);
  gguf.u32(key("embedding_length"), 64).u32(key("attention.head_count"), 4);
  gguf.f32(key("attention.layer_norm_rms_epsilon"), 0.5f).u32(key("expert_count"), 8);
  gguf.u32(key("expert_used_count"), 2).u32(key("feed_forward_length"), 96);
  gguf.u32(key("expert_feed_forward_length"), 32);
  return gguf;
}

void add_embedding(GgufBytes& gguf) {
  gguf.tensor("token_embd.weight", {64, 3}, kF32, std::string(64 * 3 * 4, '\0'));
}

class GgufPackage : public testing::Test {
 protected:
  Result<ModelPackage> open(const GgufBytes& gguf) const {
    return ModelPackage::open(folder_.write("m.gguf", gguf.bytes()));
  }
  /// The config of a model with an embedding.
  nlohmann::json config_of(GgufBytes gguf) const {
    add_embedding(gguf);
    const Result<ModelPackage> package = open(gguf);
    EXPECT_TRUE(package.ok()) << package.status().message();
    return package.ok() ? package->config() : nlohmann::json();
  }
  Status status_of(GgufBytes gguf) const {
    add_embedding(gguf);
    return open(gguf).status();
  }

  TemporaryFolder folder_;
};

TEST_F(GgufPackage, HasTheConfigInConfigJsonsWords) {
  GgufBytes gguf = metadata_of("qwen3moe");
  gguf.u32("qwen3moe.attention.head_count_kv", 2).u32("qwen3moe.attention.key_length", 32);
  gguf.u32("qwen3moe.attention.value_length", 32).u32("qwen3moe.rope.dimension_count", 32);
  gguf.f32("qwen3moe.rope.freq_base", 1e6f).u32("qwen3moe.context_length", 4096);
  gguf.text("qwen3moe.rope.scaling.type", "yarn").f32("qwen3moe.rope.scaling.factor", 4);
  gguf.u32("qwen3moe.rope.scaling.original_context_length", 1024);
  const nlohmann::json config = config_of(gguf);
  EXPECT_EQ(config["model_type"], "qwen3_moe");
  EXPECT_EQ(config["num_hidden_layers"], 4);
  EXPECT_EQ(config["hidden_size"], 64);
  EXPECT_EQ(config["vocab_size"], 3);
  EXPECT_EQ(config["num_key_value_heads"], 2);
  EXPECT_EQ(config["head_dim"], 32);
  EXPECT_EQ(config["num_experts"], 8);
  EXPECT_EQ(config["moe_intermediate_size"], 32);
  EXPECT_EQ(config["norm_topk_prob"], true);
  EXPECT_EQ(config["tie_word_embeddings"], true);
  EXPECT_EQ(config["partial_rotary_factor"], 1.0);
  EXPECT_EQ(config["rope_theta"], 1e6);
  EXPECT_EQ(config["rope_scaling"]["rope_type"], "yarn");
  EXPECT_EQ(config["rope_scaling"]["original_max_position_embeddings"], 1024.0);
}

TEST_F(GgufPackage, TellsTheModelsOfOneArchitectureApart) {
  EXPECT_EQ(config_of(metadata_of("llama"))["model_type"], "mixtral");
  GgufBytes deepseek = metadata_of("deepseek2");
  deepseek.u32("deepseek2.attention.kv_lora_rank", 16).u32("deepseek2.rope.dimension_count", 8);
  deepseek.u32("deepseek2.attention.key_length", 24).u32("deepseek2.attention.value_length", 16);
  const nlohmann::json v2 = config_of(deepseek);  // an early conversion: no key_length_mla
  EXPECT_EQ(v2["model_type"], "deepseek_v2");
  EXPECT_EQ(v2["qk_nope_head_dim"], 16);
  EXPECT_EQ(v2["v_head_dim"], 16);
  EXPECT_FALSE(v2.contains("q_lora_rank"));
  deepseek.u32("deepseek2.expert_gating_func", 2).u32("deepseek2.attention.q_lora_rank", 0);
  EXPECT_EQ(config_of(deepseek)["model_type"], "deepseek_v3");
  EXPECT_FALSE(config_of(deepseek).contains("q_lora_rank"));
}

TEST_F(GgufPackage, KnowsTheGroupsThatEarlyConversionsOfDeepseekLeaveOut) {
  const auto with = [&](std::uint32_t experts, std::uint32_t scores, std::uint32_t groups) {
    GgufBytes gguf;
    gguf.text("general.architecture", "deepseek2").u32("deepseek2.block_count", 4);
    gguf.u32("deepseek2.embedding_length", 64).u32("deepseek2.attention.head_count", 4);
    gguf.f32("deepseek2.attention.layer_norm_rms_epsilon", 0.5f);
    gguf.u32("deepseek2.attention.kv_lora_rank", 16).u32("deepseek2.rope.dimension_count", 8);
    gguf.u32("deepseek2.attention.key_length", 24).u32("deepseek2.attention.value_length", 16);
    gguf.u32("deepseek2.expert_count", experts).u32("deepseek2.expert_gating_func", scores);
    if (groups != 0) gguf.u32("deepseek2.expert_group_count", groups);
    if (groups != 0) gguf.u32("deepseek2.expert_group_used_count", 1);
    return config_of(gguf);
  };
  EXPECT_EQ(with(256, 2, 0)["n_group"], 8);
  EXPECT_EQ(with(256, 2, 0)["topk_group"], 4);
  EXPECT_EQ(with(160, 1, 0)["topk_group"], 3);
  EXPECT_EQ(with(256, 2, 2)["n_group"], 2);
  EXPECT_FALSE(with(256, 2, 1).contains("n_group"));
  EXPECT_FALSE(with(384, 2, 0).contains("n_group"));
  EXPECT_FALSE(with(64, 1, 0).contains("n_group"));
}

TEST_F(GgufPackage, LeavesOutLayersThatPredictFurtherTokens) {
  GgufBytes gguf = metadata_of("glm4moe");
  gguf.u32("glm4moe.nextn_predict_layers", 1);
  EXPECT_EQ(config_of(gguf)["num_hidden_layers"], 3);
  gguf = metadata_of("glm4moe");
  gguf.u32("glm4moe.nextn_predict_layers", 4);
  expect_failure(status_of(gguf), StatusCode::kCorrupt, {"glm4moe.nextn_predict_layers"});
}

TEST_F(GgufPackage, TakesWidthsThatTheMetadataLacksFromTheTensors) {
  GgufBytes gguf;
  gguf.text("general.architecture", "qwen2moe").u32("qwen2moe.block_count", 1);
  gguf.u32("qwen2moe.embedding_length", 32).u32("qwen2moe.attention.head_count", 1);
  gguf.f32("qwen2moe.attention.layer_norm_rms_epsilon", 1e-6f);
  gguf.tensor("blk.0.ffn_gate_exps.weight", {32, 5, 2}, kF32, std::string(32 * 10 * 4, '\0'));
  gguf.tensor("blk.0.ffn_gate_shexp.weight", {32, 7}, kF32, std::string(32 * 7 * 4, '\0'));
  const nlohmann::json config = config_of(gguf);
  EXPECT_EQ(config["moe_intermediate_size"], 5);
  EXPECT_EQ(config["shared_expert_intermediate_size"], 7);
}

TEST_F(GgufPackage, NamesTheKeyThatIsWrong) {
  const auto with = [](std::string_view key, std::uint32_t value) {
    GgufBytes gguf = metadata_of("qwen3moe");
    gguf.u32(fmt::format("qwen3moe.{}", key), value);
    return gguf;
  };
  expect_failure(status_of(metadata_of("mamba")), StatusCode::kUnsupported,
                 {"m.gguf", "general.architecture", "'mamba'", "qwen3moe"});
  expect_failure(status_of(GgufBytes()), StatusCode::kCorrupt, {"general.architecture", "absent"});
  expect_failure(status_of(with("expert_gating_func", 2)), StatusCode::kUnsupported,
                 {"qwen3moe.expert_gating_func"});
  expect_failure(status_of(with("rope.dimension_count", 4096)), StatusCode::kCorrupt,
                 {"qwen3moe.rope.dimension_count", "4096"});
  GgufBytes layers = metadata_of("qwen3moe");
  layers.i32s("qwen3moe.attention.head_count_kv", {2, 2, 1, 2});
  expect_failure(status_of(layers), StatusCode::kUnsupported, {"head_count_kv", "from layer to"});
  GgufBytes text = metadata_of("qwen3moe");
  text.text("qwen3moe.rope.freq_base", "ten");
  expect_failure(status_of(text), StatusCode::kCorrupt, {"qwen3moe.rope.freq_base", "number"});
  GgufBytes none;
  none.text("general.architecture", "qwen3moe");
  expect_failure(status_of(none), StatusCode::kNotFound, {"qwen3moe.embedding_length", "absent"});
  for (const char* architecture : {"qwen3moe", "llama"}) {
    GgufBytes scaled = metadata_of(architecture);
    scaled.tensor("rope_freqs.weight", {8}, kF32, std::string(32, '\0'));
    scaled.text("llama.rope.scaling.type", "linear").f32("llama.rope.scaling.factor", 2);
    expect_failure(status_of(scaled), StatusCode::kUnsupported, {"m.gguf", "rope_freqs.weight"});
  }
  GgufBytes by_layer = metadata_of("llama");
  by_layer.tensor("blk.0.rope_freqs.weight", {8}, kF32, std::string(32, '\0'));
  expect_failure(status_of(by_layer), StatusCode::kUnsupported, {"rope_freqs.weight"});
  GgufBytes half = metadata_of("llama");
  half.tensor("rope_freqs.weight", {8}, /*F16*/ 1, std::string(16, '\0'));
  expect_failure(status_of(half), StatusCode::kCorrupt, {"rope_freqs.weight", "F32"});
  GgufBytes square = metadata_of("llama");
  square.tensor("rope_freqs.weight", {2, 4}, kF32, std::string(32, '\0'));
  expect_failure(status_of(square), StatusCode::kCorrupt, {"rope_freqs.weight"});
  GgufBytes headless = metadata_of("qwen3moe");
  headless.tensor("output.weight", {8}, kF32, std::string(32, '\0'));
  expect_failure(open(headless).status(), StatusCode::kCorrupt, {"token_embd.weight"});
}

TEST_F(GgufPackage, TakesTheDivisorsOfLlamasRotaryEmbeddingForMetadata) {
  const std::array<float, 4> divisors = {1, 1, 2.5f, 8};
  GgufBytes gguf = metadata_of("llama");
  gguf.tensor("rope_freqs.weight", {4}, kF32,
              {reinterpret_cast<const char*>(divisors.data()), sizeof(divisors)});
  add_embedding(gguf);
  const Result<ModelPackage> package = open(gguf);
  ASSERT_TRUE(package.ok()) << package.status().message();
  EXPECT_EQ(package->config()["rope_scaling"],
            nlohmann::json({{"rope_type", "divisors"}, {"divisors", {1, 1, 2.5, 8}}}));
  EXPECT_EQ(package->find("rope_freqs.weight"), nullptr);
}

/// Four layers, the second and the last of them full.
GgufBytes gemma_metadata(const std::vector<std::int32_t>& kv_heads = {2, 1, 2, 1}) {
  GgufBytes gguf = metadata_of("gemma4");
  gguf.i32s("gemma4.attention.sliding_window_pattern", {1, 0, 1, 0});
  gguf.i32s("gemma4.attention.head_count_kv", kv_heads);
  gguf.u32("gemma4.attention.key_length", 16).u32("gemma4.attention.value_length", 16);
  gguf.u32("gemma4.attention.key_length_swa", 8).u32("gemma4.attention.value_length_swa", 8);
  gguf.f32("gemma4.rope.freq_base", 1e6f).f32("gemma4.rope.freq_base_swa", 1e4f);
  gguf.u32("gemma4.attention.sliding_window", 32).f32("gemma4.final_logit_softcapping", 30);
  return gguf;
}

GgufBytes& add_divisors(GgufBytes& gguf, const std::vector<float>& divisors) {
  return gguf.tensor(
      "rope_freqs.weight", {divisors.size()}, kF32,
      {reinterpret_cast<const char*>(divisors.data()), divisors.size() * sizeof(float)});
}

TEST_F(GgufPackage, TellsTheHeadsOfGemmasSlidingLayersFromThoseOfItsFullOnes) {
  GgufBytes gguf = gemma_metadata();
  add_divisors(gguf, {1, 1, 1e30f, 1e30f, 1e30f, 1e30f, 1e30f, 1e30f});
  const nlohmann::json config = config_of(gguf);
  EXPECT_EQ(config["layer_types"], nlohmann::json({"sliding_attention", "full_attention",
                                                   "sliding_attention", "full_attention"}));
  EXPECT_EQ(config["num_key_value_heads"], 2);
  EXPECT_EQ(config["num_global_key_value_heads"], 1);
  EXPECT_EQ(config["attention_k_eq_v"], true);
  EXPECT_EQ(config["head_dim"], 8);
  EXPECT_EQ(config["global_head_dim"], 16);
  EXPECT_EQ(config["sliding_window"], 32);
  EXPECT_EQ(config["final_logit_softcapping"], 30);
  EXPECT_EQ(config["enable_moe_block"], true);
  const nlohmann::json full = config["rope_parameters"]["full_attention"];
  EXPECT_EQ(full["rope_type"], "proportional");
  EXPECT_EQ(full["partial_rotary_factor"], 0.25);
  EXPECT_EQ(full["rope_theta"], 1e6);
  EXPECT_EQ(config["rope_parameters"]["sliding_attention"]["rope_theta"], 1e4);

  // Other divisors stay what they are.
  gguf = gemma_metadata();
  add_divisors(gguf, {1, 1, 2, 2, 2, 2, 2, 2});
  EXPECT_EQ(config_of(gguf)["rope_parameters"]["full_attention"]["rope_type"], "divisors");
  // With a v_proj in every full layer, values are no keys.
  gguf = gemma_metadata({2, 2, 2, 2});
  for (const char* name : {"blk.1.attn_v.weight", "blk.3.attn_v.weight"}) {
    gguf.tensor(name, {8}, kF32, std::string(32, '\0'));
  }
  EXPECT_EQ(config_of(gguf)["attention_k_eq_v"], false);
}

TEST_F(GgufPackage, NamesTheKeyOfGemmasThatIsWrong) {
  const auto without_pattern = metadata_of("gemma4").u32("gemma4.attention.head_count_kv", 2);
  expect_failure(status_of(without_pattern), StatusCode::kNotFound,
                 {"gemma4.attention.sliding_window_pattern", "absent"});
  expect_failure(status_of(gemma_metadata({2, 1})), StatusCode::kCorrupt,
                 {"gemma4.attention.head_count_kv", "each layer"});
  expect_failure(status_of(gemma_metadata({2, 1, 4, 1})), StatusCode::kUnsupported,
                 {"gemma4.attention.head_count_kv", "one kind"});
  GgufBytes values = gemma_metadata();
  for (const char* name : {"blk.1.attn_v.weight", "blk.3.attn_v.weight"}) {
    values.tensor(name, {8}, kF32, std::string(32, '\0'));
  }
  expect_failure(status_of(values), StatusCode::kUnsupported,
                 {"gemma4.attention.head_count_kv", "attn_v"});
  GgufBytes rotated = gemma_metadata();
  rotated.u32("gemma4.rope.dimension_count_swa", 64);
  expect_failure(status_of(rotated), StatusCode::kCorrupt,
                 {"gemma4.rope.dimension_count_swa", "64"});
  GgufBytes scaled = gemma_metadata();
  scaled.text("gemma4.rope.scaling.type", "linear").f32("gemma4.rope.scaling.factor", 8);
  expect_failure(status_of(scaled), StatusCode::kUnsupported, {"gemma4.rope.scaling.type"});
  GgufBytes lengths = metadata_of("gemma4");
  lengths.i32s("gemma4.attention.sliding_window_pattern", {1, 0, 1, 0});
  lengths.u32("gemma4.attention.head_count_kv", 2).u32("gemma4.attention.key_length", 16);
  lengths.u32("gemma4.attention.value_length", 8);
  expect_failure(status_of(lengths), StatusCode::kUnsupported,
                 {"gemma4.attention.value_length", "attention.key_length"});
  GgufBytes layers;
  layers.text("general.architecture", "gemma4");
  layers.raw("gemma4.block_count", bytes_of<std::uint32_t>(10) + bytes_of(~std::uint64_t{0}));
  layers.u32("gemma4.embedding_length", 64).u32("gemma4.attention.head_count", 4);
  layers.f32("gemma4.attention.layer_norm_rms_epsilon", 0.5f);
  layers.i32s("gemma4.attention.sliding_window_pattern", {1, 0, 1, 0});
  layers.u32("gemma4.attention.head_count_kv", 2);
  expect_failure(status_of(layers), StatusCode::kCorrupt,
                 {"gemma4.attention.sliding_window_pattern", "each layer"});
}

TEST_F(GgufPackage, HasGenerationDefaults) {
  GgufBytes gguf = metadata_of("qwen3moe");
  gguf.f32("general.sampling.temp", 0.5f).u32("general.sampling.top_k", 20);
  gguf.u32("tokenizer.ggml.eos_token_id", 2).u32("tokenizer.ggml.eot_token_id", 1);
  add_embedding(gguf);
  const Result<ModelPackage> package = open(gguf);
  ASSERT_TRUE(package.ok()) << package.status().message();
  const nlohmann::json& defaults = package->generation_config();
  EXPECT_EQ(defaults["do_sample"], true);
  EXPECT_EQ(defaults["temperature"], 0.5);
  EXPECT_EQ(defaults["top_k"], 20);
  EXPECT_EQ(defaults["eos_token_id"], nlohmann::json({2, 1}));
}

TEST_F(GgufPackage, MakesMatricesOfFloatsAndBlocksAndNamesOtherTypes) {
  constexpr std::uint32_t kBf16 = 30, kQ4K = 12, kIq1S = 19;
  GgufBytes gguf = metadata_of("qwen3moe");
  gguf.tensor("row.weight", {64}, kF32, std::string(64 * 4, '\0'));
  gguf.tensor("stack.weight", {8, 4, 3}, kBf16, std::string(8 * 4 * 3 * 2, '\0'));
  gguf.tensor("packed.weight", {256, 2}, kQ4K, std::string(2 * 144, '\0'));
  gguf.tensor("other.weight", {256, 2}, kIq1S, std::string(2 * 50, '\0'));
  add_embedding(gguf);
  const Result<ModelPackage> package = open(gguf);
  ASSERT_TRUE(package.ok()) << package.status().message();
  EXPECT_TRUE(find_weight(*package, "row", 1, 1, 64).ok());  // one row may be a vector
  const auto stack = find_weight(*package, "stack", 3, 4, 8);
  ASSERT_TRUE(stack.ok()) << stack.status().message();
  EXPECT_EQ(stack->type, &float_weights(DType::kBF16));
  expect_failure(find_weight(*package, "row", 1, 2, 32).status(), StatusCode::kCorrupt,
                 {"m.gguf", "tensor row.weight", "by the metadata", "download the file again"});
  const auto packed = find_weight(*package, "packed", 1, 2, 256);
  ASSERT_TRUE(packed.ok()) << packed.status().message();
  EXPECT_EQ(packed->type->name(), "Q4_K");
  expect_failure(find_weight(*package, "packed", 1, 4, 128).status(), StatusCode::kCorrupt,
                 {"m.gguf", "tensor packed.weight", "[2, 256]"});
  expect_failure(find_weight(*package, "other", 1, 2, 256).status(), StatusCode::kUnsupported,
                 {"m.gguf", "tensor other.weight", "ggml type IQ1_S"});
  EXPECT_EQ(package->find("packed.weight")->type_name(), "Q4_K");
  EXPECT_EQ(package->find("packed.weight")->element_count(), 512u);
}

TEST_F(GgufPackage, RefusesFilesThatAreNoModelByName) {
  const std::pair<GgufBytes, const char*> files[] = {
      {GgufBytes().text("general.type", "mmproj"), "mmproj"},
      {GgufBytes().text("general.architecture", "clip"), "mmproj"},
      {GgufBytes().text("general.type", "adapter"), "LoRA"},
      {GgufBytes().text("adapter.type", "lora"), "LoRA"},
      {GgufBytes().text("general.type", "imatrix"), "imatrix"},
      {metadata_of("qwen3moe"), "vocabulary"}};
  for (const auto& [gguf, word] : files) {
    expect_failure(open(gguf).status(), StatusCode::kUnsupported, {"m.gguf", word});
  }
}

class SplitGguf : public GgufPackage {
 protected:
  static GgufBytes part(std::uint32_t index, std::uint32_t count, std::uint32_t tensors) {
    GgufBytes gguf = index == 0 ? metadata_of("qwen3moe") : GgufBytes();
    gguf.u32("split.no", index).u32("split.count", count).u32("split.tensors.count", tensors);
    return gguf;
  }
  void write_parts(std::uint32_t tensors = 2) const {
    folder_.write("m-00001-of-00003.gguf", part(0, 3, tensors).bytes());
    GgufBytes second = part(1, 3, tensors);
    add_embedding(second);
    folder_.write("m-00002-of-00003.gguf", second.bytes());
    folder_.write("m-00003-of-00003.gguf",
                  part(2, 3, tensors).tensor("output.weight", {1}, kF32, "abcd").bytes());
  }
};

TEST_F(SplitGguf, IsOneModelByItsFolderOrAnyPart) {
  write_parts();
  folder_.write("mmproj-f16.gguf", "left alone");
  for (const auto& path :
       {folder_.path(), folder_ / "m-00001-of-00003.gguf", folder_ / "m-00003-of-00003.gguf"}) {
    const Result<ModelPackage> package = ModelPackage::open(path);
    ASSERT_TRUE(package.ok()) << package.status().message();
    EXPECT_EQ(package->files().size(), 3u);
    EXPECT_EQ(package->find("token_embd.weight")->file_index, 1u);
    EXPECT_EQ(package->find("output.weight")->file_index, 2u);
    EXPECT_EQ(package->config()["tie_word_embeddings"], false);
  }
}

TEST_F(SplitGguf, SaysWhichPartsAreMissingOrWrong) {
  write_parts();
  std::filesystem::remove(folder_ / "m-00002-of-00003.gguf");
  expect_failure(ModelPackage::open(folder_.path()).status(), StatusCode::kNotFound,
                 {"1 of the 3 parts", "m-00002-of-00003.gguf"});
  std::filesystem::copy(folder_ / "m-00003-of-00003.gguf", folder_ / "m-00002-of-00003.gguf");
  expect_failure(ModelPackage::open(folder_.path()).status(), StatusCode::kCorrupt,
                 {"m-00002-of-00003.gguf", "split.no", "part 2 of 3"});
  write_parts(/*tensors=*/5);
  expect_failure(ModelPackage::open(folder_.path()).status(), StatusCode::kCorrupt,
                 {"split.tensors.count", "is 5", "hold 2"});
  expect_failure(ModelPackage::open(folder_.write("other.gguf", part(0, 3, 2).bytes())).status(),
                 StatusCode::kInvalidArgument,
                 {"other.gguf", "split.count", "-00001-of-00003.gguf"});
}

TEST_F(GgufPackage, OfSeveralInAFolderIsToBeNamed) {
  folder_.write("a.gguf", "x");
  folder_.write("b.gguf", "x");
  expect_failure(ModelPackage::open(folder_.path()).status(), StatusCode::kInvalidArgument,
                 {"2 GGUF models", "a.gguf", "b.gguf"});
  expect_failure(ModelPackage::open(folder_ / "none.gguf").status(), StatusCode::kNotFound,
                 {"none.gguf"});
  // Safetensors beside them are the model.
  folder_.write("model.safetensors", "");
  expect_failure(ModelPackage::open(folder_.path()).status(), StatusCode::kNotFound,
                 {"config.json"});
}

}  // namespace
}  // namespace flashmoe
