#ifndef FLASHMOE_EXPERTS_SLOT_MEMORY_H_
#define FLASHMOE_EXPERTS_SLOT_MEMORY_H_

#include <cstddef>
#include <cstdint>

#include "base/aligned_buffer.h"
#include "base/page_warmer.h"
#include "experts/slot_plan.h"

namespace flashmoe {

/// The memory of a plan's slots, one behind the other in one buffer on huge pages. Knows no
/// experts: SlotTable says who is where. Calls that change it come from one thread at a time.
class SlotMemory {
 public:
  /// `buffer` has plan.byte_size() bytes. `plan` must outlive the memory.
  SlotMemory(AlignedBuffer buffer, const SlotPlan& plan);

  /// Where the slot begins.
  std::byte* data(std::uint32_t slot_id) { return buffer_.data() + plan_.offset(slot_id); }

  /// The slot is in use from now on, and before long those behind it will be: slots that were never
  /// used are taken from the front, so that memory that is not needed is never touched.
  void prepare(std::uint32_t slot_id);
  /// Nothing more is made ready until prepare() is called again.
  void rest() { warmer_.rest(); }

  /// Returns the slot's memory to the system, until it is written to again.
  void discard(std::uint32_t slot_id);

  /// AlignedBuffer::huge_page_bytes().
  std::uint64_t huge_page_bytes() const { return buffer_.huge_page_bytes(); }

 private:
  AlignedBuffer buffer_;
  const SlotPlan& plan_;
  PageWarmer warmer_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_SLOT_MEMORY_H_
