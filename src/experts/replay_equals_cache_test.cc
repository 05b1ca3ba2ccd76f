// The engine's ExpertCache and a trace replay take the same decisions on the same trace: what a
// replay measures is what the engine does.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "experts/expert_cache.h"
#include "experts/policies/forwarding_policy.h"
#include "experts/policies/residency_policies.h"
#include "experts/residency_replay.h"
#include "experts/testing/expert_files.h"
#include "experts/testing/random_trace.h"

namespace flashmoe {
namespace {

struct Decision {
  bool loaded = false;  // else dropped
  ExpertKey key;
  friend bool operator==(const Decision&, const Decision&) = default;
};

// Writes down what becomes of the residents of another policy.
class Watched final : public ForwardingPolicy {
 public:
  Watched(std::unique_ptr<ResidencyPolicy> inner, std::vector<Decision>& decisions)
      : ForwardingPolicy(std::move(inner)), decisions_(decisions) {}
  void on_loaded(ExpertKey key, LoadCause cause) override {
    decisions_.push_back({true, key});
    ForwardingPolicy::on_loaded(key, cause);
  }
  void on_dropped(ExpertKey key) override {
    decisions_.push_back({false, key});
    ForwardingPolicy::on_dropped(key);
  }

 private:
  std::vector<Decision>& decisions_;
};

struct Case {
  std::string_view policy;
  std::size_t slot_count;
};

class ReplayEqualsCache : public testing::TestWithParam<Case> {};

TEST_P(ReplayEqualsCache, InEveryLoadAndDrop) {
  constexpr std::uint64_t kSeed = 20261126;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  constexpr std::size_t kTopK = 4, kTokens = 250;
  const ExpertFiles files(ExpertFiles::mixed_shapes(), kSeed);
  const ExpertStore store = files.open_store();
  // A trace has no dense layers, the store has one.
  std::vector<std::uint32_t> moe_layers;
  std::vector<std::size_t> num_experts;
  for (std::uint32_t l = 0; l < store.layer_count(); ++l) {
    if (store.expert_count({l}) == 0) continue;
    moe_layers.push_back(l);
    num_experts.push_back(store.expert_count({l}));
  }
  const RoutingTrace trace = random_trace(num_experts, kTokens, kTopK, kTokens, kSeed);

  std::vector<Decision> cache_decisions;
  std::vector<Decision> replay_decisions;
  auto cache = ExpertCache::create(
      store,
      std::make_unique<Watched>(make_residency_policy(GetParam().policy, store.expert_counts()),
                                cache_decisions),
      make_read_queue({.backend = IoBackend::kPread, .depth = 4}).value(),
      {.budget_bytes = GetParam().slot_count * store.slot_size()});
  ASSERT_TRUE(cache.ok()) << cache.status().message();
  ResidencyReplay replay(
      store.expert_counts(),
      std::make_unique<Watched>(make_residency_policy(GetParam().policy, store.expert_counts()),
                                replay_decisions),
      GetParam().slot_count);

  std::uint64_t replay_hits = 0;
  std::vector<ExpertLease> leases(kTopK);
  for (std::size_t t = 0; t < kTokens; ++t) {
    for (std::size_t l = 0; l < moe_layers.size(); ++l) {
      std::vector<ExpertId> routed(trace.routed(l, t).begin(), trace.routed(l, t).end());
      std::ranges::sort(routed);
      ASSERT_TRUE((*cache)->acquire(t, {moe_layers[l]}, routed, leases).ok());
      for (ExpertLease& lease : leases) {
        ASSERT_TRUE(lease.wait().ok());
        lease = ExpertLease();
      }
      replay_hits += replay.acquire(t, {moe_layers[l]}, routed);
    }
  }
  EXPECT_EQ(replay_decisions, cache_decisions);
  EXPECT_EQ(replay_hits, (*cache)->statistics().hit_count);
  // With slots for one layer's choice alone the next layer takes them all.
  EXPECT_EQ(replay_hits > 0, GetParam().slot_count > kTopK);
}

std::vector<Case> cases() {
  std::vector<Case> cases;
  for (const std::string_view policy : kResidencyPolicies) {
    for (const std::size_t slot_count : {4, 7, 12, 20, 40}) cases.push_back({policy, slot_count});
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Policies, ReplayEqualsCache, testing::ValuesIn(cases()),
                         [](const auto& info) {
                           return std::string(info.param.policy) + "_" +
                                  std::to_string(info.param.slot_count);
                         });

}  // namespace
}  // namespace flashmoe
