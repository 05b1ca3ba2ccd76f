#include "experts/trace_generator.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "experts/trace_statistics.h"

namespace flashmoe {
namespace {

double steady_lru(const TraceStatistics& statistics, std::size_t slots) {
  for (const LruHitRate& point : statistics.steady_lru) {
    if (point.slots == slots) return point.hit_rate;
  }
  ADD_FAILURE() << "no rate with " << slots << " slots";
  return 0;
}

TEST(TraceGenerator, MeetsThePublishedFigures) {
  for (const std::uint64_t seed : {0, 1}) {
    SCOPED_TRACE(seed);
    const RoutingTrace trace =
        generate_trace({.layer_count = 6, .token_count = 1600, .seed = seed}).value();
    const TraceStatistics statistics = trace_statistics(trace);
    EXPECT_NEAR(steady_lru(statistics, 64), 0.67, 0.01);
    EXPECT_NEAR(steady_lru(statistics, 128), 0.81, 0.01);
    EXPECT_NEAR(statistics.reused_by_next, 0.45, 0.01);
    EXPECT_NEAR(*statistics.touched, 384, 8);
  }
}

TEST(TraceGenerator, ChangesTheSubjectAtThePublishedPace) {
  const RoutingTrace trace =
      generate_trace({.layer_count = 6, .token_count = 1200, .seed = 3, .switch_every = 400})
          .value();
  ASSERT_EQ(trace.switches().size(), 2u);
  EXPECT_EQ(trace.switches()[1], 800u);
  const auto missing = trace_statistics(trace).missing_after_switch.value();
  constexpr double kPublished[] = {26, 34, 42, 48, 58};
  for (std::size_t i = 0; i < missing.size(); ++i) EXPECT_NEAR(missing[i], kPublished[i], 2);
}

TEST(TraceGenerator, IsUniformWhereAsked) {
  const RoutingTrace trace =
      generate_trace({.layer_count = 3, .token_count = 1500, .seed = 4, .uniform = true}).value();
  const TraceStatistics statistics = trace_statistics(trace);
  EXPECT_NEAR(steady_lru(statistics, 64), 64.0 / 512, 0.01);
  EXPECT_NEAR(steady_lru(statistics, 192), 192.0 / 512, 0.015);
}

TEST(TraceGenerator, DependsOnTheSeedAlone) {
  const TraceGeneratorOptions options{
      .layer_count = 2, .token_count = 40, .num_experts = 128, .experts_per_token = 8, .seed = 5};
  const auto ids = [](const RoutingTrace& trace) {
    std::vector<ExpertId> all;
    for (std::size_t t = 0; t < trace.token_count(); ++t) {
      for (const ExpertId id : trace.routed(1, t)) all.push_back(id);
    }
    return all;
  };
  const auto first = ids(generate_trace(options).value());
  EXPECT_EQ(ids(generate_trace(options).value()), first);
  TraceGeneratorOptions other = options;
  other.seed = 6;
  EXPECT_NE(ids(generate_trace(other).value()), first);
}

TEST(TraceGenerator, RefusesWhatDoesNotFit) {
  const auto code = [](TraceGeneratorOptions options) {
    return generate_trace(options).status().code();
  };
  EXPECT_EQ(code({.layer_count = 0}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.token_count = 0}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.experts_per_token = 0}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.num_experts = 70000}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.num_experts = 80, .experts_per_token = 10}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.num_experts = 8, .uniform = true}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.uniform = true, .switch_every = 5}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.layer_count = 1,
                  .token_count = 3,
                  .num_experts = 10,
                  .experts_per_token = 10,
                  .uniform = true}),
            StatusCode::kOk);
}

}  // namespace
}  // namespace flashmoe
