#include "engine/step_guard.h"

#include <gtest/gtest.h>

namespace flashmoe {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

TEST(StepGuard, LetsAStepGoOnThatEverybodyWants) {
  StepGuard guard({}, nullptr);
  EXPECT_TRUE(guard.go_on(0));
  EXPECT_TRUE(guard.go_on(1));
  EXPECT_EQ(guard.stop(), nullptr);
}

TEST(StepGuard, GivesUpAtOnceAndForGood) {
  std::atomic<bool> cancel = false;
  StepGuard guard({.cancel = &cancel}, nullptr);
  EXPECT_EQ(guard.stop(), &cancel);
  EXPECT_TRUE(guard.go_on(0.1));
  cancel = true;
  EXPECT_FALSE(guard.go_on(0.2));
  cancel = false;  // what was computed meanwhile may be worth nothing
  EXPECT_FALSE(guard.go_on(0.3));
}

TEST(StepGuard, IsPatientWithAStepThatMayEndSoon) {
  const std::atomic<bool> cancel = true;
  StepGuard guard({.cancel = &cancel, .patience = hours(1)}, nullptr);
  EXPECT_EQ(guard.stop(), nullptr);  // ops that stopped could not be made up for
  EXPECT_TRUE(guard.go_on(0.1));
  EXPECT_TRUE(guard.go_on(0.9));
}

TEST(StepGuard, LosesItsPatience) {
  const std::atomic<bool> cancel = true;
  StepGuard guard({.cancel = &cancel, .patience = milliseconds(1)}, nullptr);
  while (guard.go_on(0.5)) {
  }
  EXPECT_FALSE(guard.go_on(0.6));
}

TEST(StepGuard, AsksWhoHearsOfProgressUntilItSaysNo) {
  std::vector<double> heard;
  StepGuard guard({.on_progress =
                       [&](double share) {
                         heard.push_back(share);
                         return share < 0.5;
                       }},
                  nullptr);
  EXPECT_TRUE(guard.go_on(0.25));
  EXPECT_FALSE(guard.go_on(0.5));
  EXPECT_FALSE(guard.go_on(0.25));
  EXPECT_EQ(heard, (std::vector<double>{0.25, 0.5}));
}

}  // namespace
}  // namespace flashmoe
