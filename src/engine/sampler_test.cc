#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

namespace flashmoe {
namespace {

Sampler make(const SamplingOptions& options) { return Sampler::create(options).value(); }

/// How often each token comes up in `count` draws.
std::map<std::int32_t, int> draw(Sampler sampler, const std::vector<float>& logits, int count) {
  std::map<std::int32_t, int> counts;
  for (int i = 0; i < count; ++i) ++counts[sampler.sample(logits)];
  return counts;
}

TEST(Sampler, GreedyTakesTheLikeliestAndOnTiesTheSmallerId) {
  Sampler sampler = make({});
  EXPECT_EQ(sampler.sample(std::vector<float>{1, 3, 2}), 1);
  EXPECT_EQ(sampler.sample(std::vector<float>{1, 3, 2, 3}), 1);
  EXPECT_EQ(sampler.sample(std::vector<float>{-5}), 0);
}

TEST(Sampler, NotANumberIsNeverChosen) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(make({}).sample(std::vector<float>{nan, -3, nan}), 1);
  EXPECT_EQ(draw(make({.temperature = 1}), {nan, 0, nan, 0}, 200).count(0), 0u);
}

TEST(Sampler, InfiniteLogitsDoNotBreakSampling) {
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(make({.temperature = 1}).sample(std::vector<float>{0, inf, 1}), 1);
  EXPECT_EQ(make({.temperature = 1}).sample(std::vector<float>{-inf, 2, -inf}), 1);
  EXPECT_EQ(make({.temperature = 1}).sample(std::vector<float>{-inf, -inf}), 0);
}

TEST(Sampler, DrawsInProportionToProbability) {
  // Probabilities 0.1, 0.2, 0.3, 0.4 of 20,000 draws: within five standard deviations of the mean.
  const std::vector<float> logits = {std::log(1.0f), std::log(2.0f), std::log(3.0f),
                                     std::log(4.0f)};
  const int count = 20000;
  const std::map<std::int32_t, int> counts = draw(make({.temperature = 1}), logits, count);
  for (const auto& [id, n] : counts) {
    const double p = (id + 1) / 10.0;
    EXPECT_NEAR(n, count * p, 5 * std::sqrt(count * p * (1 - p))) << id;
  }
  EXPECT_EQ(counts.size(), 4u);
}

TEST(Sampler, TemperatureSharpensTheDistribution) {
  // At temperature 0.5 the odds of 1 : 3 become 1 : 9.
  const std::vector<float> logits = {0, std::log(3.0f)};
  const auto counts = draw(make({.temperature = 0.5}), logits, 20000);
  EXPECT_NEAR(counts.at(0), 2000, 5 * std::sqrt(20000 * 0.1 * 0.9));
}

TEST(Sampler, TopKKeepsTheKLikeliest) {
  const std::vector<float> logits = {5, 1, 4, 3, 2};
  const auto counts = draw(make({.temperature = 100, .top_k = 3}), logits, 500);
  EXPECT_EQ(counts.size(), 3u);
  EXPECT_EQ(counts.count(1) + counts.count(4), 0u);
  EXPECT_EQ(draw(make({.temperature = 100, .top_k = 50}), logits, 500).size(), 5u);
}

TEST(Sampler, TopPKeepsTheLikeliestUntilTheirShareIsReached) {
  // Probabilities 0.5, 0.3, 0.2: a share of 0.6 needs two, 0.5 one, 0.81 all three.
  const std::vector<float> logits = {std::log(5.0f), std::log(3.0f), std::log(2.0f)};
  EXPECT_EQ(draw(make({.temperature = 1, .top_p = 0.6}), logits, 500).size(), 2u);
  EXPECT_EQ(draw(make({.temperature = 1, .top_p = 0.49}), logits, 500).size(), 1u);
  EXPECT_EQ(draw(make({.temperature = 1, .top_p = 0.81}), logits, 500).size(), 3u);
  EXPECT_EQ(draw(make({.temperature = 1, .top_p = 0}), logits, 500).size(), 1u);
}

TEST(Sampler, MinPDropsWhatIsUnlikelyBesideTheLikeliest) {
  const std::vector<float> logits = {0, std::log(0.5f), std::log(0.1f)};
  EXPECT_EQ(draw(make({.temperature = 1, .min_p = 0.4}), logits, 500).size(), 2u);
  EXPECT_EQ(draw(make({.temperature = 1, .min_p = 0.05}), logits, 500).size(), 3u);
  EXPECT_EQ(draw(make({.temperature = 1, .min_p = 1}), logits, 500).size(), 1u);
}

TEST(Sampler, RankingHoldsBeyondTheFirstSortedPart) {
  // 1,000 candidates, all but equally likely: top-k far into the list keeps exactly the k
  // likeliest.
  std::vector<float> logits(1000);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    logits[i] = static_cast<float>((i * 7919) % 1000) * 1e-4f;
  }
  const auto counts = draw(make({.temperature = 1, .top_k = 300}), logits, 4000);
  EXPECT_GT(counts.size(), 290u);
  for (const auto& [id, n] : counts) {
    EXPECT_GE(logits[static_cast<std::size_t>(id)], 700 * 1e-4f) << id;
  }
}

TEST(Sampler, RepeatPenaltyLowersRecentTokensOnce) {
  Sampler sampler = make({.repeat_penalty = 2, .repeat_window = 2});
  const std::vector<float> logits = {4, 3, -1, -1.5f};
  EXPECT_EQ(sampler.sample(logits), 0);
  sampler.accept(0);
  sampler.accept(0);  // 4 / 2 = 2, not 4 / 4
  EXPECT_EQ(sampler.sample(logits), 1);
  EXPECT_EQ(sampler.sample(std::vector<float>{4, 1.5f}), 0);
  sampler.accept(1);
  sampler.accept(1);  // 0 has left the window
  EXPECT_EQ(sampler.sample(logits), 0);
  sampler.accept(2);  // negative logits are multiplied: -1 becomes -2
  EXPECT_EQ(sampler.sample(std::vector<float>{-9, -9, -1, -1.5f}), 3);
}

TEST(Sampler, TheSameSeedDrawsTheSameTokens) {
  const std::vector<float> logits(100, 0.0f);
  const SamplingOptions options = {.temperature = 1, .seed = 42};
  Sampler a = make(options);
  Sampler b = make(options);
  Sampler other = make({.temperature = 1, .seed = 43});
  int different = 0;
  for (int i = 0; i < 50; ++i) {
    const std::int32_t id = a.sample(logits);
    EXPECT_EQ(id, b.sample(logits));
    different += id != other.sample(logits) ? 1 : 0;
  }
  EXPECT_GT(different, 25);
}

TEST(Sampler, RefusesOptionsOutOfRangeAndNamesThem) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const auto& [options, name] : std::vector<std::pair<SamplingOptions, std::string>>{
           {{.temperature = -1}, "temperature"},
           {{.temperature = nan}, "temperature"},
           {{.top_p = 1.5}, "top-p"},
           {{.min_p = -0.1}, "min-p"},
           {{.repeat_penalty = 0}, "repeat-penalty"}}) {
    const Status status = Sampler::create(options).status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_NE(status.message().find(name), std::string::npos) << status.message();
  }
}

}  // namespace
}  // namespace flashmoe
