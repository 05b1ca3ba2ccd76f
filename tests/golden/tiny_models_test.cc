// Tiny random models against transformers and mlx-lm (mlx_checkpoints), in float32:
// golden/data/README.md.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/testing/temporary_folder.h"
#include "flashmoe/inspection.h"
#include "format/safetensors_file.h"
#include "model/ngram_hash.h"
#include "support/collect.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

struct TinyModel {
  const char* folder;
  bool is_in_repo;
  bool has_hidden = false;
  /// Not 0: in this row the router's logits of two experts are closer than activations of 16 bits
  /// tell, so that the rows from there on are of another choice.
  std::size_t tied_row = 0;
};

void PrintTo(const TinyModel& model, std::ostream* out) { *out << model.folder; }

class TinyModels : public ::testing::TestWithParam<TinyModel> {
 protected:
  void SetUp() override {
    if (GetParam().is_in_repo) {
      folder_ = golden_path(GetParam().folder);
    } else {
      const auto shared = shared_path(std::string("golden/") + GetParam().folder);
      if (!shared) GTEST_SKIP() << GetParam().folder << " is not on this machine";
      folder_ = *shared;
    }
    Result<std::unique_ptr<Engine>> engine =
        Engine::open({.model = folder_, .memory_bytes = std::uint64_t{1} << 30});
    ASSERT_TRUE(engine.ok()) << engine.status().message();
    engine_ = std::move(engine).value();
  }

  std::filesystem::path folder_;
  std::unique_ptr<Engine> engine_;
};

TEST_P(TinyModels, GiveTheLogitsAndHiddenStatesOfTheReference) {
  const GoldenFile golden(folder_ / "golden.safetensors");
  Result<Collected> got = collect(*engine_, golden.ints("input_ids"));
  ASSERT_TRUE(got.ok()) << got.status().message();
  std::vector<float> expected_logits = golden.floats("logits");
  ASSERT_EQ(got->logits.size(), expected_logits.size());
  if (GetParam().tied_row != 0) {
    const std::size_t size =
        expected_logits.size() / golden.ints("input_ids").size() * GetParam().tied_row;
    expected_logits.resize(size);
    got->logits.resize(size);
  }
  EXPECT_LT(relative_rms(got->logits, expected_logits), 2e-3);
  if (!GetParam().has_hidden) return;
  std::vector<float> hidden = golden.floats("hidden");
  if (engine_->info().residual_streams > 1) {
    EXPECT_LT(relative_rms(got->hidden.back(), golden.floats("final_hidden")), 2e-3);
    got->hidden.pop_back();
  }
  const std::size_t size = hidden.size() / got->hidden.size();
  for (std::size_t layer = 0; layer < got->hidden.size(); ++layer) {
    const auto begin = hidden.begin() + static_cast<std::ptrdiff_t>(layer * size);
    const std::vector<float> expected(begin, begin + static_cast<std::ptrdiff_t>(size));
    EXPECT_LT(relative_rms(got->hidden[layer], expected), 2e-3) << "hidden state " << layer;
  }
}

TEST_P(TinyModels, ContinueGreedilyAsTheReferenceDoes) {
  if (GetParam().tied_row != 0) GTEST_SKIP() << "what follows a tie is another text";
  const GoldenFile golden(folder_ / "golden.safetensors");
  const std::vector<std::int32_t> expected = golden.ints("greedy_ids");
  const std::unique_ptr<Session> session = std::move(engine_->new_session()).value();
  const Result<GenerateResult> got = session->generate(
      golden.ints("input_ids"), {.max_tokens = expected.size(), .ignore_eos = true});
  ASSERT_TRUE(got.ok()) << got.status().message();
  EXPECT_EQ(got->token_ids, expected);
}

// A slot for each expert of a token's layer alone, and a prompt in other pieces.
TEST_P(TinyModels, GiveTheSameBitsAtTheSmallestBudget) {
  const Result<ModelInspection> inspection = inspect_model({.model = folder_});
  ASSERT_TRUE(inspection.ok()) << inspection.status().message();
  const Result<std::unique_ptr<Engine>> small =
      Engine::open({.model = folder_,
                    .memory_bytes = inspection->minimum.budget_bytes_min + (1u << 20),
                    .prefill_chunk = 7});
  ASSERT_TRUE(small.ok()) << small.status().message();
  const GoldenFile golden(folder_ / "golden.safetensors");
  const Result<Collected> resident = collect(*engine_, golden.ints("input_ids"));
  const Result<Collected> streamed = collect(**small, golden.ints("input_ids"));
  ASSERT_TRUE(resident.ok() && streamed.ok());
  EXPECT_TRUE(std::ranges::equal(resident->logits, streamed->logits));
}

