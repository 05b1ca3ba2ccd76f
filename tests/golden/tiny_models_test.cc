// Tiny random models against transformers (qwen3_next) and mlx-lm (mlx_checkpoints), in float32:
// golden/data/README.md.
#include <gtest/gtest.h>

#include "support/collect.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

struct TinyModel {
  const char* folder;
  bool is_in_repo;
  bool has_hidden = false;
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
  const Result<Collected> got = collect(*engine_, golden.ints("input_ids"));
  ASSERT_TRUE(got.ok()) << got.status().message();
  EXPECT_LT(relative_rms(got->logits, golden.floats("logits")), 2e-3);
  if (!GetParam().has_hidden) return;
  const std::vector<float> hidden = golden.floats("hidden");
  const std::size_t size = hidden.size() / got->hidden.size();
  for (std::size_t layer = 0; layer < got->hidden.size(); ++layer) {
    const auto begin = hidden.begin() + static_cast<std::ptrdiff_t>(layer * size);
    const std::vector<float> expected(begin, begin + static_cast<std::ptrdiff_t>(size));
    EXPECT_LT(relative_rms(got->hidden[layer], expected), 2e-3) << "hidden state " << layer;
  }
}

TEST_P(TinyModels, ContinueGreedilyAsTheReferenceDoes) {
  const GoldenFile golden(folder_ / "golden.safetensors");
  const std::vector<std::int32_t> expected = golden.ints("greedy_ids");
  const std::unique_ptr<Session> session = std::move(engine_->new_session()).value();
  const Result<GenerateResult> got = session->generate(
      golden.ints("input_ids"), {.max_tokens = expected.size(), .ignore_eos = true});
  ASSERT_TRUE(got.ok()) << got.status().message();
  EXPECT_EQ(got->token_ids, expected);
}

INSTANTIATE_TEST_SUITE_P(Golden, TinyModels,
                         ::testing::Values(TinyModel{"qwen3_next", true, /*has_hidden=*/true},
                                           TinyModel{"qwen3_next-odd", true, /*has_hidden=*/true},
                                           TinyModel{"mlx_checkpoints/qwen3_next-4bit", true},
                                           TinyModel{"mlx_checkpoints/qwen3_next-mixed_3_6", true},
                                           TinyModel{"mlx_checkpoints/qwen3_next-8bit", false},
                                           TinyModel{"mlx_checkpoints/qwen3_next-bf16", false}));

}  // namespace
}  // namespace flashmoe::testing
