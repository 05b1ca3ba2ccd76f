// Keys and values of every precision: streamed == resident, chunked == whole, and a conversation
// that goes on from what another run kept, bit for bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "base/testing/temporary_folder.h"
#include "flashmoe/engine.h"
#include "support/collect.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

constexpr std::array kPrecisions = {KvPrecision::kF32, KvPrecision::kBF16, KvPrecision::kInt8};

/// A model and how its attention keeps positions.
struct KvModel {
  const char* name;
  std::filesystem::path folder;
};

// Full attention beside a recurrence; alone; with windows and sinks; with windows and values that
// are keys; latents; with an indexer, which chooses among 150 positions.
std::vector<KvModel> kv_models() {
  return {{"qwen3_next", golden_path("mlx_checkpoints/qwen3_next-4bit")},
          {"qwen3_moe", golden_path("mlx_checkpoints/qwen3_moe-4bit")},
          {"gpt_oss", golden_path("mlx_checkpoints/gpt_oss-4bit")},
          {"gemma4", golden_path("mlx_checkpoints/gemma4-4bit")},
          {"deepseek_v2", golden_path("mlx_checkpoints/deepseek_v2-4bit")},
          {"deepseek_v3", golden_path("mlx_checkpoints/deepseek_v3-4bit-g32")},
          {"qwen4_exp", golden_path("qwen4_exp")}};
}

/// The golden prompt of a folder, again and again.
std::vector<std::int32_t> long_prompt(const std::filesystem::path& folder, std::size_t count) {
  const std::vector<std::int32_t> golden =
      GoldenFile(folder / "golden.safetensors").ints("input_ids");
  std::vector<std::int32_t> ids;
  while (ids.size() < count) ids.insert(ids.end(), golden.begin(), golden.end());
  ids.resize(count);
  return ids;
}

std::vector<float> logits_of(const EngineOptions& options, std::span<const std::int32_t> ids) {
  const Result<std::unique_ptr<Engine>> engine = Engine::open(options);
  EXPECT_TRUE(engine.ok()) << engine.status().message();
  return engine.ok() ? collect(**engine, ids).value().logits : std::vector<float>();
}

TEST(KvPrecision, GivesTheSameBitsHoweverAPromptIsCut) {
  for (const auto& [name, folder] : kv_models()) {
    const std::vector<std::int32_t> ids = long_prompt(folder, 150);
    std::vector<float> floats;
    for (const KvPrecision precision : kPrecisions) {
      SCOPED_TRACE(std::string(name) + ", " + std::string(to_string(precision)));
      EngineOptions options = {.model = folder,
                               .memory_bytes = std::uint64_t{1} << 30,
                               .context = 160,
                               .kv_precision = precision,
                               .prefill_chunk = 160};
      const std::vector<float> whole = logits_of(options, ids);
      for (const std::size_t chunk : {1, 7, 64}) {
        options.prefill_chunk = chunk;
        EXPECT_TRUE(std::ranges::equal(logits_of(options, ids), whole)) << chunk;
      }
      if (precision == KvPrecision::kF32) {
        floats = whole;
      } else {
        // Another model's numbers, and close to them.
        EXPECT_FALSE(std::ranges::equal(whole, floats));
        EXPECT_LT(relative_rms(whole, floats), 0.1);
      }
    }
  }
}

TEST(KvPrecision, GivesTheSameBitsInEveryBudget) {
  const GoldenFile golden(sprout_folder() / "golden.safetensors");
  std::vector<std::int32_t> ids = golden.ints("rust.input_ids");
  ids.resize(90);
  for (const KvPrecision precision : kPrecisions) {
    SCOPED_TRACE(to_string(precision));
    EngineOptions options = {.model = sprout_folder(),
                             .memory_bytes = std::uint64_t{1} << 30,
                             .context = 128,
                             .kv_precision = precision};
    const std::unique_ptr<Engine> engine = Engine::open(options).value();
    const std::vector<float> resident = collect(*engine, ids).value().logits;
    options.memory_bytes = engine->memory_plan().budget_bytes_min;
    options.threads = 1;
    EXPECT_TRUE(std::ranges::equal(logits_of(options, ids), resident));
  }
}