/// Waits for the end of a generation.
class Generated : public GenerationListener {
 public:
  void on_token(const GeneratedToken& token) override { ids_.push_back(token.id); }
  void on_end(const GenerationEnd& end) override { end_.set_value(end); }
  /// Call it once.
  GenerationEnd wait() { return end_.get_future().get(); }
  const std::vector<std::int32_t>& ids() const { return ids_; }

 private:
  std::vector<std::int32_t> ids_;
  std::promise<GenerationEnd> end_;
};

TEST_P(TinyModels, GiveTheSameTokensInCompanyAndFromWhatTheyRemember) {
  constexpr std::size_t kTokens = 12;
  const std::unique_ptr<Engine> shared = Engine::open({.model = folder_,
                                                       .memory_bytes = std::uint64_t{1} << 30,
                                                       .prefill_chunk = 7,
                                                       .sessions = 2,
                                                       .prefix_cache_bytes = 8u << 20})
                                             .value();
  const std::unique_ptr<Scheduler> scheduler = shared->new_scheduler({}).value();
  const auto submit = [&](const std::vector<std::int32_t>& prompt) {
    auto listener = std::make_shared<Generated>();
    EXPECT_TRUE(
        scheduler->submit({.prompt = prompt, .max_tokens = kTokens, .ignore_eos = true}, listener)
            .ok());
    return listener;
  };
  const auto alone = [&](const std::vector<std::int32_t>& prompt) {
    return engine_->new_session()
        .value()
        ->generate(prompt, {.max_tokens = kTokens, .ignore_eos = true})
        .value()
        .token_ids;
  };
  std::vector<std::int32_t> first = GoldenFile(folder_ / "golden.safetensors").ints("input_ids");
  const std::vector<std::int32_t> second(first.rbegin(), first.rend() - 9);
  const auto of_first = submit(first);
  const auto of_second = submit(second);
  EXPECT_EQ(of_first->wait().statistics.cached_tokens, 0u);
  of_second->wait();
  EXPECT_EQ(of_first->ids(), alone(first));
  EXPECT_EQ(of_second->ids(), alone(second));
  first.insert(first.end(), of_first->ids().begin(), of_first->ids().end());
  first.insert(first.end(), second.begin(), second.begin() + 5);
  const auto of_more = submit(first);
  EXPECT_GT(of_more->wait().statistics.cached_tokens, 0u);
  EXPECT_EQ(of_more->ids(), alone(first));
}

// The numbers that synthetic checkpoints hold are those that transformers makes of the same config.
TEST(NgramHashes, AreThoseOfTheReference) {
  const NgramHashes hashes = make_ngram_hashes({.ngram_size = 3,
                                                .heads_per_ngram = 4,
                                                .vocab_size_base = 50,
                                                .divisor = 16,
                                                .seed = 1234,
                                                .vocab_size = 288});
  const SafetensorsFile file =
      SafetensorsFile::open(golden_path("qwen4_exp/model.safetensors")).value();
  const auto stored = [&](const char* name) {
    const std::vector<std::byte> bytes =
        file.read(std::string("model.layers.1.ple.ple_embedding.") + name).value();
    std::vector<std::int64_t> values(bytes.size() / sizeof(std::int64_t));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  };
  EXPECT_EQ(hashes.multipliers, stored("layer_multipliers"));
  EXPECT_EQ(hashes.sizes, stored("ngram_heads_vocab_sizes"));
  EXPECT_EQ(hashes.offsets, stored("ngram_heads_offsets"));
}

