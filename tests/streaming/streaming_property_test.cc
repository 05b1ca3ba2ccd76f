// streamed == resident, bit for bit: whatever the budget, I/O backend, thread count, chunk size and
// CPU target.
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>
#include <thread>

#include "base/budget_text.h"
#include "base/testing/temporary_folder.h"
#include "kernels/cpu/cpu_targets.h"
#include "support/collect.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

/// What must not change: every logit of the prompt, and the tokens that follow it with their
/// logits.
struct Output {
  std::vector<float> prompt_logits;
  std::vector<float> generated_logits;
  std::vector<std::int32_t> ids;
};

// Sanitizers make the math ten times slower, and find in it by 40 tokens what they find by 90.
#ifdef FLASHMOE_SANITIZED
constexpr std::size_t kPromptTokens = 40, kGenerated = 6;
#else
constexpr std::size_t kPromptTokens = 90, kGenerated = 12;
#endif

Output run(Engine& engine, std::span<const std::int32_t> prompt) {
  Output output;
  const Result<Collected> collected = collect(engine, prompt);
  EXPECT_TRUE(collected.ok()) << collected.status().message();
  if (collected.ok()) output.prompt_logits = collected->logits;

  const std::unique_ptr<Session> session = std::move(engine.new_session()).value();
  GenerateOptions generate{.max_tokens = kGenerated, .ignore_eos = true};
  generate.on_logits = [&](std::span<const float> logits) {
    output.generated_logits.insert(output.generated_logits.end(), logits.begin(), logits.end());
  };
  const Result<GenerateResult> generated = session->generate(prompt, generate);
  EXPECT_TRUE(generated.ok()) << generated.status().message();
  if (generated.ok()) output.ids = generated->token_ids;
  return output;
}

Output run(const EngineOptions& options, std::span<const std::int32_t> prompt) {
  const Result<std::unique_ptr<Engine>> engine = Engine::open(options);
  EXPECT_TRUE(engine.ok()) << engine.status().message();
  return engine.ok() ? run(**engine, prompt) : Output();
}

void expect_same_bits(const Output& got, const Output& expected) {
  EXPECT_EQ(got.ids, expected.ids);
  const auto same = [](const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  };
  EXPECT_TRUE(same(got.prompt_logits, expected.prompt_logits));
  EXPECT_TRUE(same(got.generated_logits, expected.generated_logits));
}

class Streaming : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const GoldenFile golden(sprout_folder() / "golden.safetensors");
    prompt_ = new std::vector<std::int32_t>(golden.ints("rust.input_ids"));
    prompt_->resize(kPromptTokens);
    options_ = new EngineOptions{.model = sprout_folder(), .context = 256};
    options_->memory_bytes = std::uint64_t{1} << 30;
    const std::unique_ptr<Engine> engine = Engine::open(*options_).value();
    plan_ = new MemoryPlan(engine->memory_plan());
    resident_ = new Output(run(*options_, *prompt_));
  }
  static void TearDownTestSuite() {
    delete prompt_;
    delete options_;
    delete plan_;
    delete resident_;
  }

  /// A budget between the least that works (0) and one that holds every expert (1).
  static std::uint64_t budget_at(double share) {
    const auto span = static_cast<double>(plan_->budget_bytes_resident - plan_->budget_bytes_min);
    return plan_->budget_bytes_min + static_cast<std::uint64_t>(share * span);
  }

  static std::vector<std::int32_t>* prompt_;
  static EngineOptions* options_;
  static MemoryPlan* plan_;
  static Output* resident_;
};

std::vector<std::int32_t>* Streaming::prompt_ = nullptr;
EngineOptions* Streaming::options_ = nullptr;
MemoryPlan* Streaming::plan_ = nullptr;
Output* Streaming::resident_ = nullptr;

TEST_F(Streaming, ResidentRunHoldsEveryExpert) {
  EXPECT_EQ(plan_->expert_slots, plan_->expert_count);
  EXPECT_EQ(resident_->ids.size(), kGenerated);
}

