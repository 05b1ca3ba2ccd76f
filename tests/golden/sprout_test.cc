// The shipped model against Hugging Face transformers in float32 on the dequantised weights:
// models/README.md.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/collect.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

const char* const kDomains[] = {"english",   "python",   "rust", "web",  "chinese",
                                "poetry_zh", "japanese", "math", "chat", "tools"};

class Sprout : public ::testing::TestWithParam<const char*> {
 protected:
  static void SetUpTestSuite() {
    Result<std::unique_ptr<Engine>> engine =
        Engine::open({.model = sprout_folder(), .memory_bytes = std::uint64_t{1} << 30});
    ASSERT_TRUE(engine.ok()) << engine.status().message();
    engine_ = std::move(engine).value().release();
  }
  static void TearDownTestSuite() {
    delete engine_;
    engine_ = nullptr;
  }

  std::string key(const char* name) const { return std::string(GetParam()) + "." + name; }

  static Engine* engine_;
  GoldenFile golden_{sprout_folder() / "golden.safetensors"};
};

Engine* Sprout::engine_ = nullptr;

struct TopTwo {
  std::int32_t argmax = 0;
  float margin = 0;
};

TopTwo top_two(std::span<const float> logits) {
  TopTwo top;
  float second = -INFINITY;
  for (std::size_t i = 1; i < logits.size(); ++i) {
    const float best = logits[static_cast<std::size_t>(top.argmax)];
    if (logits[i] > best) {
      second = best;
      top.argmax = static_cast<std::int32_t>(i);
    } else {
      second = std::max(second, logits[i]);
    }
  }
  if (logits.size() > 1 && second == -INFINITY) second = logits[0];
  top.margin = logits[static_cast<std::size_t>(top.argmax)] - second;
  return top;
}

double log_sum_exp(std::span<const float> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  return largest + std::log(sum);
}

// A router decision closer than the golden file's smallest margins may fall either way in a correct
// engine, and moves the positions around it: at most one position in fifty, by at most 0.05.
TEST_P(Sprout, GivesTheReferencesProbabilitiesAndArgmax) {
  const std::vector<std::int32_t> ids = golden_.ints(key("input_ids"));
  const Result<Collected> got = collect(*engine_, ids);
  ASSERT_TRUE(got.ok()) << got.status().message();
  const std::vector<float> target_logprob = golden_.floats(key("target_logprob"));
  const std::vector<std::int32_t> argmax = golden_.ints(key("argmax"));
  const std::size_t vocab = engine_->info().vocab_size;
  std::size_t moved_count = 0;
  for (std::size_t t = 0; t < ids.size(); ++t) {
    const std::span<const float> logits(got->logits.data() + t * vocab, vocab);
    const TopTwo top = top_two(logits);
    if (top.margin > 1e-2f) {
      EXPECT_EQ(top.argmax, argmax[t]) << "position " << t;
    }
    if (t + 1 == ids.size()) break;
    const double logprob = logits[static_cast<std::size_t>(ids[t + 1])] - log_sum_exp(logits);
    const double difference = std::abs(logprob - target_logprob[t]);
    EXPECT_LT(difference, 0.05) << "position " << t;
    moved_count += difference > 2e-3 ? 1 : 0;
  }
  EXPECT_LE(moved_count, ids.size() / 50);

  const std::vector<float> last(got->logits.end() - static_cast<std::ptrdiff_t>(vocab),
                                got->logits.end());
  EXPECT_LT(relative_rms(last, golden_.floats(key("last_logits"))), 1e-3);
}

TEST_P(Sprout, ContinuesGreedilyAsTheReferenceDoes) {
  for (const char* number : {"0", "1"}) {
    const std::unique_ptr<Session> session = std::move(engine_->new_session()).value();
    const std::vector<std::int32_t> expected = golden_.ints(key("greedy") + number);
    const Result<GenerateResult> got = session->generate(
        golden_.ints(key("prompt") + number), {.max_tokens = expected.size(), .ignore_eos = true});
    ASSERT_TRUE(got.ok()) << got.status().message();
    EXPECT_EQ(got->token_ids, expected) << "prompt " << number;
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, Sprout, ::testing::ValuesIn(kDomains),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace flashmoe::testing
