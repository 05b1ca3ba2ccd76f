#include "experts/residency_replay.h"

#include <gtest/gtest.h>

#include "experts/policies/belady.h"
#include "experts/policies/lru.h"
#include "experts/policies/residency_policies.h"
#include "experts/testing/random_trace.h"

namespace flashmoe {
namespace {

/// One layer of `num_experts` experts, one routed for each token.
RoutingTrace one_by_one(std::size_t num_experts, std::initializer_list<int> ids,
                        std::vector<std::size_t> starts = {0}) {
  RoutingTraceData data{.layer_count = 1,
                        .token_count = ids.size(),
                        .experts_per_token = 1,
                        .num_experts = {num_experts},
                        .starts = std::move(starts)};
  for (const int id : ids) data.ids.push_back(ExpertId{static_cast<std::uint16_t>(id)});
  return RoutingTrace::create(std::move(data)).value();
}

std::uint64_t hits(const RoutingTrace& trace, std::string_view policy, std::size_t slot_count) {
  return replay(
             trace,
             [&](std::size_t begin, std::size_t end) {
               return policy == "belady" ? make_belady_policy(trace, begin, end)
                                         : make_residency_policy(policy, trace.num_experts());
             },
             slot_count)
      .all.hits;
}

TEST(ResidencyReplay, CountsHitsOfSequencesFromAnEmptyCache) {
  const RoutingTrace whole = one_by_one(4, {0, 1, 0, 1, 0, 1});
  EXPECT_EQ(hits(whole, "lru", 2), 4u);
  const RoutingTrace cut = one_by_one(4, {0, 1, 0, 1, 0, 1}, {0, 3});
  EXPECT_EQ(hits(cut, "lru", 2), 2u);
}

TEST(ResidencyReplay, TellsColdFromSteady) {
  const std::size_t num_experts[] = {32};
  const RoutingTrace trace = random_trace(num_experts, 1000, 4, 700, 3);
  const ReplayResult result = replay(
      trace, [&](std::size_t, std::size_t) { return make_lru_policy(num_experts); }, 16);
  EXPECT_EQ(result.all.lookups, 4000u);
  EXPECT_EQ(result.cold.lookups, 4 * (kColdTokens + 300));
  EXPECT_EQ(result.steady.lookups, 4 * (700 - kSteadyFrom));
  EXPECT_GT(result.steady.rate(), 0.5);
}

TEST(BeladyPolicy, KeepsWhatComesBackSoonest) {
  // LRU has what comes next always just dropped.
  const RoutingTrace cycle = one_by_one(3, {0, 1, 2, 0, 1, 2, 0, 1, 2});
  EXPECT_EQ(hits(cycle, "lru", 2), 0u);
  EXPECT_EQ(hits(cycle, "belady", 2), 3u);
}

// The fewest misses of any sequence of victims, by trying them all.
std::size_t fewest_misses(const RoutingTrace& trace, std::size_t token, std::vector<ExpertId> cache,
                          std::size_t slot_count) {
  if (token == trace.token_count()) return 0;
  const ExpertId id = trace.routed(0, token)[0];
  if (std::ranges::find(cache, id) != cache.end()) {
    return fewest_misses(trace, token + 1, cache, slot_count);
  }
  if (cache.size() < slot_count) {
    cache.push_back(id);
    return 1 + fewest_misses(trace, token + 1, cache, slot_count);
  }
  std::size_t fewest = trace.token_count();
  for (std::size_t i = 0; i < cache.size(); ++i) {
    std::vector<ExpertId> next = cache;
    next[i] = id;
    fewest = std::min(fewest, 1 + fewest_misses(trace, token + 1, next, slot_count));
  }
  return fewest;
}

TEST(BeladyPolicy, MissesAsLittleAsIsPossible) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    const std::size_t num_experts[] = {6};
    const RoutingTrace trace = random_trace(num_experts, 14, 1, 14, seed);
    EXPECT_EQ(14 - hits(trace, "belady", 3), fewest_misses(trace, 0, {}, 3));
  }
}

TEST(ResidencyPolicies, NoneBeatsBeladyAtAnySize) {
  const std::size_t num_experts[] = {24, 12, 24};
  const RoutingTrace trace = random_trace(num_experts, 300, 4, 300, 11);
  for (const std::string_view policy : kResidencyPolicies) {
    for (const std::size_t slots : {4, 6, 12, 24, 48, 60}) {
      EXPECT_LE(hits(trace, policy, slots), hits(trace, "belady", slots)) << policy << " " << slots;
    }
  }
}

// With fewer slots than a token routes experts over all layers, an order over all layers would
// never hit: whatever comes next has just been dropped.
TEST(ResidencyPolicies, HitBelowTheTokenCycle) {
  const std::vector<std::size_t> num_experts(12, 32);
  const RoutingTrace trace = random_trace(num_experts, 400, 4, 400, 5);
  for (const std::string_view policy : kResidencyPolicies) {
    for (const std::size_t slots : {12, 24, 36}) {
      EXPECT_GT(hits(trace, policy, slots), 400u) << policy << " with " << slots << " of 48";
    }
  }
}

}  // namespace
}  // namespace flashmoe
