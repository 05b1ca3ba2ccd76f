#include "experts/policies/lru.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "experts/testing/all_but.h"
#include "experts/testing/expert_ids.h"

namespace flashmoe {
namespace {

class LruPolicyTest : public testing::Test {
 protected:
  void make(std::vector<std::size_t> expert_counts, std::size_t slot_count) {
    policy_ = make_lru_policy(expert_counts);
    policy_->set_slots({.counts = {slot_count}});
  }
  // Routes experts of which none was there.
  void load(std::uint32_t layer, std::initializer_list<int> experts) {
    policy_->on_routed(step_++, {layer}, ids(experts), {});
    for (const ExpertId id : ids(experts)) policy_->on_loaded({{layer}, id}, LoadCause::kRouted);
  }
  void route(std::uint32_t layer, std::initializer_list<int> experts) {
    policy_->on_routed(step_++, {layer}, ids(experts), {});
  }
  ExpertKey victim(std::uint32_t layer, std::set<ExpertKey> leased = {}) {
    return policy_->choose_victim({layer}, AllBut(std::move(leased)));
  }

  std::unique_ptr<ResidencyPolicy> policy_;
  std::uint64_t step_ = 0;
};

TEST_F(LruPolicyTest, DropsTheExpertRoutedLongestAgo) {
  make({8}, 3);
  load(0, {5});
  load(0, {2});
  load(0, {7});
  EXPECT_EQ(victim(0), key(0, 5));
  route(0, {5});
  EXPECT_EQ(victim(0), key(0, 2));
  policy_->on_dropped(key(0, 2));
  EXPECT_EQ(victim(0), key(0, 7));
}

TEST_F(LruPolicyTest, RanksItsResidentsFromTheLatest) {
  make({8, 8}, 4);
  load(0, {5});
  load(1, {3});
  load(0, {2, 7});
  route(0, {5});
  EXPECT_EQ(policy_->ranked_residents({0}), ids({5, 2, 7}));
  EXPECT_EQ(policy_->ranked_residents({1}), ids({3}));
}

TEST_F(LruPolicyTest, DropsTheLeastWantedOfOneRouting) {
  make({8}, 4);
  load(0, {3, 1, 2});
  EXPECT_EQ(victim(0), key(0, 2));
  route(0, {2, 3, 6, 1});
  policy_->on_loaded(key(0, 6),
                     LoadCause::kRouted);  // comes in behind 3, but was wanted more than 1
  EXPECT_EQ(victim(0), key(0, 1));
  EXPECT_EQ(victim(0, {key(0, 1)}), key(0, 6));
  EXPECT_EQ(victim(0, {key(0, 1), key(0, 6)}), key(0, 3));
}

TEST_F(LruPolicyTest, PassesOverWhatIsLeased) {
  make({8}, 3);
  load(0, {0});
  load(0, {1});
  load(0, {2});
  EXPECT_EQ(victim(0, {key(0, 0), key(0, 1)}), key(0, 2));
}

TEST_F(LruPolicyTest, KeepsTheSharesOfOtherLayersFromALayerThatHasItsOwn) {
  make({8, 0, 8}, 4);  // a share of 2; layer 1 is dense
  load(0, {0, 1});
  load(2, {0, 1});
  EXPECT_EQ(victim(0), key(0, 1));
  EXPECT_EQ(victim(2), key(2, 1));
}

TEST_F(LruPolicyTest, PaysALayerBelowItsShareFromTheOneFurthestAbove) {
  make({8, 8, 8}, 6);
  load(0, {0});
  load(1, {0, 1});
  load(2, {0, 1, 2});
  EXPECT_EQ(victim(0), key(2, 2));
  // Nothing of layer 2 can go: layer 1 pays, though it has no more than its share.
  EXPECT_EQ(victim(0, {key(2, 0), key(2, 1), key(2, 2)}), key(1, 1));
}

TEST_F(LruPolicyTest, TakesFromTheSmallerOfTwoLayersEquallyFarAbove) {
  make({8, 8, 8}, 3);
  load(1, {4, 5});
  load(2, {6, 7});
  EXPECT_EQ(victim(0), key(1, 5));
}

TEST_F(LruPolicyTest, GoesElsewhereWhenItsOwnAreAllLeased) {
  make({8, 8}, 4);
  load(0, {0, 1});
  load(1, {0, 1});
  EXPECT_EQ(victim(0, {key(0, 0), key(0, 1)}), key(1, 1));
}

TEST_F(LruPolicyTest, TakesARestoredExpertForTheLatest) {
  make({8}, 3);
  load(0, {0});
  load(0, {1});
  policy_->on_loaded(key(0, 2), LoadCause::kRestored);
  EXPECT_EQ(victim(0), key(0, 0));
  EXPECT_EQ(victim(0, {key(0, 0)}), key(0, 1));
}

TEST_F(LruPolicyTest, AGuessIsWorthWhatItWasUntilItComesTrue) {
  make({8}, 4);
  load(0, {0});
  load(0, {3});
  policy_->on_dropped(key(0, 3));
  load(0, {1});
  policy_->on_loaded(key(0, 3), LoadCause::kGuessed);  // between 0 and 1
  policy_->on_loaded(key(0, 2), LoadCause::kGuessed);  // never routed
  EXPECT_EQ(policy_->ranked_residents({0}), ids({1, 3, 0, 2}));
  route(0, {2});
  EXPECT_EQ(policy_->ranked_residents({0}), ids({2, 1, 3, 0}));
}

// The rule of lru.h, written the slow way.
class NaiveLru {
 public:
  NaiveLru(std::vector<std::size_t> expert_counts, std::size_t slot_count)
      : layer_count_(expert_counts.size()),
        share_(slot_count / (expert_counts.size() -
                             static_cast<std::size_t>(std::ranges::count(expert_counts, 0u)))) {}

