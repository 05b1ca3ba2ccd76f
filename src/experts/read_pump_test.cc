#include "experts/read_pump.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

namespace flashmoe {
namespace {

/// What a pump polls, and a test waits for.
class Waiting {
 public:
  /// Says that more is waiting `more` times.
  bool poll() {
    const std::lock_guard lock(mutex_);
    thread_ = std::this_thread::get_id();
    ++polls_;
    changed_.notify_all();
    return polls_ <= more_;
  }
  void expect_polls(int polls) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return polls_ >= polls; });
    EXPECT_EQ(polls_, polls);
    EXPECT_NE(thread_, std::this_thread::get_id());
  }
  void set_more(int polls) {
    const std::lock_guard lock(mutex_);
    more_ = polls;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread::id thread_;
  int polls_ = 0;
  int more_ = 0;
};

TEST(ReadPump, PollsUntilNothingIsWaitingAndAgainWhenWoken) {
  Waiting waiting;
  waiting.set_more(3);
  ReadPump pump([&] { return waiting.poll(); });
  pump.wake();
  waiting.expect_polls(4);
  pump.wake();
  waiting.expect_polls(5);
}

TEST(ReadPump, DoesNothingUnasked) {
  ReadPump pump([]() -> bool {
    ADD_FAILURE();
    return false;
  });
}

TEST(ReadPump, EndsWhileMoreIsWaiting) {
  Waiting waiting;
  waiting.set_more(1 << 30);
  ReadPump pump([&] { return waiting.poll(); });
  pump.wake();
}

}  // namespace
}  // namespace flashmoe
