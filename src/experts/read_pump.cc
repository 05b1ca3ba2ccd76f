#include "experts/read_pump.h"

#include <chrono>
#include <system_error>

namespace flashmoe {
namespace {

// A queue's depth of reads of half a megabyte lasts a fast disk ten times as long.
constexpr std::chrono::milliseconds kInterval(2);

}  // namespace

ReadPump::~ReadPump() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void ReadPump::wake() {
  const std::lock_guard lock(mutex_);
  if (awake_) return;
  awake_ = true;
  if (thread_.joinable()) {
    changed_.notify_one();
    return;
  }
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error&) {
    // awake_ stays: never mind, and never again.
  }
}

void ReadPump::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return awake_ || stopping_; });
    changed_.wait_for(lock, kInterval, [this] { return stopping_; });
    if (stopping_) return;
    awake_ = false;
    lock.unlock();
    const bool more = poll_();
    lock.lock();
    awake_ = awake_ || more;
  }
}

}  // namespace flashmoe
