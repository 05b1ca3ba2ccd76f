#include "engine/cache_governor.h"

#include <gtest/gtest.h>

#include <vector>

namespace flashmoe {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t kPlanned = 160, kLeast = 10;
constexpr std::uint64_t kSlotBytes = 1 << 20;
constexpr std::uint64_t kPlannedBytes = kPlanned * kSlotBytes, kLeastBytes = kLeast * kSlotBytes;
constexpr std::size_t kShrink = 20, kGrowth = 10;  // steps

/// A cache of full slots, in a time that the test makes pass.
class CacheGovernorTest : public testing::Test {
 protected:
  CacheGovernorTest() { update(); }

  void update() {
    const std::size_t before = limit_;
    // The cache has whole slots.
    limit_ = governor_.update(now_, pressure_,
                              {.limit_bytes = limit_ * kSlotBytes,
                               .used_bytes = std::min(limit_, used_) * kSlotBytes,
                               .slot_bytes = kSlotBytes}) /
             kSlotBytes;
    if (limit_ < before) shrinks_.push_back(now_);
    if (limit_ > before) growths_.push_back(now_);
  }
  /// Lets time pass, with that share of it in stalls.
  void pass(CacheGovernor::Duration duration, double stalled_share = 0) {
    constexpr auto kTick = milliseconds(250);
    for (auto left = duration; left > seconds(0); left -= kTick) {
      now_ += kTick;
      pressure_.stalled_us += static_cast<std::uint64_t>(
          stalled_share * std::chrono::duration<double, std::micro>(kTick).count());
      update();
    }
  }

  CacheGovernor governor_{kPlannedBytes, kLeastBytes};
  CacheGovernor::TimePoint now_;
  MemoryPressure pressure_{.stalled_us = 5'000'000,
                           .limit_hit_count = 1000,
                           .machine_share_left = 0.05,
                           .group_share_left = 1};
  std::size_t limit_ = kPlanned;
  std::size_t used_ = kPlanned;
  std::vector<CacheGovernor::TimePoint> shrinks_;
  std::vector<CacheGovernor::TimePoint> growths_;
};

TEST_F(CacheGovernorTest, LeavesThePlanAloneWithoutPressure) {
  pass(seconds(1000));
  EXPECT_EQ(limit_, kPlanned);
  pass(seconds(100), 0.09);
  EXPECT_EQ(limit_, kPlanned);
}

TEST_F(CacheGovernorTest, ShrinksStepByStepWhileTasksStallForMemory) {
  pass(seconds(2), 0.2);
  EXPECT_EQ(limit_, kPlanned - kShrink);
  pass(seconds(4), 0.2);
  EXPECT_EQ(limit_, kPlanned - 3 * kShrink);
  pass(seconds(100), 0.2);
  EXPECT_EQ(limit_, kLeast);
}

TEST_F(CacheGovernorTest, OneBurstIsOneStep) {
  pass(seconds(1), 0.9);
  pass(seconds(9));
  EXPECT_EQ(limit_, kPlanned - kShrink);
}

TEST_F(CacheGovernorTest, WhatHappenedBeforeItsFirstLookIsNoPressure) {
  CacheGovernor governor(kPlanned, kLeast);
  pressure_.stalled_us += 60'000'000;  // loading
  EXPECT_EQ(governor.update(now_, pressure_, {kPlanned, kPlanned}), kPlanned);
  EXPECT_EQ(governor.update(now_ + seconds(2), pressure_, {kPlanned, kPlanned}), kPlanned);
}

TEST_F(CacheGovernorTest, StallsAreNoPressureWhileMemoryIsLeft) {
  pressure_.machine_share_left = 0.5;
  pass(seconds(100), 0.9);
  EXPECT_EQ(limit_, kPlanned);
  pressure_.group_share_left = 0.1;
  pass(seconds(2), 0.9);
  EXPECT_EQ(limit_, kPlanned - kShrink);
}

TEST_F(CacheGovernorTest, AGroupAtItsLimitIsPressureOnlyWhileTheKernelReclaims) {
  pressure_.machine_share_left = 0.5;
  pressure_.group_share_left = 0.01;
  pass(seconds(10));
  EXPECT_EQ(limit_, kPlanned) << "full, as planned";
  ++pressure_.limit_hit_count;
  pass(seconds(10));
  EXPECT_EQ(limit_, kPlanned - kShrink);
  pressure_.group_share_left = 0.05;
  ++pressure_.limit_hit_count;  // page cache that was dropped
  pass(seconds(2));
  EXPECT_EQ(shrinks_.size(), 1u);
}

TEST_F(CacheGovernorTest, AGroupThatKeepsMeetingItsLimitGetsAStepASecond) {
  pressure_.group_share_left = 0.01;
  for (int i = 0; i < 12; ++i) {
    ++pressure_.limit_hit_count;
    pass(milliseconds(250));
  }
  EXPECT_EQ(limit_, kPlanned - 3 * kShrink);
  EXPECT_EQ(shrinks_.size(), 3u);
}

TEST_F(CacheGovernorTest, CountsFromTheSlotsInUse) {
  used_ = 50;
  pass(seconds(2), 0.5);
  EXPECT_EQ(limit_, 50 - kShrink);
  used_ = 0;
  pass(seconds(2), 0.5);
  EXPECT_EQ(limit_, kLeast);
}

TEST_F(CacheGovernorTest, NeverRaisesALimitUnderPressure) {
  // What leases kept above the last limit is no reason to hand out more.
  EXPECT_EQ(governor_.update(now_ + seconds(2), pressure_, {.limit_bytes = 4, .used_bytes = 4}),
            4u);
  pressure_.stalled_us += 2'000'000;
  EXPECT_EQ(governor_.update(now_ + seconds(4), pressure_, {.limit_bytes = 4, .used_bytes = 4}),
            4u);
}

TEST_F(CacheGovernorTest, GrowsBackToThePlanAfterCalm) {
  pass(seconds(4), 0.5);
  ASSERT_EQ(limit_, kPlanned - 2 * kShrink);
  pass(seconds(9));
  EXPECT_TRUE(growths_.empty());
  pass(seconds(1));
  EXPECT_EQ(limit_, kPlanned - 2 * kShrink + kGrowth);
  pass(seconds(9));
  EXPECT_EQ(growths_.size(), 1u);
  pass(seconds(21));
  EXPECT_EQ(limit_, kPlanned);
  pass(seconds(1000));
  EXPECT_EQ(limit_, kPlanned);
  EXPECT_EQ(growths_.size(), 4u);
}

TEST_F(CacheGovernorTest, AFilesDisappearanceIsNoPressure) {
  pressure_ = {.machine_share_left = 0.05, .group_share_left = 0.01};
  pass(seconds(10));
  EXPECT_EQ(limit_, kPlanned);
}

// Something else needs all that it finds: pressure whenever the cache has more than half.
TEST_F(CacheGovernorTest, BacksOffWhereGrowthBringsThePressureBack) {
  const auto live = [this](CacheGovernor::Duration duration) {
    for (auto left = duration; left > seconds(0); left -= seconds(2)) {
      pass(seconds(2), limit_ > kPlanned / 2 ? 0.5 : 0);
    }
  };
  live(seconds(3600));
  EXPECT_LE(limit_, kPlanned / 2 + kGrowth);
  EXPECT_GE(limit_, kPlanned / 2 - kShrink);
  // After the descent and the doublings one growth or shrink in 5 minutes is left.
  EXPECT_LT(shrinks_.size(), 4u + 5u + 3600u / 300u);
  ASSERT_GE(growths_.size(), 2u);
  EXPECT_GE(growths_.back() - growths_[growths_.size() - 2], std::chrono::minutes(5));
  // Once it is gone, all comes back, and the next pressure finds a governor without a grudge.
  pass(std::chrono::hours(3));
  ASSERT_EQ(limit_, kPlanned);
  pass(seconds(2), 0.5);
  pass(seconds(12));
  EXPECT_EQ(limit_, kPlanned - kShrink + kGrowth);
}

/// Others of the group, which has `left` of its limit, take memory at so many bytes a second.
class GrowingNeighbourTest : public CacheGovernorTest {
 protected:
  void pass_with_growth(CacheGovernor::Duration duration, std::uint64_t bytes_per_second) {
    for (auto left = duration; left > seconds(0); left -= milliseconds(250)) {
      pressure_.others_bytes += bytes_per_second / 4;
      const std::uint64_t freed = (kPlanned - limit_) * kSlotBytes;
      const std::uint64_t used = pressure_.others_bytes - freed;
      pressure_.group_bytes_left = kRoom > used ? kRoom - used : 0;
      pass(milliseconds(250));
    }
  }

