#include "experts/trace_statistics.h"

#include <gtest/gtest.h>

#include "experts/testing/random_trace.h"

namespace flashmoe {
namespace {

// One layer, one expert for each token.
RoutingTrace one_by_one(std::vector<int> ids, std::size_t num_experts,
                        std::vector<std::size_t> starts, std::vector<std::size_t> switches = {}) {
  RoutingTraceData data{.layer_count = 1,
                        .token_count = ids.size(),
                        .experts_per_token = 1,
                        .num_experts = {num_experts},
                        .starts = std::move(starts),
                        .switches = std::move(switches)};
  for (const int id : ids) data.ids.push_back(ExpertId{static_cast<std::uint16_t>(id)});
  return RoutingTrace::create(std::move(data)).value();
}

TEST(TraceStatistics, MeasuresReuseWithinASequence) {
  // Two sequences: 0 0 1 0 and 0 0. Of four uses with a successor two are by the next token.
  const TraceStatistics statistics = trace_statistics(one_by_one({0, 0, 1, 0, 0, 0}, 4, {0, 4}));
  EXPECT_DOUBLE_EQ(statistics.reused_by_next, 2.0 / 4);
  EXPECT_EQ(statistics.median_reuse_distance, 1);
  EXPECT_EQ(statistics.reused_within_8, 0);  // no use has eight tokens after it
  EXPECT_FALSE(statistics.touched.has_value());
  EXPECT_TRUE(statistics.steady_lru.empty());
}

TEST(TraceStatistics, LooksEightTokensAhead) {
  // 0 comes again after 8 tokens, 1 after 9; both have nine tokens after them.
  const TraceStatistics statistics =
      trace_statistics(one_by_one({0, 1, 2, 3, 4, 5, 6, 7, 0, 9, 1}, 16, {0}));
  EXPECT_DOUBLE_EQ(statistics.reused_within_8, 1.0 / 3);
  EXPECT_EQ(statistics.reused_by_next, 0);
  EXPECT_EQ(statistics.median_reuse_distance, 8);
}

TEST(TraceStatistics, CountsTouchedExpertsAndTheMostUsed) {
  // 64 of 512 are one of 8: expert 3, with every second of 300 tokens.
  std::vector<int> ids;
  for (int t = 0; t < 300; ++t) ids.push_back(t % 2 == 0 ? 3 : 4 + t / 2 % 3);
  const TraceStatistics statistics = trace_statistics(one_by_one(ids, 8, {0}));
  EXPECT_EQ(statistics.most_used_count, 1u);
  EXPECT_EQ(statistics.touched, 4);
  EXPECT_EQ(statistics.share_of_most_used, 0.5);
}

TEST(TraceStatistics, CountsWhatAChangeOfSubjectMisses) {
  // 192 of 512 are three of 8: 0, 1 and 2 are most used before the change at token 60. After it
  // come 3 and 0, and from the 12th token on 4.
  std::vector<int> ids;
  for (int t = 0; t < 60; ++t) ids.push_back(t % 3);
  for (int t = 0; t < 50; ++t) ids.push_back(t < 11 ? (t % 2 == 0 ? 3 : 0) : 4);
  const auto missing = trace_statistics(one_by_one(ids, 8, {0}, {60})).missing_after_switch.value();
  EXPECT_EQ(missing[0], 1);
  EXPECT_EQ(missing[1], 1);
  EXPECT_EQ(missing[2], 2);
  EXPECT_EQ(missing[4], 2);
  // A subject that ends too soon says nothing.
  ids.pop_back();
  EXPECT_FALSE(trace_statistics(one_by_one(ids, 8, {0}, {60})).missing_after_switch.has_value());
}

TEST(TraceStatistics, HitsEverythingTouchedOnceWithASlotForEachExpert) {
  const std::size_t num_experts[] = {64, 64};
  const TraceStatistics statistics = trace_statistics(random_trace(num_experts, 600, 4, 600, 1));
  ASSERT_EQ(statistics.cold_lru.size(), 5u);
  EXPECT_EQ(statistics.cold_lru.back().slots, 64u);
  EXPECT_NEAR(statistics.cold_lru.back().hit_rate,
              1 - *statistics.touched / static_cast<double>(4 * 300), 1e-12);
  ASSERT_EQ(statistics.steady_lru.size(), 4u);
  EXPECT_EQ(statistics.steady_lru.front().slots, 8u);
}

}  // namespace
}  // namespace flashmoe