TEST_F(Streaming, SmallestBudgetGivesTheBitsOfTheResidentModel) {
  EngineOptions options = *options_;
  options.memory_bytes = plan_->budget_bytes_min;
  options.prefill_chunk = 16;
  expect_same_bits(run(options, *prompt_), *resident_);
}

TEST_F(Streaming, BelowTheSmallestBudgetIsAnErrorThatNamesIt) {
  EngineOptions options = *options_;
  options.prefill_chunk = 16;
  options.memory_bytes = std::uint64_t{1} << 30;
  const std::uint64_t least = Engine::open(options).value()->memory_plan().budget_bytes_min;
  options.memory_bytes = least - 1;
  const Status status = Engine::open(options).status();
  EXPECT_EQ(status.code(), StatusCode::kOutOfBudget);
  EXPECT_NE(status.message().find(budget_text(least)), std::string::npos) << status.message();
}

TEST_F(Streaming, AnyConfigurationGivesTheBitsOfTheResidentModel) {
  const unsigned seed = 20261123;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const auto pick = [&random](auto... values) {
    const std::array choices = {values...};
    return choices[random() % choices.size()];
  };
  for (int trial = 0; trial < 7; ++trial) {
    EngineOptions options = *options_;
    options.memory_bytes = budget_at(pick(0.0, 0.1, 0.25, 0.5, 0.75, 1.0));
    options.threads = pick(std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{5});
    options.prefill_chunk = pick(std::size_t{1}, std::size_t{7}, std::size_t{16}, std::size_t{64},
                                 kPromptTokens, std::size_t{256});
    options.io = pick(IoChoice::kAuto, IoChoice::kPread);
    options.speculation = pick(true, false);
    SCOPED_TRACE(::testing::Message()
                 << "memory " << options.memory_bytes << ", threads " << options.threads
                 << ", chunk " << options.prefill_chunk << ", io " << static_cast<int>(options.io)
                 << ", speculation " << options.speculation);
    const Result<std::unique_ptr<Engine>> fits = Engine::open(options);
    // A large chunk needs buffers that the smallest budgets cannot hold.
    if (fits.status().code() == StatusCode::kOutOfBudget) options.prefill_chunk = 1;
    expect_same_bits(run(options, *prompt_), *resident_);
  }
}

TEST_F(Streaming, RestoredExpertsGiveTheBitsOfTheResidentModel) {
  const TemporaryFolder folder;
  const std::filesystem::path file = folder / "set";
  for (const double share : {0.0, 0.4, 1.0}) {
    for (const IoChoice io : {IoChoice::kAuto, IoChoice::kPread}) {
      SCOPED_TRACE(::testing::Message() << "share " << share << ", io " << static_cast<int>(io));
      EngineOptions options = *options_;
      options.memory_bytes = budget_at(share);
      options.prefill_chunk = 16;
      options.io = io;
      options.resident_set_file = file;
      options.on_warning = [](const Status& status) { ADD_FAILURE() << status.message(); };
      expect_same_bits(run(options, *prompt_), *resident_);
      ASSERT_TRUE(std::filesystem::exists(file));
      // The rest comes while the model runs.
      const std::unique_ptr<Engine> engine = Engine::open(options).value();
      while (engine->statistics().experts_restored == 0) std::this_thread::yield();
      expect_same_bits(run(*engine, *prompt_), *resident_);
    }
  }
  std::filesystem::remove(file);
}

TEST_F(Streaming, EveryCpuTargetGivesTheSameBits) {
  for (const std::string_view target : supported_cpu_targets()) {
    SCOPED_TRACE(std::string(target));
    setenv("FLASHMOE_CPU_TARGET", std::string(target).c_str(), 1);
    EngineOptions options = *options_;
    options.memory_bytes = budget_at(0.3);
    expect_same_bits(run(options, *prompt_), *resident_);
  }
  unsetenv("FLASHMOE_CPU_TARGET");
}

}  // namespace
}  // namespace flashmoe::testing
