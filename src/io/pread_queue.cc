#include "io/pread_queue.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/check.h"
#include "io/read_operation.h"

namespace flashmoe {
namespace {

class PreadQueue final : public ReadQueue {
 public:
  ~PreadQueue() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      waiting_.clear();
    }
    work_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  Status start(std::size_t thread_count) {
    try {
      for (std::size_t i = 0; i < thread_count; ++i) threads_.emplace_back([this] { serve(); });
    } catch (const std::system_error& failure) {
      return error(StatusCode::kIo, "cannot start reader thread {} of {}: {}", threads_.size() + 1,
                   thread_count, failure.what());
    }
    return Status();
  }

  Status submit(std::span<const ReadRequest> requests) override {
    {
      const std::lock_guard lock(mutex_);
      for (const ReadRequest& request : requests) {
        ReadOperation operation(request);
        (operation.done() ? finished_ : waiting_).push_back(std::move(operation));
      }
    }
    in_flight_count_ += requests.size();
    // No more threads than there is work for: the others would only take time from the kernels'.
    for (std::size_t i = 0; i < std::min(requests.size(), threads_.size()); ++i) {
      work_.notify_one();
    }
    return Status();
  }

  std::size_t poll(std::span<ReadCompletion> completions, bool wait) override {
    if (in_flight_count_ == 0 || completions.empty()) return 0;
    std::unique_lock lock(mutex_);
    if (wait) done_.wait(lock, [this] { return !finished_.empty(); });
    const std::size_t count = take_finished(finished_, completions, statistics_);
    in_flight_count_ -= count;
    return count;
  }

  std::size_t in_flight_count() const override { return in_flight_count_; }
  bool needs_poll() const override { return false; }
  ReadStatistics statistics() const override { return statistics_; }
  IoBackend backend() const override { return IoBackend::kPread; }

 private:
  // What each thread does: one request after the other, from its first byte to its last.
  void serve() {
    AlignedBuffer buffer;  // for unpadded direct reads; mapped when the first comes
    std::unique_lock lock(mutex_);
    for (;;) {
      work_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      ReadOperation operation = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      run(operation, buffer);
      lock.lock();
      finished_.push_back(std::move(operation));
      done_.notify_one();
    }
  }

  static void run(ReadOperation& operation, AlignedBuffer& buffer) {
    if (operation.needs_buffer()) {
      if (buffer.size() == 0) {
        auto allocated = AlignedBuffer::allocate(kBounceBufferSize);
        if (!allocated.ok()) {
          operation.fail(allocated.status());
          return;
        }
        buffer = std::move(*allocated);
      }
      operation.set_buffer(buffer.bytes());
    }
    operation.run();
  }

  std::mutex mutex_;
  std::condition_variable work_;       // a request waits, or the queue is stopping
  std::condition_variable done_;       // a request is finished
  std::deque<ReadOperation> waiting_;  // guarded by mutex_, like the next two
  std::deque<ReadOperation> finished_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
  std::size_t in_flight_count_ = 0;  // the caller's side only, like statistics_
  ReadStatistics statistics_;
};

}  // namespace

Result<std::unique_ptr<ReadQueue>> make_pread_queue(const ReadQueueOptions& options) {
  auto queue = std::make_unique<PreadQueue>();
  // One thread nearly saturates a disk with reads of an expert's size; a few cover the small ones.
  FM_RETURN_IF_ERROR(queue->start(std::min(options.depth, kBounceBufferCount)));
  return std::unique_ptr<ReadQueue>(std::move(queue));
}

}  // namespace flashmoe
