// What synthesis writes as GGUF is the model that was asked for, with the types that llama.cpp
// gives its tensors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <map>
#include <set>

#include "base/testing/temporary_folder.h"
#include "flashmoe/engine.h"
#include "flashmoe/inspection.h"
#include "flashmoe/synthesis.h"
#include "format/model_package.h"
#include "format/testing/expect_failure.h"
#include "format/testing/golden_data.h"
#include "kernels/formats/ggml_formats.h"
#include "synthesis/random_fill.h"

namespace flashmoe {
namespace {

namespace fs = std::filesystem;

/// Small, with every kind of layer of its family.
SynthesisOptions small_gguf(const fs::path& file, std::string mixture = "q4_k_m") {
  return {.folder = file,
          .like = "sprout",
          .layers = 4,
          .experts = 16,
          .gguf = std::move(mixture),
          .threads = 2};
}

std::string file_bytes(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

TEST(GgufSynthesis, WritesEveryFamilyThatHasAnArchitecture) {
  for (const std::string family :
       {"deepseek_v2", "deepseek_v3", "gemma4", "glm4_moe", "glm4_moe_lite", "gpt_oss",
        "minimax_m2", "mixtral", "olmoe", "qwen2_moe", "qwen3_5_moe", "qwen3_5_moe_vl", "qwen3_moe",
        "qwen3_next"}) {
    SCOPED_TRACE(family);
    const auto golden = find_golden(family + "/config.json");
    if (!golden) GTEST_SKIP() << family << " is not on this machine";
    const TemporaryFolder folder;
    SynthesisOptions options = {.folder = folder.path() / "m.gguf", .config = *golden};
    for (const std::string_view mixture : gguf_mixture_names()) {
      SCOPED_TRACE(mixture);
      options.gguf = mixture;
      const auto summary = synthesize_checkpoint(options);
      ASSERT_TRUE(summary.ok()) << summary.status().message();
      const Result<ModelInspection> inspection = inspect_model({.model = options.folder});
      ASSERT_TRUE(inspection.ok()) << inspection.status().message();
      EXPECT_EQ(inspection->layout, "gguf");
      EXPECT_EQ(inspection->tensors.size(),
                summary->tensor_count - (family == "gemma4" ? 1 : 0));  // rope_freqs is metadata
      for (const InspectedTensor& tensor : inspection->tensors) {
        EXPECT_NE(tensor.role, TensorRole::kUnused) << tensor.name;
      }
      const auto engine = Engine::open({.model = options.folder});
      ASSERT_TRUE(engine.ok()) << engine.status().message();
      const auto session = std::move((*engine)->new_session()).value();
      const std::vector<std::int32_t> ids = {3, 14, 15, 9, 2, 6};
      const auto result = session->generate(ids, {.max_tokens = 3, .ignore_eos = true});
      ASSERT_TRUE(result.ok()) << result.status().message();
      EXPECT_EQ(result->token_ids.size(), 3u);
      fs::remove(options.folder);
    }
  }
}

/// Sizes of the published files, in bytes, without their headers.
TEST(GgufSynthesis, NamedGeometriesHaveTheSizeOfThePublishedFiles) {
  const auto bytes_of_model = [](const char* like, const char* mixture) {
    const auto summary = plan_synthesis({.folder = "m.gguf", .like = like, .gguf = mixture});
    EXPECT_TRUE(summary.ok()) << summary.status().message();
    return summary.ok() ? static_cast<double>(summary->tensor_bytes) : 0;
  };
  // Qwen3-30B-A3B-Q4_K_M.gguf and gpt-oss-20b-mxfp4.gguf.
  EXPECT_NEAR(bytes_of_model("qwen3-30b-a3b", "q4_k_m"), 18.55e9, 0.05e9);
  EXPECT_NEAR(bytes_of_model("gpt-oss-20b", "mxfp4_moe"), 12.1e9, 0.05e9);
  // As many tensors as Qwen's own file of today's converter.
  EXPECT_EQ(
      plan_synthesis({.folder = "m.gguf", .like = "qwen3-next-80b", .gguf = "q8_0"})->tensor_count,
      843u);
}

/// The types that llama.cpp's quantiser gave tensors of this geometry.
TEST(GgufSynthesis, Q4KMGivesValuesAndDownProjectionsMoreBitsInSomeLayers) {
  const TemporaryFolder folder;
  const SynthesisOptions options = {
      .folder = folder.path() / "m.gguf", .like = "olmoe-1b-7b", .experts = 8, .gguf = "q4_k_m"};
  ASSERT_TRUE(synthesize_checkpoint(options).ok());
  ModelPackage package = ModelPackage::open(options.folder).value();
  const auto type_of = [&](const std::string& name) {
    const TensorRecord* const tensor = package.find(name);
    return tensor == nullptr ? std::string("none") : std::string(tensor->type_name());
  };
  EXPECT_EQ(type_of("output.weight"), "Q6_K");
  EXPECT_EQ(type_of("token_embd.weight"), "Q4_K");
  EXPECT_EQ(type_of("blk.0.ffn_gate_inp.weight"), "F32");
  EXPECT_EQ(type_of("blk.0.ffn_up_exps.weight"), "Q4_K");
  const std::set<int> more = {0, 1, 4, 7, 10, 13, 14, 15};
  for (int layer = 0; layer < 16; ++layer) {
    const std::string block = fmt::format("blk.{}.", layer);
    EXPECT_EQ(type_of(block + "ffn_down_exps.weight"), more.contains(layer) ? "Q6_K" : "Q4_K");
    // Of models with eight experts, attention has more bits.
    EXPECT_EQ(type_of(block + "attn_v.weight"), "Q8_0");
    EXPECT_EQ(type_of(block + "attn_k.weight"), "Q8_0");
    EXPECT_EQ(type_of(block + "attn_output.weight"), "Q5_K");
    EXPECT_EQ(type_of(block + "attn_q.weight"), "Q4_K");
  }
  // Rows of 384 and 64 are no multiple of 256; of tied models the embedding is the head.
  fs::remove(options.folder);
  ASSERT_TRUE(synthesize_checkpoint(small_gguf(options.folder)).ok());
  package = ModelPackage::open(options.folder).value();
  EXPECT_EQ(type_of("token_embd.weight"), "Q8_0");
  EXPECT_EQ(type_of("output.weight"), "none");
  EXPECT_EQ(type_of("blk.0.ffn_gate_exps.weight"), "Q5_0");
  EXPECT_EQ(type_of("blk.3.ffn_down_exps.weight"), "Q8_0");
  EXPECT_EQ(type_of("blk.0.ssm_conv1d.weight"), "F32");
}

TEST(GgufSynthesis, BlocksOfEveryTypeAreSoundAndHaveTheDeviationAskedFor) {
  for (const char* name : {"Q4_K", "Q5_K", "Q6_K", "Q8_0", "Q5_0", "Q5_1", "MXFP4"}) {
    const GgmlType& type = *find_ggml_type(name);
    ASSERT_TRUE(has_random_blocks(type)) << name;
    for (const float deviation : {0.5f, 0.02f, 0.004f}) {
      SCOPED_TRACE(fmt::format("{} {}", name, deviation));
      const RandomFill fill = {
          .kind = RandomFill::Kind::kBlocks, .deviation = deviation, .blocks = &type};
      constexpr std::size_t kWeights = std::size_t{1} << 17;
      std::vector<std::byte> blocks(kWeights / type.block * type.block_size);
      fill_random(fill, 7, 0, blocks);
      std::vector<float> weights(kWeights);
      ASSERT_TRUE(formats::dequantize_ggml(type, blocks, weights));
      double sum = 0;
      double squares = 0;
      for (const float w : weights) {
        ASSERT_TRUE(std::isfinite(w));
        sum += w;
        squares += static_cast<double>(w) * static_cast<double>(w);
      }
      const auto count = static_cast<double>(kWeights);
      EXPECT_NEAR(std::sqrt(squares / count) / deviation, 1, 0.06);
      EXPECT_NEAR(sum / count / deviation, 0, 0.02);

      // The same in pieces.
      std::vector<std::byte> pieces(blocks.size());
      const std::size_t half = blocks.size() / fill.unit() / 2 * fill.unit();
      fill_random(fill, 7, half, std::span(pieces).subspan(half));
      fill_random(fill, 7, 0, std::span(pieces).first(half));
      EXPECT_EQ(pieces, blocks);
    }
  }
  EXPECT_FALSE(has_random_blocks(*find_ggml_type("IQ2_XXS")));
}

TEST(GgufSynthesis, GivesTheSameBytesWhateverTheThreads) {
  const TemporaryFolder folder;
  SynthesisOptions options = small_gguf(folder.path() / "one.gguf");
  ASSERT_TRUE(synthesize_checkpoint(options).ok());
  options.folder = folder.path() / "two.gguf";
  options.threads = 1;
  ASSERT_TRUE(synthesize_checkpoint(options).ok());
  EXPECT_EQ(file_bytes(folder.path() / "one.gguf"), file_bytes(folder.path() / "two.gguf"));
  options.folder = folder.path() / "three.gguf";
  options.seed = 1;
  ASSERT_TRUE(synthesize_checkpoint(options).ok());
  EXPECT_NE(file_bytes(folder.path() / "one.gguf"), file_bytes(folder.path() / "three.gguf"));
}

TEST(GgufSynthesis, TextGoesInAndComesOut) {
  const TemporaryFolder folder;
  const SynthesisOptions options = small_gguf(folder.path() / "m.gguf", "q8_0");
  ASSERT_TRUE(synthesize_checkpoint(options).ok());
  const auto engine = Engine::open({.model = options.folder});
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  const std::string text = "Größe\n\x01 0";
  const auto ids = (*engine)->tokenize(text);
  ASSERT_TRUE(ids.ok()) << ids.status().message();
  EXPECT_EQ(ids->size(), text.size());
  EXPECT_EQ((*engine)->detokenize(*ids).value(), text);
  EXPECT_EQ((*engine)->tokenize("<|endoftext|>").value(), std::vector<std::int32_t>{0});
}

TEST(GgufSynthesis, RefusesWhatGgufCannotHold) {
  expect_failure(plan_synthesis({.like = "qwen3.8-flash-next", .gguf = "q8_0"}).status(),
                 StatusCode::kUnsupported, {"qwen4_exp", "architecture", "qwen3_moe"});
  expect_failure(plan_synthesis({.like = "sprout", .gguf = "q9"}).status(),
                 StatusCode::kInvalidArgument, {"q9", "q4_k_m"});
  // Attention is in every fourth layer.
  expect_failure(plan_synthesis({.like = "sprout", .layers = 3, .gguf = "q8_0"}).status(),
                 StatusCode::kUnsupported, {"no layer has attention", "more layers"});
  // A layer without experts in the middle has no key.
  const auto golden = find_golden("qwen3_moe/config.json");
  if (!golden) GTEST_SKIP() << "qwen3_moe is not on this machine";
  nlohmann::json config = nlohmann::json::parse(file_bytes(*golden));
  config["mlp_only_layers"] = {1};
  const TemporaryFolder folder;
  const fs::path file = folder.write("config.json", config.dump());
  expect_failure(plan_synthesis({.config = file, .gguf = "q8_0"}).status(),
                 StatusCode::kUnsupported, {"no keys", "without GGUF"});
}

TEST(GgufSynthesis, RefusesANameThatIsTakenOrWouldNotBeFound) {
  const TemporaryFolder folder;
  const fs::path taken = folder.write("taken.gguf", "precious");
  expect_failure(synthesize_checkpoint(small_gguf(taken)).status(), StatusCode::kInvalidArgument,
                 {"taken.gguf", "exists"});
  EXPECT_EQ(file_bytes(taken), "precious");
  expect_failure(synthesize_checkpoint(small_gguf(folder.path() / "model")).status(),
                 StatusCode::kInvalidArgument, {"model", ".gguf"});
  fs::remove(taken);
  expect_failure(synthesize_checkpoint(small_gguf(folder.path() / "no" / "m.gguf")).status(),
                 StatusCode::kIo, {"no", "the folder exists"});
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(GgufSynthesis, LeavesNothingBehindWhenStoppedOrTheDiskFillsUp) {
  const TemporaryFolder folder;
  SynthesisOptions options = small_gguf(folder.path() / "m.gguf");
  options.on_progress = [](std::uint64_t done, std::uint64_t total) {
    EXPECT_LE(done, total);
    return false;
  };
  EXPECT_EQ(synthesize_checkpoint(options).status().code(), StatusCode::kCancelled);
  EXPECT_TRUE(fs::is_empty(folder.path()));

  // A limit on the size of files stands for the disk's end.
  options.on_progress = nullptr;
  struct rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  struct rlimit low = before;
  low.rlim_cur = 1 << 20;
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &low), 0);
  const Status status = synthesize_checkpoint(options).status();
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, old_handler);
  expect_failure(status, StatusCode::kIo, {"m.gguf", "make room"});
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

}  // namespace
}  // namespace flashmoe
