#include "experts/slot_memory.h"

#include <utility>

namespace flashmoe {
namespace {

// Bytes of slots not used yet whose pages are made ready: what a fast disk fills in some 0.2 s.
constexpr std::size_t kWarmAhead = std::size_t{512} << 20;

}  // namespace

Result<AlignedBuffer> SlotMemory::allocate(std::size_t slot_count, std::uint64_t slot_size) {
  return AlignedBuffer::allocate(slot_count * slot_size);
}

SlotMemory::SlotMemory(AlignedBuffer buffer, std::uint64_t slot_size)
    : buffer_(std::move(buffer)), slot_size_(slot_size), warmer_(buffer_.bytes()) {
  warmer_.want(kWarmAhead);
}

void SlotMemory::prepare(std::uint32_t slot_id) { warmer_.want(slot_id * slot_size_ + kWarmAhead); }

// Where it lies rather than at the end of the buffer: that would keep every huge page whole, but
// move the experts there. Where a slot is not made of whole huge pages, the kernel frees its share
// of one when reclaim next looks for memory, as it does under the very pressure that makes slots
// go.
void SlotMemory::discard(std::uint32_t slot_id) {
  buffer_.discard(slot_id * slot_size_, slot_size_);
}

}  // namespace flashmoe
