#ifndef FLASHMOE_SERVER_WORKER_H_
#define FLASHMOE_SERVER_WORKER_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace flashmoe::server {

/// A thread that does one task after the other: what takes too long for the thread that serves all
/// connections. Any thread may add tasks.
class Worker {
 public:
  /// `after_task` is called when a task is over and gone.
  explicit Worker(std::function<void()> after_task = {})
      : after_task_(std::move(after_task)), thread_([this] { run(); }) {}
  /// Leaves undone what has not been begun.
  ~Worker() {
    {
      const std::lock_guard lock(mutex_);
      is_ending_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void add(std::function<void()> task) {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    changed_.notify_one();
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return is_ending_ || !tasks_.empty(); });
      if (is_ending_) return;
      std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      task = nullptr;
      if (after_task_) after_task_();
      lock.lock();
    }
  }

  const std::function<void()> after_task_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool is_ending_ = false;
  std::thread thread_;
};

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_WORKER_H_
