#include "base/page_warmer.h"

#include <sys/mman.h>

#include <algorithm>
#include <system_error>

namespace flashmoe {
namespace {

// Bytes populated by one call: a huge page. Whoever maps or unmaps memory meanwhile waits for its
// end: 35 ms for 16 MiB, so that a sequence took a second to leave.
constexpr std::size_t kStep = std::size_t{2} << 20;
// Less is not worth a thread.
constexpr std::size_t kBufferMin = std::size_t{64} << 20;

bool populate(std::byte* begin, std::size_t size) {
#if defined(__linux__)
  constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE, which Debian 12's headers lack
  return madvise(begin, size, kPopulateWrite) == 0;
#else
  static_cast<void>(begin);
  static_cast<void>(size);
  return false;
#endif
}

}  // namespace

PageWarmer::~PageWarmer() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void PageWarmer::want(std::size_t size) {
  if (memory_.size() < kBufferMin) return;
  const std::size_t steps = std::min(size, memory_.size()) / kStep * kStep;
  if (steps <= asked_) return;
  asked_ = steps;
  {
    const std::lock_guard lock(mutex_);
    wanted_ = steps;
  }
  if (thread_.joinable()) {
    changed_.notify_one();
    return;
  }
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error&) {
    asked_ = memory_.size();  // never mind, and never again
  }
}

void PageWarmer::rest() {
  if (!thread_.joinable()) return;
  asked_ = 0;
  const std::lock_guard lock(mutex_);
  wanted_ = 0;
}

void PageWarmer::run() {
  std::size_t done = 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stopping_ || done < wanted_; });
    if (stopping_) return;
    lock.unlock();
    const bool populated = populate(memory_.data() + done, kStep);
    lock.lock();
    done += kStep;
    if (!populated) return;
  }
}

}  // namespace flashmoe