  void route(LayerId layer, const std::vector<ExpertId>& routed) {
    ++call_;
    for (std::size_t rank = 0; rank < routed.size(); ++rank) {
      last_[{layer, routed[rank]}] = {call_, -static_cast<std::int64_t>(rank)};
    }
  }
  void load(ExpertKey key) { residents_.insert(key); }
  void drop(ExpertKey key) { residents_.erase(key); }
  const std::set<ExpertKey>& residents() const { return residents_; }

  ExpertKey victim(LayerId layer, const EvictableSet& evictable) const {
    if (count(layer) >= share_ && !of_layer(layer, evictable).empty()) {
      return oldest(of_layer(layer, evictable));
    }
    std::vector<LayerId> donors;
    for (std::uint32_t l = 0; l < layer_count_; ++l) {
      if (!of_layer({l}, evictable).empty()) donors.push_back({l});
    }
    return oldest(of_layer(
        *std::ranges::max_element(donors, {}, [this](LayerId l) { return count(l); }), evictable));
  }

 private:
  std::size_t count(LayerId layer) const {
    return static_cast<std::size_t>(std::ranges::count(residents_, layer, &ExpertKey::layer));
  }
  std::vector<ExpertKey> of_layer(LayerId layer, const EvictableSet& evictable) const {
    std::vector<ExpertKey> keys;
    for (const ExpertKey key : residents_) {
      if (key.layer == layer && evictable.contains(key)) keys.push_back(key);
    }
    return keys;
  }
  ExpertKey oldest(const std::vector<ExpertKey>& keys) const {
    return *std::ranges::min_element(keys, {}, [this](ExpertKey key) { return last_.at(key); });
  }

  std::size_t layer_count_;
  std::size_t share_;
  std::uint64_t call_ = 0;
  std::map<ExpertKey, std::pair<std::uint64_t, std::int64_t>> last_;
  std::set<ExpertKey> residents_;
};

TEST(LruPolicy, DecidesAsTheNaiveModelOnRandomTraces) {
  const std::vector<std::size_t> counts = {9, 0, 12, 5, 9};
  constexpr std::size_t kTopK = 3;
  for (const std::size_t slot_count : {3u, 4u, 5u, 8u, 12u, 20u, 31u, 35u}) {
    SCOPED_TRACE(testing::Message() << slot_count << " slots, seed " << slot_count);
    std::mt19937_64 random(slot_count);
    const auto policy = make_lru_policy(counts);
    policy->set_slots({.counts = {slot_count}});
    NaiveLru naive(counts, slot_count);
    for (std::uint64_t step = 0; step < 3000; ++step) {
      // Layers in order as a forward pass has them, now and then one out of turn.
      LayerId layer{static_cast<std::uint32_t>(random() % 8 == 0 ? random() % 5 : step % 5)};
      if (counts[layer.value] == 0) continue;
      std::vector<ExpertId> routed(counts[layer.value]);
      for (std::size_t e = 0; e < routed.size(); ++e) {
        routed[e] = ExpertId{static_cast<std::uint16_t>(e)};
      }
      std::ranges::shuffle(routed, random);
      routed.resize(kTopK);
      policy->on_routed(step, layer, routed, {});
      naive.route(layer, routed);
      // The routed are leased; of the others some, as long as enough can go.
      std::set<ExpertKey> leased;
      for (const ExpertId id : routed) leased.insert({layer, id});
      std::size_t idle_count = slot_count - kTopK;
      for (const ExpertKey resident : naive.residents()) {
        if (leased.contains(resident) || idle_count <= kTopK || random() % 4 != 0) continue;
        leased.insert(resident);
        --idle_count;
      }
      const AllBut evictable(leased);
      for (const ExpertId id : routed) {
        if (naive.residents().contains({layer, id})) continue;
        if (naive.residents().size() == slot_count) {
          const ExpertKey victim = policy->choose_victim(layer, evictable);
          ASSERT_EQ(victim, naive.victim(layer, evictable));
          policy->on_dropped(victim);
          naive.drop(victim);
        }
        policy->on_loaded({layer, id}, LoadCause::kRouted);
        naive.load({layer, id});
      }
    }
  }
}

TEST(LruPolicy, HitsBelowOneTokensWorthOfSlots) {
  // Every token wants the same 4 of each of 10 layers: one list over all layers would hit nothing.
  const std::vector<std::size_t> counts(10, 16);
  const auto policy = make_lru_policy(counts);
  policy->set_slots({.counts = {20}});
  std::set<ExpertKey> residents;
  std::size_t hit_count = 0;
  for (std::uint64_t step = 0; step < 100; ++step) {
    for (std::uint32_t l = 0; l < 10; ++l) {
      const std::vector<ExpertId> routed = ids({0, 1, 2, 3});
      policy->on_routed(step, {l}, routed, {});
      std::set<ExpertKey> leased;
      for (const ExpertId id : routed) leased.insert({{l}, id});
      for (const ExpertId id : routed) {
        if (residents.contains({{l}, id})) {
          ++hit_count;
          continue;
        }
        if (residents.size() == 20) {
          const ExpertKey victim = policy->choose_victim({l}, AllBut(leased));
          policy->on_dropped(victim);
          ASSERT_EQ(residents.erase(victim), 1u);
        }
        policy->on_loaded({{l}, id}, LoadCause::kRouted);
        residents.insert({{l}, id});
      }
    }
  }
  EXPECT_GT(hit_count, 1500u);  // of 4000; a share of 2 of 4 could at best give 2000
}

}  // namespace
}  // namespace flashmoe
