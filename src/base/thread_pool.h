#ifndef FLASHMOE_BASE_THREAD_POOL_H_
#define FLASHMOE_BASE_THREAD_POOL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

#include "base/result.h"

namespace flashmoe {

/// A fixed set of threads for short parallel loops, of which the calling thread is one. Between
/// loops the others spin for some tens of microseconds, then park, so that a busy neighbour or more
/// threads than cores cost time in proportion and never a cliff.
///
/// Threads: one caller at a time, and no parallel_for inside a parallel_for.
class ThreadPool {
 public:
  static constexpr std::size_t kThreadCountMax = 1023;

  /// `thread_count` counts the caller: 1 starts no thread at all. Errors: kInvalidArgument if it is
  /// not 1 to kThreadCountMax; kIo if the system refuses a thread.
  static Result<std::unique_ptr<ThreadPool>> create(std::size_t thread_count);

  /// For a few threads: ends the process where create() would give an error.
  explicit ThreadPool(std::size_t thread_count);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  std::size_t thread_count() const { return workers_.size() + 1; }

  /// Calls fn(i) for every i in [0, count), in no order, on any of the threads, and returns when
  /// all calls have. Indices are handed out one by one: make each worth some microseconds. fn must
  /// not throw.
  template <typename Fn>
  void parallel_for(std::size_t count, Fn&& fn) {
    if (count <= 1 || workers_.empty()) {
      for (std::size_t i = 0; i < count; ++i) fn(i);
      return;
    }
    using Body = std::remove_reference_t<Fn>;
    run(
        count, [](void* body, std::size_t i) { (*static_cast<Body*>(body))(i); },
        const_cast<void*>(static_cast<const void*>(&fn)));
  }

  /// Cores this process may keep busy, from 1 to kThreadCountMax: those of its affinity mask, or
  /// what the CPU quota of its control groups, read below `root`, is worth if that is less.
  static std::size_t available_core_count(const std::filesystem::path& root = "/");

 private:
  using Call = void (*)(void* body, std::size_t i);

  ThreadPool();
  Status start(std::size_t thread_count);
  void run(std::size_t count, Call call, void* body);
  void work_off_indices();
  void worker_main();

  // The loop in progress: written by the caller while no worker is in it.
  Call call_ = nullptr;
  void* body_ = nullptr;
  std::size_t count_ = 0;
  std::int64_t spin_ns_ = 0;
  bool yield_while_spinning_ = false;

  // Each on its own cache line: all three are written while others are read.
  // control_: generation, a closed bit, and how many workers have joined the open loop.
  alignas(64) std::atomic<std::uint32_t> control_;
  alignas(64) std::atomic<std::size_t> next_{0};
  alignas(64) std::atomic<std::uint32_t> left_{0};  // workers that joined and are done
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> workers_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_BASE_THREAD_POOL_H_
