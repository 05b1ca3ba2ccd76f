#include "experts/policies/pinned.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <vector>

#include "experts/policies/lru.h"
#include "experts/testing/all_but.h"

namespace flashmoe {
namespace {

using testing::ElementsAre;

/// LRU over one layer, where experts 0 to 3 came in this order.
class PinnedPolicyTest : public testing::Test {
 protected:
  static constexpr LayerId kLayer{0};

  PinnedPolicyTest() {
    policy_->set_slots({.counts = {4}});
    for (std::uint16_t e = 0; e < 4; ++e) load(e);
  }
  void load(std::uint16_t expert) {
    const ExpertId id{expert};
    policy_->on_routed(step_++, kLayer, {&id, 1}, {});
    policy_->on_loaded({kLayer, id}, LoadCause::kRouted);
  }
  void pin(std::vector<ExpertId> ids) {
    const std::size_t count = ids.size();
    set_->plan({.layers = {std::move(ids)}});
    set_->complete(kLayer, set_->pending(kLayer).size());
    ASSERT_EQ(set_->members(kLayer).size(), count);
  }
  ExpertId victim(std::set<ExpertKey> leased = {}) {
    return policy_->choose_victim(kLayer, AllBut(std::move(leased))).expert;
  }

  const std::vector<std::size_t> counts_ = {8};
  std::shared_ptr<FixedSet> set_ = std::make_shared<FixedSet>(counts_);
  std::unique_ptr<ResidencyPolicy> policy_ = make_pinned_policy(make_lru_policy(counts_), set_);
  std::uint64_t step_ = 0;
};

TEST_F(PinnedPolicyTest, AnEmptySetChangesNothing) { EXPECT_EQ(victim(), ExpertId{0}); }

TEST_F(PinnedPolicyTest, DropsTheOthersFirst) {
  pin({{0}, {1}});
  EXPECT_EQ(victim(), ExpertId{2});
  EXPECT_EQ(victim({{kLayer, ExpertId{2}}}), ExpertId{3});
}

TEST_F(PinnedPolicyTest, DropsOneOfTheSetWhereNobodyElseMayGo) {
  pin({{0}, {1}});
  EXPECT_EQ(victim({{kLayer, ExpertId{2}}, {kLayer, ExpertId{3}}}), ExpertId{0});
  pin({{0}, {1}, {2}, {3}});
  EXPECT_EQ(victim(), ExpertId{0});
}

TEST_F(PinnedPolicyTest, FollowsTheSetAsItChanges) {
  pin({{0}, {1}, {2}});
  EXPECT_EQ(victim(), ExpertId{3});
  pin({{0}, {2}, {3}});
  EXPECT_EQ(victim(), ExpertId{1});
  policy_->on_dropped({kLayer, ExpertId{1}});
  load(5);
  EXPECT_EQ(victim(), ExpertId{5});
  set_->clear();
  EXPECT_EQ(victim(), ExpertId{0});
}

TEST_F(PinnedPolicyTest, RanksTheSetFirst) {
  pin({{0}, {1}});
  EXPECT_THAT(policy_->ranked_residents(kLayer),
              ElementsAre(ExpertId{1}, ExpertId{0}, ExpertId{3}, ExpertId{2}));
}

}  // namespace
}  // namespace flashmoe