  static constexpr std::uint64_t kRoom = 200 << 20;
};

TEST_F(GrowingNeighbourTest, IsGivenRoomBeforeItMeetsTheLimit) {
  pass_with_growth(seconds(9), 16 << 20);  // 56 MiB are left
  EXPECT_EQ(limit_, kPlanned);
  pass_with_growth(seconds(1), 16 << 20);  // now less than it takes in 3 s
  EXPECT_LT(limit_, kPlanned);
  while (limit_ > kLeast) {
    pass_with_growth(milliseconds(250), 16 << 20);
    if (limit_ > kLeast) {
      ASSERT_GT(pressure_.group_bytes_left, 16u << 20);
    }
  }
  // No sooner than it had to.
  EXPECT_GT(pressure_.others_bytes, kRoom);
}

TEST_F(GrowingNeighbourTest, KeepsTheSlotsWhenItStops) {
  pass_with_growth(seconds(10), 16 << 20);
  const std::size_t limit = limit_;
  EXPECT_LT(limit, kPlanned);
  EXPECT_GT(limit, kPlanned / 2);
  pass_with_growth(seconds(5), 0);
  EXPECT_EQ(limit_, limit);
}

TEST_F(GrowingNeighbourTest, IsNoneWhereOnlyWeGrow) {
  // Slots fill, to the last byte of the group: the plan has room for that.
  for (std::uint64_t left = 100 << 20; left > 0; left -= 5 << 20) {
    pressure_.group_bytes_left = left;
    pass(milliseconds(250));
  }
  EXPECT_EQ(limit_, kPlanned);
}

TEST_F(GrowingNeighbourTest, ABurstThatIsOverIsNoGrowth) {
  pressure_.group_bytes_left = 10 << 20;
  for (int burst = 0; burst < 20; ++burst) {
    pressure_.others_bytes += 32 << 20;
    pass(milliseconds(500));
  }
  EXPECT_EQ(limit_, kPlanned);
}

}  // namespace
}  // namespace flashmoe
