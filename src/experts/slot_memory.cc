#include "experts/slot_memory.h"

#include <utility>

namespace flashmoe {
namespace {

// Bytes of slots not used yet whose pages are made ready: what a fast disk fills in some 0.2 s.
constexpr std::size_t kWarmAhead = std::size_t{512} << 20;

}  // namespace

SlotMemory::SlotMemory(AlignedBuffer buffer, const SlotPlan& plan)
    : buffer_(std::move(buffer)), plan_(plan), warmer_(buffer_.bytes()) {
  warmer_.want(kWarmAhead);
}

void SlotMemory::prepare(std::uint32_t slot_id) {
  warmer_.want(plan_.offset(slot_id) + kWarmAhead);
}

// Where it lies rather than at the end of the buffer: that would keep every huge page whole, but
// move the experts there. Where a slot is not made of whole huge pages, the kernel frees its share
// of one when reclaim next looks for memory, as it does under the very pressure that makes slots
// go.
void SlotMemory::discard(std::uint32_t slot_id) {
  buffer_.discard(plan_.offset(slot_id), plan_.slot_size(slot_id));
}

}  // namespace flashmoe
