#include "experts/slot_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <vector>

#include "experts/testing/expert_files.h"

namespace flashmoe {
namespace {

using testing::ElementsAre;

constexpr std::uint64_t kNoBudget = std::numeric_limits<std::uint64_t>::max();

// 20 layers of 32 experts, as a Q4_K_M file has them: some take 7 for the others' 6.
SlotClasses two_sizes() {
  SlotClasses classes{.classes = {{.slot_size = 7, .layer_count = 8, .expert_count = 8 * 32},
                                  {.slot_size = 6, .layer_count = 12, .expert_count = 12 * 32}}};
  for (std::size_t l = 0; l < 20; ++l) classes.of_layer.push_back(l < 8 ? 0 : 1);
  return classes;
}

std::vector<std::size_t> counts(const SlotPlan& plan) {
  return plan.slots(plan.slot_count()).counts;
}

TEST(SlotPlan, LayersOfEverySizeGetEqualNumbersOfSlots) {
  const SlotPlan plan(two_sizes(), {.budget_bytes = 10 * (8 * 7 + 12 * 6), .experts_at_once = 4});
  EXPECT_THAT(counts(plan), ElementsAre(80u, 120u));
  EXPECT_EQ(plan.byte_size(), 10u * (8 * 7 + 12 * 6));
  EXPECT_EQ(plan.class_of(LayerId{7}), 0u);
  EXPECT_EQ(plan.class_of(LayerId{8}), 1u);
}

TEST(SlotPlan, EveryByteThatHoldsASlotIsUsed) {
  const SlotClasses classes = two_sizes();
  for (std::uint64_t budget = 8 * 4 * 7; budget <= classes.resident_size() + 9; ++budget) {
    const SlotPlan plan(classes, {.budget_bytes = budget, .experts_at_once = 4});
    ASSERT_LE(plan.byte_size(), budget);
    if (plan.slot_count() < classes.expert_count()) {
      ASSERT_LT(budget - plan.byte_size(), 7u);
    }
    // More than slots of one size, except where nothing else is possible.
    ASSERT_GE(plan.slot_count(), std::min<std::uint64_t>(budget / 7, classes.expert_count()));
  }
}

TEST(SlotPlan, AClassThatHoldsAllItsExpertsLeavesTheRestToOthers) {
  SlotClasses classes = two_sizes();
  classes.classes[0].expert_count = 8 * 10;  // layers of fewer experts
  const SlotPlan plan(classes, {.budget_bytes = 80 * 7 + 300 * 6 + 5, .experts_at_once = 4});
  EXPECT_THAT(counts(plan), ElementsAre(80u, 300u));
  const SlotPlan all(classes, {.budget_bytes = classes.resident_size()});
  EXPECT_THAT(counts(all), ElementsAre(80u, 12u * 32));
  EXPECT_EQ(all.byte_size(), classes.resident_size());
}

TEST(SlotPlan, EveryClassHasWhatALayerLeasesAtOnce) {
  SlotClasses classes{.classes = {{.slot_size = 9, .layer_count = 1, .expert_count = 32},
                                  {.slot_size = 6, .layer_count = 19, .expert_count = 19 * 32}},
                      .of_layer = std::vector<std::size_t>(20, 1)};
  classes.of_layer[0] = 0;
  const SlotPlan plan(classes, {.budget_bytes = 8 * 9 + 40 * 6, .experts_at_once = 8});
  EXPECT_THAT(counts(plan), ElementsAre(8u, 40u)) << "two for each layer, but for that alone";
  EXPECT_EQ(plan.slots_for(8), 16u);
}

TEST(SlotPlan, SlotsAreAlikeWhereTheBudgetDoesNotHoldThat) {
  const SlotPlan least(two_sizes(), {.budget_bytes = 8 * 7, .experts_at_once = 8});
  EXPECT_THAT(least.classes(), ElementsAre(SlotClass{7, 20, 640}));
  EXPECT_EQ(least.slot_count(), 8u);
  EXPECT_EQ(least.class_of(LayerId{19}), 0u);
  EXPECT_EQ(least.slots_for(8), 8u);
  const SlotPlan more(two_sizes(), {.budget_bytes = 8 * (7 + 6) - 1, .experts_at_once = 8});
  EXPECT_EQ(more.classes().size(), 1u);
  EXPECT_EQ(
      SlotPlan(two_sizes(), {.budget_bytes = 8 * (7 + 6), .experts_at_once = 8}).classes().size(),
      2u);
  // Any number at once: of every class all, or all alike.
  EXPECT_EQ(SlotPlan(two_sizes(), {.budget_bytes = 640 * 6}).classes().size(), 1u);
  EXPECT_EQ(SlotPlan(two_sizes(), {.budget_bytes = 6}).slot_count(), 0u);
}

TEST(SlotPlan, AsManySlotsAsAreAskedFor) {
  const SlotPlan plan(two_sizes(),
                      {.budget_bytes = kNoBudget, .experts_at_once = 4, .slots_max = 100});
  EXPECT_THAT(counts(plan), ElementsAre(40u, 60u));
  const SlotPlan few(two_sizes(),
                     {.budget_bytes = kNoBudget, .experts_at_once = 4, .slots_max = 7});
  EXPECT_EQ(few.classes().size(), 1u);
  EXPECT_EQ(few.slot_count(), 7u);
}

TEST(SlotPlan, AModelWithoutExpertsHasNone) {
  const SlotPlan plan({.of_layer = {0, 0}}, {.budget_bytes = 100});
  EXPECT_EQ(plan.slot_count(), 0u);
  EXPECT_EQ(plan.byte_size(), 0u);
}

// What a limit leaves is what a smaller budget would have bought, and slots lie one behind the
// other.
TEST(SlotPlan, ItsBeginningIsThePlanOfASmallerBudget) {
  std::mt19937 random(20261201);
  for (int round = 0; round < 200; ++round) {
    SlotClasses classes;
    std::uint64_t size = 100;
    for (std::size_t c = 1 + random() % 5; c > 0; --c) {
      const std::size_t layers = 1 + random() % 6;
      classes.classes.push_back(
          {.slot_size = size, .layer_count = layers, .expert_count = layers * (1 + random() % 20)});
      size -= 1 + random() % 20;
    }
    classes.of_layer = {0};
    const std::size_t at_once = 1 + random() % 4;
    const std::uint64_t budget = random() % (classes.resident_size() + 200);
    const SlotPlan plan(classes, {.budget_bytes = budget, .experts_at_once = at_once});
    std::uint64_t end = 0;
    for (std::size_t slot = 0; slot < plan.slot_count(); ++slot) {
      ASSERT_EQ(plan.offset(slot), end);
      ASSERT_EQ(plan.slot_size(slot), plan.classes()[plan.class_of_slot(slot)].slot_size);
      end += plan.slot_size(slot);
    }
    ASSERT_EQ(plan.byte_size(), end);
    const std::size_t least = plan.slots_for(at_once);
    for (std::size_t limit = least; limit <= plan.slot_count(); ++limit) {
      const std::uint64_t bytes = plan.offset(limit);
      ASSERT_EQ(plan.slots_within(bytes), limit);
      if (limit < plan.slot_count()) {
        ASSERT_EQ(plan.slots_within(plan.offset(limit + 1) - 1), limit);
      }
      const SlotPlan smaller(classes, {.budget_bytes = bytes, .experts_at_once = at_once});
      ASSERT_EQ(counts(smaller), plan.slots(limit).counts);
    }
  }
}

TEST(SlotClasses, FollowWhatLayersStoreAndNotWhereItLies) {
  const std::vector<ExpertFiles::LayerShape> shapes = {
      {.expert_count = 4, .segment_sizes = {400'000, 400'000, 400'000}},
      {},
      {.expert_count = 4, .segment_sizes = {400'000, 400'000, 400'000}},
      {.expert_count = 4, .segment_sizes = {400'000, 400'000, 398'000}},
      {.expert_count = 8, .segment_sizes = {400'000, 400'000, 330'000}}};
  const ExpertFiles files(shapes, 3);
  const ExpertStore store = files.open_store();
  const SlotClasses classes = slot_classes(store);
  EXPECT_THAT(classes.of_layer, ElementsAre(0u, 0u, 0u, 0u, 1u));
  ASSERT_EQ(classes.classes.size(), 2u);
  EXPECT_EQ(classes.classes[0].layer_count, 3u);
  EXPECT_EQ(classes.classes[0].expert_count, 12u);
  EXPECT_EQ(classes.classes[0].slot_size,
            std::max({store.slot_size({0}), store.slot_size({2}), store.slot_size({3})}));
  EXPECT_EQ(classes.classes[1].expert_count, 8u);
  EXPECT_EQ(classes.classes[1].slot_size, store.slot_size({4}));
  EXPECT_LT(classes.classes[1].slot_size, classes.classes[0].slot_size);
  EXPECT_EQ(store.slot_size({1}), 0u);
  EXPECT_EQ(classes.slot_size_max(), store.slot_size());
}

}  // namespace
}  // namespace flashmoe
