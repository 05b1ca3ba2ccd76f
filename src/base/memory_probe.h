#ifndef FLASHMOE_BASE_MEMORY_PROBE_H_
#define FLASHMOE_BASE_MEMORY_PROBE_H_

#include <cstddef>
#include <cstdint>

#include "base/result.h"

namespace flashmoe {

struct MemorySpeedOptions {
  std::size_t threads = 1;
  double seconds_max = 1;
  std::uint64_t size_bytes = std::uint64_t{1} << 30;  // should be several times the caches
};

struct MemorySpeed {
  double bytes_per_second = 0;        // of the best pass: a ceiling
  std::uint64_t size_bytes = 0;       // of the memory read in each pass
  std::uint64_t huge_page_bytes = 0;  // of it, backed by huge pages
};

/// How fast so many threads together read memory, on the pages that weights get (AlignedBuffer), in
/// passes for at most `seconds_max`, at least one. Errors: those of AlignedBuffer::allocate
/// and ThreadPool::create.
Result<MemorySpeed> measure_memory_speed(const MemorySpeedOptions& options);

}  // namespace flashmoe

#endif  // FLASHMOE_BASE_MEMORY_PROBE_H_
