#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <numeric>
#include <thread>
#include <vector>

namespace flashmoe {
namespace {

TEST(ThreadPool, CallsEveryIndexOnceWithAnyNumberOfThreads) {
  for (const std::size_t threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.thread_count(), threads);
    for (const std::size_t count : {0, 1, 2, 3, 100, 1000}) {
      std::vector<int> calls(count, 0);  // no two threads get one index: TSan would tell
      pool.parallel_for(count, [&](std::size_t i) { ++calls[i]; });
      EXPECT_EQ(calls, std::vector<int>(count, 1)) << threads << " threads";
    }
  }
}

// The results of one loop are the inputs of the next, whoever computed them.
TEST(ThreadPool, OneLoopSeesWhatTheLastOneWrote) {
  ThreadPool pool(3);
  std::vector<std::uint32_t> values(64, 1);
  std::vector<std::uint32_t> next(64);
  for (int round = 0; round < 2000; ++round) {
    pool.parallel_for(values.size(), [&](std::size_t i) {
      next[i] = values[(i + 1) % values.size()] + values[i];
    });
    std::swap(values, next);
  }
  std::vector<std::uint32_t> expected(64, 1);
  for (int round = 0; round < 2000; ++round) {
    for (auto& value : expected) value *= 2;
  }
  EXPECT_EQ(values, expected);
}

// While the caller sleeps all workers run out of patience and park; the next loop must wake them or
// do without. The outcome does not depend on the time, only what is tested does.
TEST(ThreadPool, WorksAfterItsThreadsHaveParked) {
  ThreadPool pool(3);
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::atomic<std::size_t> sum = 0;
    pool.parallel_for(100, [&](std::size_t i) { sum += i; });
    EXPECT_EQ(sum, 4950u);
  }
}

TEST(ThreadPool, TheOtherThreadsTakePart) {
  ThreadPool pool(2);
  const auto caller = std::this_thread::get_id();
  std::atomic<bool> helped = false;
  // Ends as soon as the worker has had an index, which needs no luck: each index waits for it.
  pool.parallel_for(2, [&](std::size_t) {
    if (std::this_thread::get_id() != caller) helped = true;
    while (!helped) std::this_thread::yield();
  });
  EXPECT_TRUE(helped);
}

TEST(ThreadPool, StartsAndStopsWithoutEverWorking) {
  for (int round = 0; round < 300; ++round) ThreadPool pool(4);
}

TEST(ThreadPool, SeveralPoolsWorkSideBySide) {
  std::vector<std::thread> callers;
  std::atomic<std::size_t> sum = 0;
  for (int caller = 0; caller < 3; ++caller) {
    callers.emplace_back([&sum] {
      ThreadPool pool(3);
      for (int round = 0; round < 300; ++round) {
        pool.parallel_for(10, [&sum](std::size_t i) { sum += i; });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(sum, 3u * 300u * 45u);
}

TEST(ThreadPool, ThereIsAtLeastOneCore) { EXPECT_GE(ThreadPool::available_core_count(), 1u); }

TEST(ThreadPool, RefusesACountThatItCannotKeepTrackOf) {
  for (const std::size_t count : {std::size_t{0}, ThreadPool::kThreadCountMax + 1}) {
    const Status status = ThreadPool::create(count).status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << count;
  }
  const auto pool = ThreadPool::create(3);
  ASSERT_TRUE(pool.ok());
  EXPECT_EQ((*pool)->thread_count(), 3u);
}

#if defined(__linux__) && !defined(FLASHMOE_SANITIZED)
TEST(ThreadPool, AThreadThatCannotBeStartedIsAnErrorAndTheOthersEnd) {
#ifdef FLASHMOE_EMULATED
  GTEST_SKIP() << "qemu-user does not hold its guest to RLIMIT_AS";
#endif
  std::size_t mapped_pages = 0;
  std::ifstream("/proc/self/statm") >> mapped_pages;
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_AS, &before), 0);
  // Address space for a few stacks only.
  rlimit tight = before;
  tight.rlim_cur = mapped_pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + (64u << 20);
  ASSERT_EQ(setrlimit(RLIMIT_AS, &tight), 0);
  const Status status = ThreadPool::create(ThreadPool::kThreadCountMax).status();
  ASSERT_EQ(setrlimit(RLIMIT_AS, &before), 0);
  EXPECT_EQ(status.code(), StatusCode::kIo);
  EXPECT_NE(status.message().find("of 1023"), std::string::npos) << status.message();
}
#endif

}  // namespace
}  // namespace flashmoe
