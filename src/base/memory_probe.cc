#include "base/memory_probe.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <memory>

#include "base/aligned_buffer.h"
#include "base/stopwatch.h"
#include "base/thread_pool.h"

namespace flashmoe {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::uint64_t kSliceSize = std::uint64_t{4} << 20;  // what a thread takes at a time

/// Touches every byte; the sum is there so that no compiler leaves a load out. One line is eight
/// independent sums, which vectorise. 8 KiB ahead is what the kernels prefetch.
std::uint64_t sum_of(const std::byte* bytes, std::uint64_t size) {
  std::array<std::uint64_t, kLine / 8> sums = {};
  for (std::uint64_t at = 0; at < size; at += kLine) {
    __builtin_prefetch(bytes + at + 8192);
    std::array<std::uint64_t, kLine / 8> words;
    std::memcpy(words.data(), bytes + at, kLine);
    for (std::size_t i = 0; i < words.size(); ++i) sums[i] += words[i];
  }
  std::uint64_t sum = 0;
  for (const std::uint64_t part : sums) sum += part;
  return sum;
}

}  // namespace

Result<MemorySpeed> measure_memory_speed(const MemorySpeedOptions& options) {
  const std::uint64_t slice_count = std::max<std::uint64_t>(options.size_bytes / kSliceSize, 1);
  FM_ASSIGN_OR_RETURN(AlignedBuffer memory, AlignedBuffer::allocate(slice_count * kSliceSize));
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<ThreadPool> threads,
                      ThreadPool::create(options.threads));
  // Pages that were never written are all the same one.
  threads->parallel_for(slice_count, [&](std::size_t i) {
    std::memset(memory.data() + i * kSliceSize, 1, kSliceSize);
  });
  std::atomic<std::uint64_t> total = 0;
  double seconds_best = 0;
  double seconds_spent = 0;
  do {
    Stopwatch watch;
    threads->parallel_for(slice_count, [&](std::size_t i) {
      total += sum_of(memory.data() + i * kSliceSize, kSliceSize);
    });
    const double seconds = std::max(watch.lap(), 1e-9);
    seconds_best = seconds_spent == 0 ? seconds : std::min(seconds_best, seconds);
    seconds_spent += seconds;
  } while (seconds_spent < options.seconds_max);
  return MemorySpeed{.bytes_per_second = static_cast<double>(memory.size()) / seconds_best,
                     .size_bytes = memory.size(),
                     .huge_page_bytes = memory.huge_page_bytes()};
}

}  // namespace flashmoe
