// Swaps on a set's word, a change of policy, and an empty cache.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "experts/policies/lfu.h"
#include "experts/testing/held_cache.h"

namespace flashmoe {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

class ExpertCacheExchange : public HeldCache {
 protected:
  void load(std::initializer_list<int> experts) {
    queue_->let_end(experts.size());
    for (const ExpertLease& lease : acquire(experts)) ASSERT_TRUE(lease.wait().ok());
  }
  /// Pairs of out and in; -1 is nobody.
  Status exchange(std::initializer_list<std::pair<int, int>> pairs) {
    std::vector<ExpertSwap> swaps;
    for (const auto& [out, in] : pairs) {
      swaps.push_back({out < 0 ? kNobody : ids({out})[0], ids({in})[0]});
    }
    return cache_->exchange(kLayer, swaps);
  }
  std::vector<ExpertId> residents() const { return cache_->resident_set().layers[0]; }
};

TEST_F(ExpertCacheExchange, PutsNewcomersInThePlaceOfThoseNamed) {
  make(4);
  load({0, 1, 2, 3});
  queue_->let_end(2);
  ASSERT_TRUE(exchange({{3, 5}, {1, 6}}).ok());
  EXPECT_THAT(residents(), UnorderedElementsAre(ExpertId{0}, ExpertId{2}, ExpertId{5}, ExpertId{6}))
      << "LRU would have dropped 0 and 1";
  const std::vector<ExpertLease> leases = acquire({5, 6});
  EXPECT_TRUE(shows(leases[0], 5) && shows(leases[1], 6));
  const ExpertCacheStatistics statistics = cache_->statistics();
  EXPECT_EQ(statistics.exchange_count, 2u);
  EXPECT_EQ(statistics.miss_count, 4u) << "an exchange misses nothing";
  EXPECT_EQ(statistics.hit_count, 2u);
  EXPECT_GT(statistics.exchange_seconds, 0);
}

TEST_F(ExpertCacheExchange, LeavesWhoeverGoesWhereTheNewcomerIsHereAlready) {
  make(4);
  load({0, 1, 2});
  ASSERT_TRUE(exchange({{0, 2}}).ok());
  EXPECT_THAT(residents(), UnorderedElementsAre(ExpertId{0}, ExpertId{1}, ExpertId{2}));
  EXPECT_EQ(cache_->statistics().exchange_count, 0u);
}

TEST_F(ExpertCacheExchange, TakesAFreeSlotOrThePolicysWhereNobodyIsNamedOrCanGo) {
  make(3);
  load({0, 1});
  queue_->let_end(1);
  ASSERT_TRUE(exchange({{-1, 4}}).ok());
  EXPECT_THAT(residents(), UnorderedElementsAre(ExpertId{0}, ExpertId{1}, ExpertId{4}));
  const std::vector<ExpertLease> leases = acquire({1});
  queue_->let_end(1);
  ASSERT_TRUE(exchange({{1, 5}}).ok()) << "1 is leased";
  EXPECT_THAT(residents(), UnorderedElementsAre(ExpertId{1}, ExpertId{4}, ExpertId{5}));
}

TEST_F(ExpertCacheExchange, NeverDropsANewcomerForAnother) {
  make(2);
  load({0, 1});  // 0 would leave first
  queue_->let_end(1);
  ASSERT_TRUE(exchange({{-1, 5}, {-1, 0}}).ok());
  EXPECT_THAT(residents(), UnorderedElementsAre(ExpertId{0}, ExpertId{5}));
}

TEST_F(ExpertCacheExchange, RefusesMoreThanIsFreeOfLeases) {
  make(2);
  load({0, 1});
  const std::vector<ExpertLease> leases = acquire({0, 1});
  EXPECT_EQ(exchange({{0, 5}}).code(), StatusCode::kOutOfBudget);
  EXPECT_THAT(residents(), UnorderedElementsAre(ExpertId{0}, ExpertId{1}));
}

TEST_F(ExpertCacheExchange, ANewPolicyKnowsWhoIsHereInTheOldOnesOrder) {
  make(4);
  load({3, 1, 2});
  acquire({3});
  const std::vector<ExpertId> order = residents();
  cache_->set_policy(make_lru_policy(store_.expert_counts()));
  EXPECT_EQ(residents(), order);
  cache_->set_policy(make_lfu_policy(store_.expert_counts()));
  load({1});
  EXPECT_EQ(residents().front(), ExpertId{1});
}

TEST_F(ExpertCacheExchange, ClearDropsWhoeverIsNotLeased) {
  make(4);
  load({0, 1, 2});
  {
    const std::vector<ExpertLease> leases = acquire({1});
    cache_->clear();
    EXPECT_THAT(residents(), ElementsAre(ExpertId{1}));
    EXPECT_TRUE(shows(leases[0], 1));
  }
  EXPECT_EQ(cache_->used_slot_count(), 1u);
  load({4, 5, 6});
  EXPECT_EQ(cache_->used_slot_count(), 4u);
}

}  // namespace
}  // namespace flashmoe
