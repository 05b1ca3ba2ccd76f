#include "experts/policies/lfu.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <set>
#include <tuple>
#include <vector>

#include "experts/testing/all_but.h"
#include "experts/testing/expert_ids.h"

namespace flashmoe {
namespace {

class LfuPolicyTest : public testing::Test {
 protected:
  void make(std::vector<std::size_t> expert_counts, std::size_t slot_count) {
    policy_ = make_lfu_policy(expert_counts);
    policy_->set_slots({.counts = {slot_count}});
  }
  // Routes one expert in a step of its own, and loads it if it is not there.
  void route(std::uint16_t expert, std::uint32_t layer = 0) {
    const ExpertId id{expert};
    policy_->on_routed(step_++, {layer}, {&id, 1}, {});
    if (residents_.insert(key(layer, expert)).second) {
      policy_->on_loaded(key(layer, expert), LoadCause::kRouted);
    }
  }
  ExpertKey victim(std::set<ExpertKey> leased = {}, std::uint32_t layer = 0) {
    return policy_->choose_victim({layer}, AllBut(std::move(leased)));
  }

  std::unique_ptr<ResidencyPolicy> policy_;
  std::set<ExpertKey> residents_;
  std::uint64_t step_ = 0;
};

TEST_F(LfuPolicyTest, DropsTheExpertRoutedLeastOften) {
  make({8}, 3);
  for (const std::uint16_t expert : {5, 5, 2, 5, 2, 7}) route(expert);
  EXPECT_EQ(victim(), key(0, 7));  // LRU would drop 5
  EXPECT_EQ(victim({key(0, 7)}), key(0, 2));
}

TEST_F(LfuPolicyTest, RanksItsResidentsAgainstTheOrderInWhichTheyLeave) {
  make({8, 8}, 8);
  route(1, 1);
  for (const std::uint16_t expert : {5, 5, 2, 5, 2, 7, 0}) route(expert);
  const std::vector<ExpertId> ranked = policy_->ranked_residents({0});
  EXPECT_EQ(ranked, (std::vector<ExpertId>{{5}, {2}, {0}, {7}}));
  std::set<ExpertKey> kept = {key(1, 1)};
  for (std::size_t i = ranked.size(); i-- > 0;) {
    EXPECT_EQ(victim(kept), (ExpertKey{{0}, ranked[i]}));
    kept.insert({{0}, ranked[i]});
  }
}

TEST_F(LfuPolicyTest, ForgetsWhatWasFrequentLongAgo) {
  make({8}, 2);
  for (int i = 0; i < 4; ++i) route(5);
  step_ += 3 * kLfuHalfLife;
  route(2);
  EXPECT_EQ(victim(), key(0, 5));  // about 4 / 8 is left of its 4
}

TEST_F(LfuPolicyTest, CountsTheRowsOfAPrompt) {
  make({8}, 4);
  for (int i = 0; i < 5; ++i) route(3);
  const auto chunk = [&](std::initializer_list<int> experts, std::vector<std::uint32_t> rows,
                         std::size_t total) {
    policy_->on_routed(step_++, {0}, ids(experts), {.of_expert = rows, .total = total});
    for (const ExpertId id : ids(experts)) {
      if (residents_.insert({{0}, id}).second) {
        policy_->on_loaded({{0}, id}, LoadCause::kRouted);
      }
    }
  };
  chunk({1, 2}, {10, 1}, 20);
  EXPECT_EQ(victim(), key(0, 2));
  EXPECT_EQ(victim({key(0, 2)}), key(0, 3));  // 5 uses against 10
  // Of ten half-lives of rows a tenth counts: 10 of 100, less than 1's 10 and 4.
  for (int i = 0; i < 4; ++i) route(1);
  chunk({4}, {100}, 10 * kLfuHalfLife);
  EXPECT_EQ(victim({key(0, 2), key(0, 3)}), key(0, 4));
}

TEST_F(LfuPolicyTest, TakesARestoredExpertForOneJustRouted) {
  make({8}, 4);
  for (const std::uint16_t expert : {5, 5, 2, 7}) route(expert);
  policy_->on_loaded(key(0, 1), LoadCause::kRestored);
  EXPECT_EQ(victim(), key(0, 2));
  route(7);
  EXPECT_EQ(victim({key(0, 2)}), key(0, 1)) << "it fades like any other";
}

TEST_F(LfuPolicyTest, AGuessIsWorthWhatItWasUntilItComesTrue) {
  make({8}, 4);
  for (const std::uint16_t expert : {5, 5, 2}) route(expert);
  policy_->on_loaded(key(0, 1), LoadCause::kGuessed);
  residents_.insert(key(0, 1));
  EXPECT_EQ(victim(), key(0, 1));
  route(1);
  EXPECT_EQ(victim(), key(0, 2));
}

TEST_F(LfuPolicyTest, RemembersFrequenciesOfExpertsThatWereDropped) {
  make({8}, 2);
  for (const std::uint16_t expert : {5, 5, 5, 2}) route(expert);
  policy_->on_dropped(key(0, 5));
  residents_.erase(key(0, 5));
  route(3);
  route(3);
  policy_->on_dropped(key(0, 2));
  residents_.erase(key(0, 2));
  route(5);
  EXPECT_EQ(victim(), key(0, 3));
}

TEST_F(LfuPolicyTest, TakesTheOldestAndThenTheSmallerIdOfEquals) {
  make({8}, 4);
  const ExpertId together[] = {{4}, {3}};
  policy_->on_routed(0, {0}, together, {});
  for (const ExpertId id : together) {
    policy_->on_loaded({{0}, id}, LoadCause::kRouted);
    residents_.insert({{0}, id});
  }
  EXPECT_EQ(victim(), key(0, 3));
  // Nothing is left of either frequency.
  step_ = 100'000;
  route(3);
  step_ = 200'000;
  route(6);
  step_ = 300'000;
  route(7);
  EXPECT_EQ(victim(), key(0, 4));
}

TEST_F(LfuPolicyTest, KeepsTheSharesOfOtherLayers) {
  make({8, 0, 8}, 4);
  for (const std::uint16_t expert : {0, 1, 0, 1}) route(expert, 0);
  for (const std::uint16_t expert : {0, 1}) route(expert, 2);
  EXPECT_EQ(victim({}, 0), key(0, 0));
  EXPECT_EQ(victim({}, 2), key(2, 0));
  EXPECT_EQ(victim({key(2, 0), key(2, 1)}, 2), key(0, 0));
}

TEST_F(LfuPolicyTest, SharesFewerSlotsOutAnew) {
  make({8, 8}, 8);
  for (const std::uint16_t expert : {0, 1, 2, 3}) route(expert, 0);
  for (const std::uint16_t expert : {5, 4}) route(expert, 1);
  EXPECT_EQ(victim({}, 1), key(0, 0)) << "layer 1 has 2 of its 4";
  policy_->set_slots({.counts = {4}});
  EXPECT_EQ(victim({}, 1), key(1, 5)) << "layer 1 has its 2";
  policy_->set_slots({.counts = {8}});
  EXPECT_EQ(victim({}, 1), key(0, 0));
}

// The rule written the slow way: all uses of an expert, in long double.
TEST(LfuPolicyProperty, FollowsItsFormulaOnRandomTraces) {
  constexpr std::uint64_t kSeed = 20261125;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::mt19937_64 random(kSeed);
  constexpr std::size_t kExperts = 40, kSlots = 12;
  const std::size_t counts[] = {kExperts};
  const auto policy = make_lfu_policy(counts);
  policy->set_slots({.counts = {kSlots}});
  std::map<ExpertId, std::vector<std::uint64_t>> uses;
  std::set<ExpertId> residents;
  std::size_t close_calls = 0;
  for (std::uint64_t step = 0; step < 3000; ++step) {
    std::vector<ExpertId> routed;
    while (routed.size() < 3) {
      const ExpertId id{
          static_cast<std::uint16_t>(std::min(random() % kExperts, random() % kExperts))};
      if (std::ranges::find(routed, id) == routed.end()) routed.push_back(id);
    }
    policy->on_routed(step, {0}, routed, {});
    for (const ExpertId id : routed) uses[id].push_back(step);
    std::set<ExpertKey> leased;
    for (const ExpertId id : routed) leased.insert({{0}, id});
    for (const ExpertId id : routed) {
      if (residents.contains(id)) continue;
      if (residents.size() == kSlots) {
        const ExpertId victim = policy->choose_victim({0}, AllBut(leased)).expert;
        const auto frequency = [&](ExpertId expert) {
          long double sum = 0;
          for (const std::uint64_t use : uses[expert]) {
            sum += std::exp2(-static_cast<long double>(step - use) / kLfuHalfLife);
          }
          return sum;
        };
        for (const ExpertId other : residents) {
          if (leased.contains({{0}, other}) || other == victim) continue;
          const long double difference = frequency(victim) - frequency(other);
          if (std::abs(difference) < 1e-9) {
            ++close_calls;
            continue;
          }
          ASSERT_LT(difference, 0)
              << "step " << step << ": " << victim.value << " rather than " << other.value;
        }
        policy->on_dropped({{0}, victim});
        residents.erase(victim);
      }
      policy->on_loaded({{0}, id}, LoadCause::kRouted);
      residents.insert(id);
    }
  }
  EXPECT_LT(close_calls, 300u);
}

}  // namespace
}  // namespace flashmoe
