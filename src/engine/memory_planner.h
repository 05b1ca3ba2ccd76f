#ifndef FLASHMOE_ENGINE_MEMORY_PLANNER_H_
#define FLASHMOE_ENGINE_MEMORY_PLANNER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "base/memory_info.h"
#include "base/result.h"
#include "experts/slot_plan.h"
#include "flashmoe/memory_plan.h"
#include "model/network.h"

namespace flashmoe {

/// What a model needs, whatever the budget: read from headers.
struct ModelFootprint {
  std::uint64_t process_bytes = 0;
  std::uint64_t dense_bytes = 0;
  std::uint64_t io_bytes = 0;  // the read queue's own buffers
  SlotClasses expert_slots;    // those that routed experts need
};

struct PlanRequest {
  std::uint64_t budget_bytes = 0;
  std::size_t context = 0;        // 0: the model's limit, at most kDefaultContext
  std::size_t prefill_chunk = 0;  // 0: as large as a small share of the budget allows
  std::size_t sessions = 1;
  /// For checkpoints of prompts; kPrefixCacheAuto: a share of what is spare.
  std::uint64_t prefix_cache_bytes = 0;
  /// For a server's requests; kRequestMemoryAuto: chosen. 0: none.
  std::uint64_t request_bytes = 0;
  std::size_t snapshots = 0;  // of a session's recurrent state, beside it
  std::size_t capacity = 0;   // experts of a layer in memory, as a mean; 0: what the budget holds
};

/// Prompt rows per step where the budget leaves no choice, and where it leaves all of it.
inline constexpr std::size_t kPrefillChunkMin = 16;
inline constexpr std::size_t kPrefillChunkMax = 4096;

/// What a server's requests need, whatever the budget: the JSON, text and tokens of a prompt that
/// fills the context.
std::uint64_t request_bytes_min(std::size_t context);

/// Shares a budget out: first what the model cannot do without, then a prefill chunk, then slots
/// for experts. Errors: kOutOfBudget, naming the smallest budget that works and what it consists
/// of, or what a capacity needs; kInvalidArgument for a context beyond the model's, or a capacity
/// that no token can be computed with.
Result<MemoryPlan> plan_memory(const Network& network, const ModelFootprint& footprint,
                               const PlanRequest& request);

/// A warning, with the largest budget that fits, where `plan`, whose budget somebody gave, takes
/// more than a control group of `machine` allows, or than is free now. It is no error: whether all
/// of it is ever used depends on the prompts.
std::optional<std::string> warn_of_machine(const MemoryPlan& plan, const MemoryInfo& machine);

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_MEMORY_PLANNER_H_
