#include "validation/quality.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace flashmoe {
namespace {

TEST(CompareLogits, OfTheSameLogitsIsZero) {
  const std::vector<float> logits = {1.0f, -3.0f, 2.5f};
  const TokenQuality quality = compare_logits(logits, logits);
  EXPECT_EQ(quality.divergence, 0);
  EXPECT_TRUE(quality.agrees);
  // Adding a constant changes no probability.
  const std::vector<float> shifted = {5.0f, 1.0f, 6.5f};
  EXPECT_NEAR(compare_logits(logits, shifted).divergence, 0, 1e-9);
}

TEST(CompareLogits, IsTheDivergenceFromTheExactOne) {
  // p = (1/2, 1/2), q = (3/4, 1/4).
  const std::vector<float> exact = {0.0f, 0.0f};
  const std::vector<float> other = {std::log(3.0f), 0.0f};
  const TokenQuality quality = compare_logits(exact, other);
  EXPECT_NEAR(quality.divergence, 0.5 * std::log(0.5 / 0.75) + 0.5 * std::log(0.5 / 0.25), 1e-6);
  const std::vector<float> flipped = {0.0f, 1.0f};
  EXPECT_FALSE(compare_logits(other, flipped).agrees);
  EXPECT_NE(compare_logits(other, exact).divergence, quality.divergence) << "not symmetric";
}

TEST(NegativeLogLikelihood, IsOfTheToken) {
  const std::vector<float> logits = {0.0f, std::log(3.0f)};
  EXPECT_NEAR(negative_log_likelihood(logits, 1), -std::log(0.75), 1e-6);
}

TEST(MeanQuality, IsOverTokens) {
  const TokenQuality tokens[] = {{0.5, true}, {1.5, false}};
  const Quality mean = mean_quality(tokens);
  EXPECT_EQ(mean.divergence, 1);
  EXPECT_EQ(mean.agreement, 0.5);
  EXPECT_EQ(mean_quality({}).token_count, 0u);
}

TEST(DistinctShare, CountsRuns) {
  const std::vector<std::int32_t> all_new = {1, 2, 3, 4, 5};
  EXPECT_EQ(distinct_share(all_new, 3), 1);
  const std::vector<std::int32_t> loop = {1, 2, 1, 2, 1, 2, 1, 2};
  EXPECT_EQ(distinct_share(loop, 3), 2.0 / 6);
  EXPECT_EQ(distinct_share(all_new, 9), 1);
}

TEST(ScriptShare, CountsLettersAlone) {
  EXPECT_EQ(script_share("春风 ab, 12!", Script::kHan), 0.5);
  EXPECT_EQ(script_share("春风 ab, 12!", Script::kLatin), 0.5);
  EXPECT_EQ(script_share("これは漢字", Script::kJapanese), 1);
  EXPECT_EQ(script_share("これは漢字", Script::kHan), 0.4);
  EXPECT_EQ(script_share("12 + 3", Script::kLatin), 0);
}

TEST(FitSlope, HasTheTextbooksInterval) {
  const std::vector<double> line = {1, 3, 5, 7};
  EXPECT_NEAR(fit_slope(line).per_step, 2, 1e-12);
  EXPECT_NEAR(fit_slope(line).half_width, 0, 1e-9);
  // Residuals (0.2, -0.4, 0, 0.4, -0.2): s^2 = 0.4 / 3, Sxx = 10, t(3) = 3.182.
  const std::vector<double> noisy = {1.2, 1.6, 3.0, 4.4, 4.8};
  EXPECT_NEAR(fit_slope(noisy).per_step, 1, 1e-12);
  EXPECT_NEAR(fit_slope(noisy).half_width, 3.182 * std::sqrt(0.4 / 3 / 10), 1e-9);
}

TEST(Correlation, IsPearsons) {
  const std::vector<double> a = {1, 2, 3};
  const std::vector<double> b = {2, 4, 6};
  const std::vector<double> c = {3, 2, 1};
  const std::vector<double> flat = {5, 5, 5};
  EXPECT_NEAR(correlation(a, b), 1, 1e-12);
  EXPECT_NEAR(correlation(a, c), -1, 1e-12);
  EXPECT_EQ(correlation(a, flat), 0);
}

TEST(Median, OfEvenCountsIsTheMiddle) {
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({4, 1, 2, 3}), 2.5);
}

}  // namespace
}  // namespace flashmoe
