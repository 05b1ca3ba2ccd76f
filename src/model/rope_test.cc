// Against the formulas of transformers' modeling_rope_utils.py, evaluated in Python for the
// parameters of published models.
#include "model/rope.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

namespace flashmoe {
namespace {

/// Five frequencies along the pairs: the first, at a quarter, half and three quarters, the last.
void expect_frequencies(const RopeSpec& rope, const std::array<double, 5>& expected) {
  const std::vector<float> got = inverse_frequencies(rope);
  ASSERT_EQ(got.size(), rope.rotary_dim / 2);
  const std::size_t n = got.size();
  const std::array<std::size_t, 5> at = {0, n / 4, n / 2, 3 * n / 4, n - 1};
  for (std::size_t i = 0; i < at.size(); ++i) {
    EXPECT_NEAR(got[at[i]], expected[i], 1e-6 * expected[i]) << "pair " << at[i];
  }
}

TEST(Rope, LinearDividesEveryFrequency) {
  expect_frequencies({.rotary_dim = 128, .theta = 10000, .scaling = LinearRope{4}},
                     {0.25, 0.025, 0.0025, 0.00025, 2.88695496e-05});
}

TEST(Rope, Llama3BlendsBetweenTwoWavelengths) {  // Llama 3.1
  expect_frequencies({.rotary_dim = 128,
                      .theta = 500000,
                      .scaling = Llama3Rope{.factor = 8,
                                            .low_freq_factor = 1,
                                            .high_freq_factor = 4,
                                            .original_max_position = 8192}},
                     {1, 0.0376060309, 0.000524846161, 6.64786987e-06, 3.06892599e-07});
}

TEST(Rope, DivisorsAreThoseOfEachPair) {  // as converters write Llama 3.1's blend to GGUF
  const RopeSpec blended = {.rotary_dim = 128,
                            .theta = 500000,
                            .scaling = Llama3Rope{.factor = 8, .high_freq_factor = 4}};
  RopeSpec plain = blended;
  plain.scaling = {};
  const std::vector<float> expected = inverse_frequencies(blended);
  DividedRope divided;
  for (std::size_t j = 0; j < expected.size(); ++j) {
    divided.divisors.push_back(inverse_frequencies(plain)[j] / expected[j]);
  }
  RopeSpec by_pairs = plain;
  by_pairs.scaling = divided;
  const std::vector<float> got = inverse_frequencies(by_pairs);
  for (std::size_t j = 0; j < expected.size(); ++j) {
    EXPECT_NEAR(got[j], expected[j], 1e-6 * expected[j]) << "pair " << j;
  }
}

TEST(Rope, YarnBlendsBetweenTwoNumbersOfRotations) {
  expect_frequencies(  // gpt-oss
      {.rotary_dim = 64,
       .theta = 150000,
       .scaling = YarnRope{.factor = 32, .original_max_position = 4096, .truncate = false}},
      {1, 0.0508132748, 0.000456483919, 4.09997848e-06, 3.02351143e-07});
  expect_frequencies(  // DeepSeek-V3
      {.rotary_dim = 64,
       .theta = 10000,
       .scaling = YarnRope{.factor = 40, .original_max_position = 4096}},
      {1, 0.1, 0.0055, 2.5e-05, 3.33380358e-06});
}

// transformers 5.23, _compute_proportional_rope_parameters: exponents over the whole head.
TEST(Rope, ProportionalLeavesTheLaterPairsAlone) {
  const std::vector<float> inv_freq = inverse_frequencies(
      {.rotary_dim = 64, .theta = 1e6, .scaling = ProportionalRope{.rotated_pairs = 8}});
  ASSERT_EQ(inv_freq.size(), 32u);
  EXPECT_EQ(inv_freq[0], 1);
  EXPECT_NEAR(inv_freq[7], std::pow(1e6, -14.0 / 64), 1e-8);
  for (std::size_t j = 8; j < 32; ++j) EXPECT_EQ(inv_freq[j], 0);
  const std::vector<float> slower =
      inverse_frequencies({.rotary_dim = 64,
                           .theta = 1e6,
                           .scaling = ProportionalRope{.rotated_pairs = 8, .factor = 4}});
  EXPECT_FLOAT_EQ(slower[7], inv_freq[7] / 4);
}

TEST(Rope, SortsPairsThatLieSideBySide) {
  std::vector<float> head = {0, 1, 2, 3, 4, 5};
  deinterleave_pairs(head.data(), head.size(), head.data());
  EXPECT_EQ(head, (std::vector<float>{0, 2, 4, 1, 3, 5}));
}

}  // namespace
}  // namespace flashmoe
