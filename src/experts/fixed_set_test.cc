#include "experts/fixed_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace flashmoe {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr LayerId kLayer{0};
constexpr LayerId kOther{1};

ExpertSwap swap(int out, int in) {
  return {out < 0 ? kNobody : ExpertId{static_cast<std::uint16_t>(out)},
          ExpertId{static_cast<std::uint16_t>(in)}};
}

class FixedSetTest : public testing::Test {
 protected:
  FixedSetTest() {
    set_.plan({.layers = {{{2}, {4}, {6}}, {{1}}}});
    set_.complete(kLayer, 3);
    set_.complete(kOther, 1);
  }
  const std::vector<std::size_t> counts_ = {8, 3};
  FixedSet set_{counts_};
};

TEST(FixedSet, BeginsEmpty) {
  const std::vector<std::size_t> counts = {8, 0};
  FixedSet set(counts);
  EXPECT_TRUE(set.empty());
  EXPECT_FALSE(set.contains({kLayer, ExpertId{0}}));
  EXPECT_EQ(set.stale({kLayer, ExpertId{0}}), kNobody);
  set.plan({.layers = {{{5}, {1}}, {}}});
  EXPECT_FALSE(set.empty());
  EXPECT_THAT(set.pending(kLayer), ElementsAre(swap(-1, 5), swap(-1, 1)));
  EXPECT_EQ(set.stale({kLayer, ExpertId{5}}), kNobody) << "nobody has its place";
}

TEST_F(FixedSetTest, GivesPlacesInTheOrderOfTheWanted) {
  EXPECT_THAT(set_.members(kLayer), ElementsAre(ExpertId{2}, ExpertId{4}, ExpertId{6}));
  EXPECT_EQ(set_.member_count(), 4u);
  EXPECT_EQ(set_.pending_count(), 0u);
  EXPECT_TRUE(set_.contains({kLayer, ExpertId{4}}));
  EXPECT_FALSE(set_.contains({kOther, ExpertId{2}}));
}

TEST_F(FixedSetTest, WhoStaysKeepsItsPlaceAndNewcomersTakeThoseOfLeavers) {
  set_.plan({.layers = {{{7}, {6}, {1}}, {{1}}}});
  EXPECT_THAT(set_.pending(kLayer), ElementsAre(swap(2, 7), swap(4, 1)));
  EXPECT_THAT(set_.pending(kOther), IsEmpty());
  EXPECT_TRUE(set_.contains({kLayer, ExpertId{2}})) << "until it is swapped";
  EXPECT_FALSE(set_.contains({kLayer, ExpertId{7}}));
  set_.complete(kLayer, 1);
  EXPECT_THAT(set_.members(kLayer), ElementsAre(ExpertId{7}, ExpertId{4}, ExpertId{6}));
  EXPECT_FALSE(set_.contains({kLayer, ExpertId{2}}));
  EXPECT_EQ(set_.pending_count(), 1u);
}

TEST_F(FixedSetTest, StaleIsWhoHasThePlaceOrElseTheFirst) {
  EXPECT_EQ(set_.stale({kLayer, ExpertId{0}}), ExpertId{2});
  set_.plan({.layers = {{{7}, {6}, {1}}, {{1}}}});
  EXPECT_EQ(set_.stale({kLayer, ExpertId{1}}), ExpertId{4}) << "it is to get the place of 4";
  EXPECT_EQ(set_.stale({kLayer, ExpertId{0}}), ExpertId{2});
  set_.complete(kLayer, 1);
  EXPECT_EQ(set_.stale({kLayer, ExpertId{0}}), ExpertId{7});
  EXPECT_EQ(set_.stale({kLayer, ExpertId{2}}), ExpertId{7}) << "gone";
}

TEST_F(FixedSetTest, ANewPlanForgetsTheSwapsThatWereNotMade) {
  set_.plan({.layers = {{{7}, {6}, {1}}, {{0}}}});
  set_.complete(kLayer, 1);
  set_.plan({.layers = {{{7}, {4}, {6}}, {{1}}}});
  EXPECT_EQ(set_.pending_count(), 0u);
}

TEST_F(FixedSetTest, GrowsAndShrinks) {
  set_.plan({.layers = {{{4}}, {{1}, {0}}}});
  EXPECT_THAT(set_.members(kLayer), ElementsAre(ExpertId{4}));
  EXPECT_FALSE(set_.contains({kLayer, ExpertId{2}}));
  EXPECT_THAT(set_.pending(kOther), ElementsAre(swap(-1, 0)));
  EXPECT_EQ(set_.member_count(), 2u);
  set_.complete(kOther, 1);
  EXPECT_EQ(set_.member_count(), 3u);
  set_.clear();
  EXPECT_TRUE(set_.empty());
}

TEST_F(FixedSetTest, EveryChangeOfWhoIsInItChangesTheVersion) {
  const std::uint64_t before = set_.version();
  set_.plan({.layers = {{{7}, {6}, {1}}, {{1}}}});
  const std::uint64_t planned = set_.version();
  EXPECT_NE(planned, before);
  set_.complete(kLayer, 1);
  EXPECT_NE(set_.version(), planned);
}

constexpr std::array<std::size_t, 5> kExpertCounts = {16, 0, 16, 16, 4};

TEST(FixedSetShares, AreEqualButForWhatPasses) {
  const LayerSlots slots{.counts = {30}};
  EXPECT_THAT(equal_shares(slots, 0, kExpertCounts), ElementsAre(8u, 0u, 8u, 7u, 4u));
  EXPECT_THAT(equal_shares(slots, 10, kExpertCounts), ElementsAre(5u, 0u, 5u, 5u, 4u));
  EXPECT_THAT(equal_shares(slots, 40, kExpertCounts), ElementsAre(0u, 0u, 0u, 0u, 0u));
  EXPECT_THAT(pinned_shares(slots, 0, 4, kExpertCounts), ElementsAre(4u, 0u, 4u, 4u, 3u));
  EXPECT_THAT(pinned_shares(slots, 2, 4, kExpertCounts), ElementsAre(2u, 0u, 2u, 2u, 2u));
}

TEST(FixedSetShares, AreOfTheLayersOwnClass) {
  const LayerSlots slots{.counts = {12, 30}, .class_of_layer = {0, 0, 1, 1, 0}};
  EXPECT_THAT(equal_shares(slots, 2, kExpertCounts), ElementsAre(5u, 0u, 14u, 14u, 4u));
  EXPECT_THAT(pinned_shares(slots, 0, 2, kExpertCounts), ElementsAre(3u, 0u, 8u, 7u, 3u));
  EXPECT_THAT(pinned_shares(slots, 6, 2, kExpertCounts), ElementsAre(5u, 0u, 6u, 6u, 4u));
}

}  // namespace
}  // namespace flashmoe
