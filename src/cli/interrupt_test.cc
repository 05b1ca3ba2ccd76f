#include "cli/interrupt.h"

#include <gtest/gtest.h>

namespace flashmoe::cli {
namespace {

TEST(InterruptGuard, NotesASignalAndItsExitCode) {
  const InterruptGuard guard({SIGINT, SIGTERM});
  EXPECT_FALSE(guard.interrupted());
  std::raise(SIGTERM);
  EXPECT_TRUE(guard.interrupted());
  EXPECT_EQ(guard.exit_code(), 128 + SIGTERM);
}

TEST(InterruptGuardDeathTest, LetsASecondSignalEndTheProcess) {
  const InterruptGuard guard;
  std::raise(SIGINT);
  EXPECT_EXIT(std::raise(SIGINT), ::testing::KilledBySignal(SIGINT), "");
}

TEST(InterruptGuardDeathTest, NotesAsManyAsItIsToldBeforeOneEndsTheProcess) {
  const InterruptGuard guard({SIGINT}, /*noted=*/2);
  std::raise(SIGINT);
  std::raise(SIGINT);
  EXPECT_TRUE(guard.interrupted());
  EXPECT_TRUE(guard.flag()->load());
  EXPECT_EXIT(std::raise(SIGINT), ::testing::KilledBySignal(SIGINT), "");
}

TEST(InterruptGuard, BeginsAnew) {
  {
    const InterruptGuard guard;
    std::raise(SIGINT);
  }
  const InterruptGuard guard;
  EXPECT_FALSE(guard.interrupted());
  std::raise(SIGINT);
  EXPECT_TRUE(guard.interrupted());
}

TEST(InterruptGuard, LeavesIgnoredSignalsIgnored) {
  std::signal(SIGHUP, SIG_IGN);
  {
    const InterruptGuard guard({SIGHUP});
    std::raise(SIGHUP);
    EXPECT_FALSE(guard.interrupted());
  }
  std::raise(SIGHUP);
  std::signal(SIGHUP, SIG_DFL);
}

TEST(InterruptGuard, RestoresWhatWasBefore) {
  std::signal(SIGINT, SIG_DFL);
  { const InterruptGuard guard; }
  struct sigaction action = {};
  sigaction(SIGINT, nullptr, &action);
  EXPECT_EQ(action.sa_handler, SIG_DFL);
}

}  // namespace
}  // namespace flashmoe::cli
