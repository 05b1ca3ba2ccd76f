#ifndef FLASHMOE_MEMORY_PLAN_H_
#define FLASHMOE_MEMORY_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "flashmoe/kv_precision.h"

namespace flashmoe {

/// Slots for the routed experts of layers that are of one size.
struct ExpertSlotClass {
  std::uint64_t slot_bytes = 0;  // memory of one
  std::size_t slots = 0;
  std::size_t layers = 0;
  std::size_t experts = 0;  // of those layers
};

/// Where a memory budget goes. All sizes in bytes; they add up to at most budget_bytes.
struct MemoryPlan {
  std::uint64_t budget_bytes = 0;
  std::uint64_t process_bytes = 0;    // code, libraries, tokenizer, page tables
  std::uint64_t dense_bytes = 0;      // weights that every token uses
  std::uint64_t kv_bytes = 0;         // KV cache for `context` positions, each session
  std::uint64_t recurrent_bytes = 0;  // recurrent state, each session
  std::uint64_t prefix_bytes = 0;     // checkpoints of prompts (docs/serving.md)
  std::uint64_t request_bytes = 0;    // requests of a server, up to their tokens (docs/serving.md)
  std::uint64_t buffer_bytes = 0;  // activations for `prefill_chunk` rows, logits, reads in flight
  std::uint64_t expert_bytes = 0;  // slots for routed experts

  std::size_t context = 0;
  KvPrecision kv_precision = KvPrecision::kF32;
  std::size_t prefill_chunk = 0;
  std::size_t expert_slots = 0;         // routed experts that memory holds
  std::size_t expert_count = 0;         // routed experts of the model
  std::uint64_t expert_slot_bytes = 0;  // memory of the largest slot
  /// The slots by size, largest first: one class where all experts are of one size, or where the
  /// budget is so small that every slot has to hold any of them.
  std::vector<ExpertSlotClass> expert_classes;
  /// The smallest budget that works with this context: one layer's top-k experts in memory.
  std::uint64_t budget_bytes_min = 0;
  /// The budget from which on every expert stays in memory.
  std::uint64_t budget_bytes_resident = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_MEMORY_PLAN_H_
