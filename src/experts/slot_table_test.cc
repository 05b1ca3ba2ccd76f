#include "experts/slot_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace flashmoe {
namespace {

using testing::ElementsAre;

constexpr ExpertKey kFirst{LayerId{0}, ExpertId{1}};
constexpr ExpertKey kSecond{LayerId{1}, ExpertId{0}};

class SlotTableTest : public testing::Test {
 protected:
  void expect_counts(std::size_t free, std::size_t idle, std::size_t idle_reading,
                     std::size_t reading) const {
    EXPECT_EQ(table_.free_count(0), free);
    EXPECT_EQ(table_.idle_count(0), idle);
    EXPECT_EQ(table_.idle_reading_count(0), idle_reading);
    EXPECT_EQ(table_.reading_count(), reading);
  }

  static constexpr std::array<std::size_t, 2> kExperts = {3, 2};
  const SlotPlan plan_{
      {.classes = {{.slot_size = 1, .layer_count = 2, .expert_count = 5}}, .of_layer = {0, 0}},
      {.budget_bytes = 3}};
  SlotTable table_{kExperts, plan_};
};

TEST_F(SlotTableTest, AnExpertIsFoundFromItsFirstReadUntilItLeaves) {
  EXPECT_EQ(table_.find(kFirst), SlotTable::kNone);
  const std::uint32_t slot = table_.take_free(0);
  EXPECT_EQ(slot, 0u) << "slots fill from the front";
  table_.begin_reading(slot, kFirst, LoadCause::kRouted, 2);
  EXPECT_EQ(table_.find(kFirst), slot);
  EXPECT_THAT(table_.find_all(LayerId{0}), ElementsAre(SlotTable::kNone, slot, SlotTable::kNone));
  EXPECT_THAT(table_.resident_counts(), ElementsAre(0u, 0u));
  EXPECT_FALSE(table_.end_read(slot));
  EXPECT_TRUE(table_.end_read(slot));
  table_.arrive(slot);
  EXPECT_EQ(table_[slot].state, SlotState::kResident);
  EXPECT_THAT(table_.resident_counts(), ElementsAre(1u, 0u));
  table_.drop(slot);
  EXPECT_EQ(table_.find(kFirst), SlotTable::kNone);
  EXPECT_THAT(table_.resident_counts(), ElementsAre(0u, 0u));
  expect_counts(2, 3, 0, 0);
  table_.free(slot);
  expect_counts(3, 3, 0, 0);
}

TEST_F(SlotTableTest, LeasesMakeASlotBusyWhateverItsReads) {
  const std::uint32_t leased = table_.take_free(0);
  table_.add_lease(leased);
  table_.begin_reading(leased, kFirst, LoadCause::kRouted, 1);
  const std::uint32_t idle = table_.take_free(0);
  table_.begin_reading(idle, kSecond, LoadCause::kGuessed, 1);
  expect_counts(1, 2, 1, 2);
  EXPECT_EQ(table_.guessing_count(), 1u);
  table_.confirm_guess(idle);
  table_.add_lease(idle);
  table_.add_lease(idle);
  expect_counts(1, 1, 0, 2);
  EXPECT_EQ(table_.guessing_count(), 0u);
  EXPECT_FALSE(table_.drop_lease(idle));
  EXPECT_TRUE(table_.drop_lease(idle));
  expect_counts(1, 2, 1, 2);
  table_.arrive(idle);
  expect_counts(1, 2, 0, 1);
  table_.fail(leased);
  EXPECT_EQ(table_.find(kFirst), SlotTable::kNone);
  EXPECT_TRUE(table_.drop_lease(leased));
  table_.free(leased);
  expect_counts(2, 3, 0, 0);
  EXPECT_EQ(table_.guessing_count(), 0u);
}

TEST_F(SlotTableTest, WithheldSlotsAreInNoCountAndComeBack) {
  const std::uint32_t used = table_.take_free(0);
  table_.begin_reading(used, kFirst, LoadCause::kRestored, 1);
  EXPECT_EQ(table_.prefetching_count(), 1u);
  table_.arrive(used);
  EXPECT_EQ(table_.prefetching_count(), 0u);
  std::vector<std::uint32_t> withheld;
  table_.withhold_free(0, 2, [&](std::uint32_t slot) { withheld.push_back(slot); });
  EXPECT_THAT(withheld, ElementsAre(2u, 1u)) << "the last to be used";
  EXPECT_EQ(table_.limit(0), 1u);
  expect_counts(0, 1, 0, 0);
  EXPECT_EQ(table_.take_free(0), SlotTable::kNone);
  table_.drop(used);
  table_.withhold(used);
  EXPECT_EQ(table_.limit(0), 0u);
  table_.restore(0, 3);
  EXPECT_EQ(table_.limit(0), 3u);
  expect_counts(3, 3, 0, 0);
}

TEST_F(SlotTableTest, ClassesHaveTheirOwnBooks) {
  const SlotPlan plan({.classes = {{.slot_size = 3, .layer_count = 1, .expert_count = 3},
                                   {.slot_size = 1, .layer_count = 1, .expert_count = 2}},
                       .of_layer = {0, 1}},
                      {.budget_bytes = 8, .experts_at_once = 1});
  SlotTable table(kExperts, plan);
  EXPECT_THAT(table.limits().counts, ElementsAre(2u, 2u));
  const std::uint32_t small = table.take_free(1);
  table.begin_reading(small, kSecond, LoadCause::kGuessed, 1);
  EXPECT_EQ(plan.slot_size(small), 1u);
  EXPECT_EQ(table.free_count(1), 1u);
  EXPECT_EQ(table.free_count(0), 2u);
  EXPECT_EQ(table.idle_reading_count(1), 1u);
  EXPECT_EQ(table.idle_reading_count(0), 0u);
  table.withhold_free(1, 2, [](std::uint32_t) {});
  EXPECT_THAT(table.limits().counts, ElementsAre(2u, 1u));
  EXPECT_EQ(table.take_free(1), SlotTable::kNone);
  EXPECT_NE(table.take_free(0), SlotTable::kNone);
  table.restore(1, 1);
  EXPECT_NE(table.take_free(1), SlotTable::kNone);
}

}  // namespace
}  // namespace flashmoe
