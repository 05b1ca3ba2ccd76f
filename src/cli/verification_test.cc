#include "cli/verification.h"

#include <gtest/gtest.h>

#include <cmath>

namespace flashmoe::cli {
namespace {

TEST(Fingerprint, ChangesWithAnySingleBitOfAnyLogit) {
  const std::vector<float> logits = {1.0f, -2.5f, 0.0f, 1e-30f};
  const std::uint64_t expected = fingerprint(logits);
  EXPECT_EQ(fingerprint(logits), expected);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    std::vector<float> changed = logits;
    changed[i] = std::nextafter(changed[i], 10.0f);
    EXPECT_NE(fingerprint(changed), expected) << i;
  }
  std::vector<float> negative_zero = logits;
  negative_zero[2] = -0.0f;
  EXPECT_NE(fingerprint(negative_zero), expected);
}

TEST(FirstDifference, IsNoneForEqualTraces) {
  const OutputTrace trace = {{7, 8}, {1, 2, 3, 4}};
  EXPECT_FALSE(first_difference(trace, trace, 3).has_value());
}

TEST(FirstDifference, NamesThePositionOfTheLogitsThatDiffer) {
  const auto difference = first_difference({{7, 8}, {1, 2, 3, 4}}, {{7, 9}, {1, 2, 5, 6}}, 3);
  ASSERT_TRUE(difference.has_value());
  EXPECT_EQ(difference->position, 2u);
  EXPECT_FALSE(difference->token_differs);
}

TEST(FirstDifference, FindsTokensThatDifferAndRunsThatEndEarly) {
  const auto token = first_difference({{7, 8}, {1, 2, 3, 4}}, {{7, 9}, {1, 2, 3, 4}}, 3);
  ASSERT_TRUE(token.has_value());
  EXPECT_TRUE(token->token_differs);
  EXPECT_EQ(token->position, 4u);
  const auto shorter = first_difference({{7}, {1, 2, 3}}, {{7, 8}, {1, 2, 3, 4}}, 3);
  ASSERT_TRUE(shorter.has_value());
  EXPECT_EQ(shorter->position, 3u);
}

}  // namespace
}  // namespace flashmoe::cli
