// The engine's ExpertCache and a trace replay take the same decisions on the same trace: what a
// replay measures is what the engine does.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include "experts/expert_cache.h"
#include "experts/fixed_set.h"
#include "experts/policies/forwarding_policy.h"
#include "experts/policies/pinned.h"
#include "experts/policies/residency_policies.h"
#include "experts/residency_replay.h"
#include "experts/testing/expert_files.h"
#include "experts/testing/expert_ids.h"
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

constexpr std::uint64_t kSeed = 20261126;
constexpr std::size_t kReplayTopK = 4, kTokens = 250;

// A trace has no dense layers, the store has one.
std::vector<LayerId> moe_layers_of(const ExpertStore& store) {
  std::vector<LayerId> layers;
  for (std::uint32_t l = 0; l < store.layer_count(); ++l) {
    if (store.expert_count({l}) > 0) layers.push_back(LayerId{l});
  }
  return layers;
}

RoutingTrace trace_of(const ExpertStore& store) {
  std::vector<std::size_t> num_experts;
  for (const LayerId layer : moe_layers_of(store)) num_experts.push_back(store.expert_count(layer));
  return random_trace(num_experts, kTokens, kReplayTopK, kTokens, kSeed);
}

/// A cache and a replay that are asked for the same.
class Both {
 public:
  using MakePolicy = std::function<std::unique_ptr<ResidencyPolicy>()>;

  /// With slots for so many of the largest experts.
  Both(const MakePolicy& make_policy, std::size_t slot_count,
       std::size_t experts_at_once = std::numeric_limits<std::size_t>::max()) {
    cache_ =
        ExpertCache::create(
            store_, std::make_unique<Watched>(make_policy(), cache_decisions_),
            make_read_queue({.backend = IoBackend::kPread, .depth = 4}).value(),
            {.budget_bytes = slot_count * store_.slot_size(), .experts_at_once = experts_at_once})
            .value();
    replay_ = std::make_unique<ResidencyReplay>(
        store_.expert_counts(), std::make_unique<Watched>(make_policy(), replay_decisions_),
        cache_->slot_limits());
  }

  /// Decodes tokens [begin, end) of the trace.
  void decode(std::size_t begin, std::size_t end) {
    std::vector<ExpertLease> leases(kReplayTopK);
    for (std::size_t t = begin; t < end; ++t) {
      for (std::size_t l = 0; l < moe_layers_.size(); ++l) {
        std::vector<ExpertId> routed(trace_.routed(l, t).begin(), trace_.routed(l, t).end());
        std::ranges::sort(routed);
        ASSERT_TRUE(cache_->acquire(t, moe_layers_[l], routed, leases).ok());
        for (ExpertLease& lease : leases) {
          ASSERT_TRUE(lease.wait().ok());
          lease = ExpertLease();
        }
        replay_hits_ += replay_->acquire(t, moe_layers_[l], routed);
      }
    }
  }

  void exchange(LayerId layer, std::span<const ExpertSwap> swaps) {
    ASSERT_TRUE(cache_->exchange(layer, swaps).ok());
    replay_->exchange(layer, swaps);
  }

  void expect_equal() const {
    EXPECT_EQ(replay_decisions_, cache_decisions_);
    EXPECT_EQ(replay_hits_, cache_->statistics().hit_count);
  }
  std::uint64_t hits() const { return replay_hits_; }
  std::size_t class_count() const { return cache_->slot_limits().counts.size(); }
  const std::vector<LayerId>& moe_layers() const { return moe_layers_; }

 private:
  const ExpertFiles files_{ExpertFiles::mixed_shapes(), kSeed};
  const ExpertStore store_ = files_.open_store();
  const std::vector<LayerId> moe_layers_ = moe_layers_of(store_);
  const RoutingTrace trace_ = trace_of(store_);
  std::vector<Decision> cache_decisions_;
  std::vector<Decision> replay_decisions_;
  std::unique_ptr<ExpertCache> cache_;
  std::unique_ptr<ResidencyReplay> replay_;
  std::uint64_t replay_hits_ = 0;
};

std::vector<std::size_t> expert_counts() {
  const ExpertFiles files(ExpertFiles::mixed_shapes(), kSeed);
  return files.open_store().expert_counts();
}

struct ReplayCase {
  std::string_view policy;
  std::size_t slot_count;
};

class ReplayEqualsCache : public testing::TestWithParam<ReplayCase> {};

TEST_P(ReplayEqualsCache, InEveryLoadAndDrop) {
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  const std::vector<std::size_t> counts = expert_counts();
  Both both([&] { return make_residency_policy(GetParam().policy, counts); },
            GetParam().slot_count);
  both.decode(0, kTokens);
  both.expect_equal();
  // With slots for one layer's choice alone the next layer takes them all.
  EXPECT_EQ(both.hits() > 0, GetParam().slot_count > kReplayTopK);
}

// Slots of each layer's own size: with the least that works, and with more.
TEST_P(ReplayEqualsCache, WithSlotsOfSeveralSizes) {
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  const std::vector<std::size_t> counts = expert_counts();
  Both both([&] { return make_residency_policy(GetParam().policy, counts); }, GetParam().slot_count,
            kReplayTopK);
  both.decode(0, kTokens);
  both.expect_equal();
  EXPECT_EQ(both.class_count(), GetParam().slot_count < 12 ? 1u : 4u);
}

TEST(ReplayEqualsCachePinned, ThroughSwapsOfItsSet) {
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  const std::vector<std::size_t> counts = expert_counts();
  const auto set = std::make_shared<FixedSet>(counts);
  Both both([&] { return make_pinned_policy(make_residency_policy("lfu", counts), set); }, 20,
            kReplayTopK);
  const auto fix = [&](std::initializer_list<int> wanted) {
    ResidentSet members{.layers = std::vector<std::vector<ExpertId>>(counts.size())};
    for (const LayerId layer : both.moe_layers()) members.layers[layer.value] = ids(wanted);
    set->plan(members);
    for (const LayerId layer : both.moe_layers()) {
      both.exchange(layer, set->pending(layer));
      set->complete(layer, set->pending(layer).size());
    }
  };
  fix({1, 3});
  both.decode(0, 100);
  fix({3, 0, 2});  // 3 is here, 0 and 2 may be, adaptively
  both.decode(100, kTokens);
  both.expect_equal();
  EXPECT_GT(both.hits(), 0U);
}

std::vector<ReplayCase> cases() {
  std::vector<ReplayCase> cases;
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