// What a position takes less of goes to experts.
TEST(KvPrecision, LeavesRoomForMoreExperts) {
  std::vector<MemoryPlan> plans;
  for (const KvPrecision precision : kPrecisions) {
    plans.push_back(Engine::open({.model = sprout_folder(),
                                  .memory_bytes = std::uint64_t{48} << 20,
                                  .context = 4096,
                                  .kv_precision = precision,
                                  .prefill_chunk = 16})
                        .value()
                        ->memory_plan());
    EXPECT_EQ(plans.back().kv_precision, precision);
  }
  // Two layers of keys and values, two heads of 64: as floats, as halves, as bytes with two scales.
  constexpr std::uint64_t kRows = 4096 * 2 * 2 * 2;
  EXPECT_EQ(plans[0].kv_bytes, kRows * 64 * 4);
  EXPECT_EQ(plans[1].kv_bytes, kRows * 64 * 2);
  EXPECT_EQ(plans[2].kv_bytes, kRows * (64 + 2 * 4));
  for (std::size_t i = 1; i < plans.size(); ++i) {
    const std::uint64_t saved = plans[i - 1].kv_bytes - plans[i].kv_bytes;
    const std::size_t more = plans[i].expert_slots - plans[i - 1].expert_slots;
    const std::uint64_t slots = saved / plans[0].expert_slot_bytes;
    EXPECT_GE(more, slots);
    EXPECT_LE(more, slots + 1);
  }
}

/// Hears of one generation.
class Heard : public GenerationListener {
 public:
  void on_token(const GeneratedToken& token) override {
    ids.push_back(token.id);
    logprobs.push_back(token.logprob->logprob);
  }
  void on_end(const GenerationEnd& end) override { end_.set_value(end); }
  GenerationEnd wait() { return end_.get_future().get(); }

  std::vector<std::int32_t> ids;
  std::vector<float> logprobs;

 private:
  std::promise<GenerationEnd> end_;
};

/// What a server that keeps prompts in `folder`, or nowhere, answers.
std::shared_ptr<Heard> answer(const std::filesystem::path& model, KvPrecision precision,
                              const std::filesystem::path& folder,
                              const std::vector<std::int32_t>& prompt, std::uint64_t* cached) {
  const std::unique_ptr<Engine> engine =
      Engine::open({.model = model,
                    .memory_bytes = std::uint64_t{1} << 30,
                    .context = 512,
                    .kv_precision = precision,
                    .prefix_cache_bytes = std::uint64_t{32} << 20})
          .value();
  const std::unique_ptr<Scheduler> scheduler =
      engine->new_scheduler({.cache_folder = folder}).value();
  auto heard = std::make_shared<Heard>();
  GenerationRequest request = {.prompt = prompt, .max_tokens = 8, .ignore_eos = true};
  request.top_logprobs = 0;
  EXPECT_TRUE(scheduler->submit(std::move(request), heard).ok());
  *cached = heard->wait().statistics.cached_tokens;
  return heard;
}

// Each precision goes on from its own checkpoints of an earlier run, to the same bits, and from
// those of no other.
TEST(KvPrecision, GoesOnFromItsOwnCheckpointsAlone) {
  for (const char* const name : {"mlx_checkpoints/gpt_oss-4bit", "mlx_checkpoints/deepseek_v2-4bit",
                                 "mlx_checkpoints/qwen3_next-4bit", "qwen4_exp"}) {
    const std::filesystem::path model = golden_path(name);
    const std::vector<std::int32_t> first = long_prompt(model, 150);
    for (const KvPrecision precision : kPrecisions) {
      SCOPED_TRACE(std::string(name) + ", " + std::string(to_string(precision)));
      const TemporaryFolder folder;
      std::uint64_t cached = 0;
      const auto turn = answer(model, precision, folder.path(), first, &cached);
      EXPECT_EQ(cached, 0u);
      std::vector<std::int32_t> second = first;
      second.insert(second.end(), turn->ids.begin(), turn->ids.end());
      second.insert(second.end(), first.begin(), first.begin() + 5);

      for (const KvPrecision other : kPrecisions) {
        if (other == precision) continue;
        answer(model, other, folder.path(), second, &cached);
        EXPECT_EQ(cached, 0u) << to_string(other);
      }
      const auto continued = answer(model, precision, folder.path(), second, &cached);
      EXPECT_GE(cached, 128u);
      const auto anew = answer(model, precision, {}, second, &cached);
      EXPECT_EQ(cached, 0u);
      EXPECT_EQ(continued->ids, anew->ids);
      EXPECT_EQ(continued->logprobs, anew->logprobs);
    }
  }
}

}  // namespace
}  // namespace flashmoe::testing
