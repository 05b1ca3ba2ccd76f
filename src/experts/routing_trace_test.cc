#include "experts/routing_trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace flashmoe {
namespace {

using ::testing::HasSubstr;

// Two layers, three tokens, two experts each.
RoutingTraceData small() {
  RoutingTraceData data{.layer_count = 2, .token_count = 3, .experts_per_token = 2};
  for (const int id : {3, 1, 0, 2, 1, 0, 5, 4, 4, 5, 0, 6}) {
    data.ids.push_back(ExpertId{static_cast<std::uint16_t>(id)});
  }
  data.starts = {0, 2};
  return data;
}

std::string refusal(RoutingTraceData data) {
  const Status status = RoutingTrace::create(std::move(data)).status();
  EXPECT_EQ(status.code(), StatusCode::kCorrupt);
  return status.message();
}

TEST(RoutingTrace, GivesTheChoicesOfALayerAndToken) {
  const RoutingTrace trace = RoutingTrace::create(small()).value();
  EXPECT_EQ(trace.routed(0, 1)[0], ExpertId{0});
  EXPECT_EQ(trace.routed(1, 2)[1], ExpertId{6});
  EXPECT_EQ(trace.sequence_end(0), 2u);
  EXPECT_EQ(trace.sequence_end(1), 3u);
  EXPECT_FALSE(trace.has_weights());
}

TEST(RoutingTrace, CountsTheExpertsThatNobodyDeclared) {
  const RoutingTrace trace = RoutingTrace::create(small()).value();
  EXPECT_FALSE(trace.declares_num_experts());
  EXPECT_THAT(trace.num_experts(), ::testing::ElementsAre(4, 7));
  EXPECT_THAT(RoutingTrace::create(small()).value().with_switches({1}).value().switches(),
              ::testing::ElementsAre(1));
}

TEST(RoutingTrace, RefusesSizesThatDisagree) {
  RoutingTraceData data = small();
  data.ids.pop_back();
  EXPECT_THAT(refusal(data), HasSubstr("11 ids for 2 layers x 3 tokens x 2 experts"));
  data = small();
  data.layer_count = 0;
  EXPECT_THAT(refusal(data), HasSubstr("0 x 3 x 2"));
  data = small();
  data.layer_count = data.token_count = std::size_t{1} << 33;
  refusal(data);
  data = small();
  data.weights = {1};
  EXPECT_THAT(refusal(data), HasSubstr("1 weights for 12 ids"));
  data = small();
  data.num_experts = {8};
  EXPECT_THAT(refusal(data), HasSubstr("1 entries for 2 layers"));
}

TEST(RoutingTrace, RefusesImpossibleChoices) {
  RoutingTraceData data = small();
  data.num_experts = {4, 6};
  EXPECT_THAT(refusal(data), HasSubstr("layer 1 token 2: expert 6 of 6"));
  data.num_experts = {4, 70000};
  EXPECT_THAT(refusal(data), HasSubstr("70000"));
  data = small();
  data.ids[3] = data.ids[2];
  EXPECT_THAT(refusal(data), HasSubstr("layer 0 token 1: expert 0 twice"));
}

TEST(RoutingTrace, RefusesWeightsThatAreNone) {
  RoutingTraceData data = small();
  data.weights.assign(12, 0.5f);
  EXPECT_TRUE(RoutingTrace::create(data).ok());
  data.weights[7] = -0.5f;
  EXPECT_THAT(refusal(data), HasSubstr("layer 1 token 0: weight -0.5"));
  data.weights[7] = NAN;
  refusal(data);
  data.weights[7] = INFINITY;
  refusal(data);
}

TEST(RoutingTrace, RefusesBoundariesOutsideOrOutOfOrder) {
  RoutingTraceData data = small();
  data.starts = {};
  refusal(data);
  data.starts = {1};
  refusal(data);
  data.starts = {0, 3};
  EXPECT_THAT(refusal(data), HasSubstr("starts: entry 1, token 3"));
  data.starts = {0, 2, 2};
  refusal(data);
  data.starts = {0};
  data.switches = {2, 1};
  EXPECT_THAT(refusal(data), HasSubstr("switches"));
}

}  // namespace
}  // namespace flashmoe
