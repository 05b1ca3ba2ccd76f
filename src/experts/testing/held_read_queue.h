#ifndef FLASHMOE_EXPERTS_TESTING_HELD_READ_QUEUE_H_
#define FLASHMOE_EXPERTS_TESTING_HELD_READ_QUEUE_H_

#include <condition_variable>
#include <cstddef>
#include <limits>
#include <memory>
#include <mutex>
#include <span>

#include "io/read_queue.h"

namespace flashmoe {

/// A ReadQueue whose reads end when the test says so: a disk as slow as one likes. The three
/// functions of its own may be called from any thread.
class HeldReadQueue final : public ReadQueue {
 public:
  static constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();

  explicit HeldReadQueue(std::unique_ptr<ReadQueue> inner) : inner_(std::move(inner)) {}

  /// Lets `count` more reads end, or all that ever come.
  void let_end(std::size_t count) {
    const std::lock_guard lock(mutex_);
    permit_count_ = count > kAll - permit_count_ ? kAll : permit_count_ + count;
    changed_.notify_all();
  }

  /// Blocks until a thread waits in poll() for a read that may not end yet.
  void wait_for_waiter() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waiting_; });
  }

  /// Calls of submit() so far.
  std::size_t batch_count() const {
    const std::lock_guard lock(mutex_);
    return batch_count_;
  }

  Status submit(std::span<const ReadRequest> requests) override {
    {
      const std::lock_guard lock(mutex_);
      ++batch_count_;
    }
    return inner_->submit(requests);
  }

  std::size_t poll(std::span<ReadCompletion> completions, bool wait) override {
    if (inner_->in_flight_count() == 0 || completions.empty()) return 0;
    std::unique_lock lock(mutex_);
    if (wait) {
      waiting_ = true;
      changed_.notify_all();
      changed_.wait(lock, [this] { return permit_count_ > 0; });
      waiting_ = false;
    }
    if (permit_count_ == 0) return 0;
    if (permit_count_ != kAll) --permit_count_;
    lock.unlock();
    return inner_->poll(completions.first(1), /*wait=*/true);
  }

  std::size_t in_flight_count() const override { return inner_->in_flight_count(); }
  bool needs_poll() const override { return inner_->needs_poll(); }
  ReadStatistics statistics() const override { return inner_->statistics(); }
  IoBackend backend() const override { return inner_->backend(); }

 private:
  std::unique_ptr<ReadQueue> inner_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t permit_count_ = 0;
  std::size_t batch_count_ = 0;
  bool waiting_ = false;
};

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_TESTING_HELD_READ_QUEUE_H_
