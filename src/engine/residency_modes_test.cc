#include "engine/residency_modes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace flashmoe {
namespace {

using ::testing::HasSubstr;

constexpr OnMiss kApproximate[] = {OnMiss::kSkip, OnMiss::kRenormalise, OnMiss::kSubstitute};
constexpr Residency kAdaptive[] = {Residency::kLcp, Residency::kLru, Residency::kLfu};
constexpr Residency kFixed[] = {Residency::kPredictive, Residency::kDelta, Residency::kAsyncDelta};
constexpr Residency kOthers[] = {Residency::kExact, Residency::kResident, Residency::kLazy};

void expect_refused(const ResidencyOptions& options, const std::string& part) {
  const Status status = check_residency(options);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr(part));
}

TEST(ResidencyModes, EveryModeReadsWhatMisses) {
  for (const Residency residency : kAdaptive) {
    EXPECT_TRUE(check_residency({.residency = residency}).ok());
  }
  for (const Residency residency : kOthers) {
    EXPECT_TRUE(check_residency({.residency = residency}).ok());
    EXPECT_FALSE(miss_options({.residency = residency}).has_value());
  }
}

TEST(ResidencyModes, OnlyThoseThatAdaptMayApproximate) {
  for (const OnMiss on_miss : kApproximate) {
    for (const Residency residency : kAdaptive) {
      EXPECT_TRUE(check_residency({.residency = residency, .on_miss = on_miss}).ok());
    }
    for (const Residency residency : kOthers) {
      expect_refused({.residency = residency, .on_miss = on_miss},
                     "--on-miss " + std::string(to_string(on_miss)));
    }
  }
}

TEST(ResidencyModes, FixedSetsAreStaleUnlessTheyAreToldOtherwise) {
  for (const Residency residency : kFixed) {
    const ResidencyOptions options = {.residency = residency};
    EXPECT_TRUE(check_residency(options).ok());
    ASSERT_TRUE(miss_options(options).has_value());
    EXPECT_EQ(miss_options(options)->rule, MissRule::kStale);
    EXPECT_TRUE(miss_options(options)->answers_prompts);
    EXPECT_FALSE(may_read_misses(options));
    const ResidencyOptions exact = {.residency = residency, .on_miss = OnMiss::kRead};
    EXPECT_FALSE(miss_options(exact).has_value());
    EXPECT_TRUE(may_read_misses(exact));
    EXPECT_TRUE(may_read_misses({.residency = residency, .quality_budget = 0.1}));
  }
  for (const Residency residency : kAdaptive) {
    expect_refused({.residency = residency, .on_miss = OnMiss::kStale}, "--on-miss stale");
  }
}

TEST(ResidencyModes, RefusesWhatAnotherModeWouldNotUse) {
  expect_refused({.residency = Residency::kPinned}, "--profile");
  expect_refused({.residency = Residency::kLru, .profile = "p"}, "--profile");
  expect_refused({.residency = Residency::kDelta, .pinned = 3}, "--pinned");
  expect_refused({.residency = Residency::kLfu, .refresh_every = 9}, "--refresh-every");
  expect_refused({.residency = Residency::kDelta, .discovery_tokens = 0}, "--discovery-tokens");
  expect_refused({.residency = Residency::kPredictive, .drop_caches = DropCaches::kOn},
                 "--drop-caches-on-switch");
  expect_refused({.residency = Residency::kDelta, .hold = Hold::kOutput}, "--hold");
  expect_refused({.residency = Residency::kAsyncDelta, .swap_layers = 0}, "--swap-layers");
  expect_refused({.residency = Residency::kAsyncDelta, .swap_seconds = -1}, "--swap-seconds -1");
}

TEST(ResidencyModes, RefusesWhatWouldHaveNoEffect) {
  expect_refused({.residency = Residency::kResident, .capacity = 4}, "--capacity");
  expect_refused({.quality_budget = 0.5}, "--quality-budget");
  expect_refused({.residency = Residency::kLfu, .on_miss = OnMiss::kSkip, .quality_budget = 1.5},
                 "--quality-budget 1.5");
  expect_refused({.residency = Residency::kLfu, .on_miss = OnMiss::kSkip, .miss_threshold = 0.1},
                 "--miss-threshold");
  expect_refused(
      {.residency = Residency::kLfu, .on_miss = OnMiss::kSubstitute, .miss_threshold = -1},
      "--miss-threshold -1");
}

TEST(ResidencyModes, ResidentNeedsASlotForEveryExpert) {
  MemoryPlan plan{.budget_bytes = 1000, .expert_slots = 7, .expert_count = 8};
  plan.budget_bytes_resident = 123456;
  EXPECT_TRUE(check_residency_fits({}, plan).ok());
  const Status status = check_residency_fits({.residency = Residency::kResident}, plan);
  EXPECT_EQ(status.code(), StatusCode::kOutOfBudget);
  EXPECT_THAT(std::string(status.message()), HasSubstr("7 of 8"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("need 1 MiB"));
  plan.expert_slots = 8;
  EXPECT_TRUE(check_residency_fits({.residency = Residency::kResident}, plan).ok());
}

TEST(ResidencyModes, ReadsNothingAheadWhereThatCouldBeSeen) {
  const auto reads_ahead = [](const ResidencyOptions& options) { return options.reads_ahead(); };
  EXPECT_TRUE(reads_ahead({}));
  EXPECT_TRUE(reads_ahead({.residency = Residency::kLru}));
  EXPECT_FALSE(reads_ahead({.residency = Residency::kLazy}));
  EXPECT_FALSE(reads_ahead({.residency = Residency::kResident}));
  for (const OnMiss on_miss : kApproximate) {
    EXPECT_FALSE(reads_ahead({.residency = Residency::kLru, .on_miss = on_miss}));
  }
}

TEST(ResidencyModes, HandsItsOptionsOn) {
  const auto misses = miss_options({.residency = Residency::kLru,
                                    .on_miss = OnMiss::kSubstitute,
                                    .miss_threshold = 0.25,
                                    .quality_budget = 0.5});
  ASSERT_TRUE(misses.has_value());
  EXPECT_EQ(misses->rule, MissRule::kSubstitute);
  EXPECT_EQ(misses->threshold, 0.25);
  EXPECT_EQ(misses->quality_budget, 0.5);
  EXPECT_EQ(miss_options({.on_miss = OnMiss::kSkip})->rule, MissRule::kSkip);
  EXPECT_EQ(miss_options({.on_miss = OnMiss::kRenormalise})->rule, MissRule::kRenormalise);
}

}  // namespace
}  // namespace flashmoe
