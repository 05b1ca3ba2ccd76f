#include "engine/residency_modes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace flashmoe {
namespace {

using ::testing::HasSubstr;

constexpr OnMiss kApproximate[] = {OnMiss::kSkip, OnMiss::kRenormalise, OnMiss::kSubstitute};
constexpr Residency kAdaptive[] = {Residency::kLcp, Residency::kLru, Residency::kLfu};
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
  EXPECT_THAT(std::string(status.message()), HasSubstr("123456 bytes"));
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