// A window lets go of what it has passed, and hides it from no row that sees it.
TEST(SlidingWindow, GivesTheSameBitsHoweverAPromptIsCut) {
  constexpr std::size_t kWindow = 9;
  const std::filesystem::path model = golden_path("mlx_checkpoints/mixtral-4bit");
  TemporaryFolder folder;
  std::filesystem::copy(model, folder.path(), std::filesystem::copy_options::recursive);
  nlohmann::json config = nlohmann::json::parse(std::ifstream(model / "config.json"));
  config["sliding_window"] = kWindow;
  std::ofstream(folder / "config.json") << config;

  std::vector<std::int32_t> ids;
  const std::vector<std::int32_t> golden_ids =
      GoldenFile(model / "golden.safetensors").ints("input_ids");
  while (ids.size() < 300) ids.insert(ids.end(), golden_ids.begin(), golden_ids.end());
  const auto logits = [&](const std::filesystem::path& path, std::size_t chunk) {
    const auto engine = Engine::open(
        {.model = path, .memory_bytes = std::uint64_t{1} << 30, .prefill_chunk = chunk});
    EXPECT_TRUE(engine.ok()) << engine.status().message();
    return collect(**engine, ids).value().logits;
  };
  const std::vector<float> whole = logits(folder.path(), 512);
  for (const std::size_t chunk : {1, 7, 64, 100}) {
    EXPECT_TRUE(std::ranges::equal(logits(folder.path(), chunk), whole)) << chunk;
  }
  // As long as all is in sight, what the model without a window gives; then something else.
  const std::vector<float> unlimited = logits(model, 512);
  const std::size_t seen = kWindow * (whole.size() / ids.size());
  EXPECT_TRUE(std::equal(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(seen),
                         unlimited.begin()));
  EXPECT_GT(relative_rms(whole, unlimited), 1e-2);
}

INSTANTIATE_TEST_SUITE_P(Golden, TinyModels,
                         ::testing::Values(TinyModel{"qwen3_next", true, /*has_hidden=*/true},
                                           TinyModel{"qwen3_next-odd", true, /*has_hidden=*/true},
                                           TinyModel{"mlx_checkpoints/qwen3_next-4bit", true},
                                           TinyModel{"mlx_checkpoints/qwen3_next-mixed_3_6", true},
                                           TinyModel{"mlx_checkpoints/qwen3_next-8bit", false},
                                           TinyModel{"mlx_checkpoints/qwen3_next-bf16", false},
                                           TinyModel{"qwen3_5_moe", false, /*has_hidden=*/true},
                                           TinyModel{"qwen3_5_moe_vl", false, /*has_hidden=*/true},
                                           TinyModel{"mlx_checkpoints/qwen3_5_moe-4bit", true},
                                           TinyModel{"qwen4_exp", true, /*has_hidden=*/true},
                                           TinyModel{"qwen3_moe", false, /*has_hidden=*/true},
                                           TinyModel{"mlx_checkpoints/qwen3_moe-4bit", true},
                                           TinyModel{"qwen2_moe", false, /*has_hidden=*/true},
                                           TinyModel{"mlx_checkpoints/qwen2_moe-4bit", true},
                                           TinyModel{"mixtral", false, /*has_hidden=*/true},
                                           TinyModel{"mlx_checkpoints/mixtral-4bit", true},
                                           TinyModel{"olmoe", false, /*has_hidden=*/true},
                                           TinyModel{"mlx_checkpoints/olmoe-4bit", true},
                                           TinyModel{"glm4_moe", false, /*has_hidden=*/true},
                                           TinyModel{"mlx_checkpoints/glm4_moe-4bit", true},
                                           TinyModel{"deepseek_v2", false, /*has_hidden=*/true},
                                           TinyModel{"mlx_checkpoints/deepseek_v2-4bit", true},
                                           TinyModel{"deepseek_v3", false, /*has_hidden=*/true},
                                           TinyModel{"mlx_checkpoints/deepseek_v3-4bit", false},
                                           TinyModel{"mlx_checkpoints/deepseek_v3-4bit-g32", true},
                                           TinyModel{"glm4_moe_lite", false, /*has_hidden=*/true},
                                           TinyModel{"mlx_checkpoints/glm4_moe_lite-4bit", false},
                                           TinyModel{"minimax_m2", false, /*has_hidden=*/true},
                                           TinyModel{"mlx_checkpoints/minimax_m2-4bit", true},
                                           TinyModel{"gpt_oss", false, /*has_hidden=*/true},
                                           TinyModel{"mlx_checkpoints/gpt_oss-4bit", true},
                                           TinyModel{"mlx_checkpoints/gpt_oss-mxfp4", true},
                                           TinyModel{"mlx_checkpoints/gpt_oss-mxfp4-q8", false},
                                           TinyModel{"gpt_oss_mxfp4", true, /*has_hidden=*/true},
                                           TinyModel{"mlx_checkpoints/qwen3_moe-nvfp4", true},
                                           TinyModel{"mlx_checkpoints/qwen3_moe-mxfp8", true},
                                           TinyModel{"minimax_m2_fp8", true, /*has_hidden=*/true},
                                           TinyModel{"gemma4", false, /*has_hidden=*/true},
                                           TinyModel{"mlx_checkpoints/gemma4-4bit", true,
                                                     /*has_hidden=*/false, /*tied_row=*/33}));

}  // namespace
}  // namespace flashmoe::testing
