#include "base/thread_pool.h"

#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <chrono>
#include <optional>
#include <system_error>

#include "base/check.h"
#include "base/cpu_quota.h"

namespace flashmoe {
namespace {

// control_ = generation * kGenerationStep + (closed ? kClosed : 0) + joined.
constexpr std::uint32_t kClosed = 1u << 10;
constexpr std::uint32_t kJoinedMask = kClosed - 1;
constexpr std::uint32_t kGenerationStep = kClosed << 1;
static_assert(ThreadPool::kThreadCountMax <= kJoinedMask);

// Long enough to bridge the serial stretches between the loops of one token, short enough to leave
// the core to others soon.
constexpr std::int64_t kSpinNs = 50'000;
// With more threads than cores a spinning thread holds up the very thread that it waits for.
constexpr std::int64_t kOversubscribedSpinNs = 5'000;

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");  // about as long as x86's pause; yield is a no-op on most cores
#endif
}

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// Spins until `value` satisfies `done` or the time is up; says whether it did.
template <typename Done>
bool spin_until(std::int64_t spin_ns, bool yield, Done done) {
  std::int64_t deadline = 0;
  for (;;) {
    for (int i = 0; i < 16; ++i) {
      if (done()) return true;
      pause_briefly();
    }
    const std::int64_t now = now_ns();
    if (deadline == 0) deadline = now + spin_ns;
    if (now >= deadline) return done();
    if (yield) std::this_thread::yield();
  }
}

/// Cores of the affinity mask.
std::size_t allowed_core_count() {
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0) {
    return static_cast<std::size_t>(CPU_COUNT(&set));
  }
#endif
  return std::thread::hardware_concurrency();
}

}  // namespace

std::size_t ThreadPool::available_core_count(const std::filesystem::path& root) {
  std::size_t count = allowed_core_count();
  if (const std::optional<CpuQuota> quota = read_cpu_quota(root)) {
    count = std::min(count, quota->thread_count());
  }
  return std::clamp<std::size_t>(count, 1, kThreadCountMax);
}

Result<std::unique_ptr<ThreadPool>> ThreadPool::create(std::size_t thread_count) {
  std::unique_ptr<ThreadPool> pool(new ThreadPool());
  FM_RETURN_IF_ERROR(pool->start(thread_count));
  return pool;
}

ThreadPool::ThreadPool() : control_(kClosed) {}

ThreadPool::ThreadPool(std::size_t thread_count) : ThreadPool() {
  FM_CHECK(start(thread_count).ok());
}

Status ThreadPool::start(std::size_t thread_count) {
  if (thread_count < 1 || thread_count > kThreadCountMax) {
    return error(StatusCode::kInvalidArgument, "{} threads: must be 1 to {}", thread_count,
                 kThreadCountMax);
  }
  const bool oversubscribed = thread_count > available_core_count();
  spin_ns_ = oversubscribed ? kOversubscribedSpinNs : kSpinNs;
  yield_while_spinning_ = oversubscribed;
  workers_.reserve(thread_count - 1);
  try {
    for (std::size_t i = 1; i < thread_count; ++i) workers_.emplace_back([this] { worker_main(); });
  } catch (const std::system_error& failure) {
    return error(StatusCode::kIo, "cannot start thread {} of {}: {}; use fewer --threads",
                 this->thread_count() + 1, thread_count, failure.what());
  }
  return Status();
}

ThreadPool::~ThreadPool() {
  stopping_.store(true, std::memory_order_relaxed);
  // A new generation that is closed already: everybody looks, nobody joins.
  const std::uint32_t last = control_.load(std::memory_order_relaxed);
  control_.store(((last & ~kJoinedMask) | kClosed) + kGenerationStep, std::memory_order_seq_cst);
  control_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::work_off_indices() {
  for (;;) {
    const std::size_t i = next_.fetch_add(1, std::memory_order_relaxed);
    if (i >= count_) return;
    call_(body_, i);
  }
}

// The caller never waits for a worker that has not joined: closing the loop and counting those who
// joined is one atomic step, so a worker that wakes late finds the loop closed and goes back to
// wait.
void ThreadPool::run(std::size_t count, Call call, void* body) {
  call_ = call;
  body_ = body;
  count_ = count;
  next_.store(0, std::memory_order_relaxed);
  left_.store(0, std::memory_order_relaxed);
  const std::uint32_t last = control_.load(std::memory_order_relaxed);
  // seq_cst: notify_all() must not look for parked threads before this store is seen by those about
  // to park.
  control_.store((last & ~(kJoinedMask | kClosed)) + kGenerationStep, std::memory_order_seq_cst);
  control_.notify_all();  // a system call only when somebody is parked

  work_off_indices();

  const std::uint32_t joined = control_.fetch_or(kClosed, std::memory_order_acq_rel) & kJoinedMask;
  const auto all_left = [&] { return left_.load(std::memory_order_acquire) == joined; };
  while (!spin_until(spin_ns_, yield_while_spinning_, all_left)) {
    const std::uint32_t left = left_.load(std::memory_order_acquire);
    if (left == joined) break;
    left_.wait(left, std::memory_order_acquire);
  }
}

void ThreadPool::worker_main() {
  std::uint32_t seen = control_.load(std::memory_order_acquire);
  // A thread may begin only after the destructor has announced the end: nothing newer will come.
  if (stopping_.load(std::memory_order_relaxed)) return;
  const auto generation = [](std::uint32_t control) { return control / kGenerationStep; };
  // A loop that opened before this thread first looked may be joined too.
  std::uint32_t handled = generation(seen) - ((seen & kClosed) == 0 ? 1 : 0);
  for (;;) {
    const auto is_new = [&] {
      seen = control_.load(std::memory_order_acquire);
      return generation(seen) != handled;
    };
    while (!spin_until(spin_ns_, yield_while_spinning_, is_new)) {
      control_.wait(seen, std::memory_order_acquire);
    }
    handled = generation(seen);
    if (stopping_.load(std::memory_order_relaxed)) return;
    while ((seen & kClosed) == 0 && generation(seen) == handled) {
      if (!control_.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel,
                                          std::memory_order_acquire)) {
        continue;
      }
      work_off_indices();
      left_.fetch_add(1, std::memory_order_seq_cst);  // before notify_one() looks for a waiter
      left_.notify_one();
      break;
    }
  }
}

}  // namespace flashmoe
