#include "experts/fixed_set_replay.h"

#include <gtest/gtest.h>

#include "experts/speed_model.h"
#include "experts/testing/random_trace.h"

namespace flashmoe {
namespace {

/// One layer of eight experts, one routed for each token, with a change of subject at token 4.
RoutingTrace trace() {
  RoutingTraceData data{.layer_count = 1,
                        .token_count = 8,
                        .experts_per_token = 1,
                        .num_experts = {8},
                        .starts = {0},
                        .switches = {4}};
  for (const int id : {5, 6, 5, 7, 3, 4, 3, 5}) {
    data.ids.push_back(ExpertId{static_cast<std::uint16_t>(id)});
  }
  return RoutingTrace::create(std::move(data)).value();
}

TEST(FixedSetReplay, ServesWhatDiscoverySaw) {
  // The set is 5 and 6: tokens 0, 1, 2 and 7.
  EXPECT_EQ(replay_fixed_set(trace(), {.capacity = 2, .discovery_tokens = 2}).hits.all.hits, 4u);
  // Of one token: 5, and 0 by its id.
  EXPECT_EQ(replay_fixed_set(trace(), {.capacity = 2, .discovery_tokens = 1}).hits.all.hits, 3u);
}

TEST(FixedSetReplay, FollowsTheSubjectWhereItShould) {
  const FixedSetReplayResult result =
      replay_fixed_set(trace(), {.capacity = 2, .discovery_tokens = 2, .follows_switches = true});
  EXPECT_EQ(result.hits.all.hits, 6u) << "3 and 4 instead of 5 and 6 from token 4 on";
  EXPECT_EQ(result.swap_count, 2u);
  const FixedSetReplayResult room =
      replay_fixed_set(trace(), {.capacity = 3, .discovery_tokens = 3, .follows_switches = true});
  EXPECT_EQ(room.hits.all.hits, 7u) << "5, used more than 6, stays";
}

TEST(FixedSetReplay, WithRoomForAllMissesNothing) {
  const std::size_t counts[] = {16, 16};
  const RoutingTrace random = random_trace(counts, 600, 3, 300, 1);
  const FixedSetReplayResult result = replay_fixed_set(random, {.capacity = 16});
  EXPECT_EQ(result.hits.all.hits, result.hits.all.lookups);
  EXPECT_EQ(result.hits.all.lookups, 600u * 2 * 3);
}

TEST(SpeedModel, IsBytesOverBandwidth) {
  const SpeedModel model = {.disk_bytes_per_second = 100,
                            .memory_bytes_per_second = 1000,
                            .expert_bytes = 10,
                            .dense_bytes = 500};
  EXPECT_DOUBLE_EQ(model.seconds_overlapped(50, 20), 2);
  EXPECT_DOUBLE_EQ(model.seconds_in_turn(50, 20), 3);
  EXPECT_DOUBLE_EQ(model.seconds_overlapped(50, 0), 1);
}

}  // namespace
}  // namespace flashmoe
