#include "engine/memory_planner.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "base/budget_text.h"
#include "base/result.h"
#include "base/units.h"
#include "flashmoe/engine.h"
#include "model/workspace.h"

namespace flashmoe {
namespace {

/// A larger chunk makes prompts faster and leaves less for experts, which make everything faster:
/// an eighth is where chunks stop growing.
constexpr std::uint64_t kChunkShare = 8;

/// Checkpoints of prompts, where their budget is not given: a share of what is spare, and no more
/// than holds this many of sequences that fill the context.
constexpr std::uint64_t kPrefixShare = 8;
constexpr std::uint64_t kPrefixSequences = 16;

/// Requests of a server: what they need without and for each token of the context, and where more
/// is of no use. Of what is spare they get a share, and what is left when all experts have slots.
constexpr std::uint64_t kRequestBytes = std::uint64_t{12} << 20;
constexpr std::uint64_t kRequestBytesPerToken = 128;
constexpr std::uint64_t kRequestBytesMax = std::uint64_t{384} << 20;
constexpr std::uint64_t kRequestShare = 16;

/// What depends on how many rows a step has at most: buffers, and what windows of the KV cache hold
/// while it is computed.
struct StepBytes {
  std::uint64_t buffers = 0;
  std::uint64_t kv = 0;

  std::uint64_t sum() const { return buffers + kv; }
};

/// What a plan is made for.
struct Planned {
  const Network& network;
  const ModelFootprint& footprint;
  const PlanRequest& request;
  std::size_t context = 0;

  StepBytes step_bytes(std::size_t rows) const {
    return {.buffers = footprint.io_bytes + Workspace::size_for(network, rows),
            .kv = request.sessions * network.state_layout().kv_bytes(context, rows)};
  }
  /// What steps of `chunk` rows take beyond those of the smallest chunk.
  std::uint64_t extra_bytes(std::size_t chunk, std::size_t chunk_min) const {
    return step_bytes(chunk).sum() - step_bytes(chunk_min).sum();
  }
};

/// A page table entry takes 8 bytes for 4096, also under huge pages, which the kernel must be able
/// to split. Control groups count tables as ours.
constexpr std::uint64_t kBytesPerPageTableByte = 512;

std::uint64_t page_table_bytes(std::uint64_t bytes) {
  return bytes / kBytesPerPageTableByte + (bytes % kBytesPerPageTableByte != 0 ? 1 : 0);
}

/// The most bytes that fit in `bytes` beside their page tables.
std::uint64_t without_page_tables(std::uint64_t bytes) {
  constexpr std::uint64_t kWithTables = kBytesPerPageTableByte + 1;
  return bytes - bytes / kWithTables - (bytes % kWithTables != 0 ? 1 : 0);
}

/// What the plan maps beside the experts' slots.
std::uint64_t fixed_bytes(const MemoryPlan& plan) {
  return plan.dense_bytes + plan.kv_bytes + plan.recurrent_bytes + plan.prefix_bytes +
         plan.request_bytes + plan.buffer_bytes;
}

/// The budget that has room for `mapped_bytes`.
std::uint64_t budget_for(const ModelFootprint& footprint, std::uint64_t mapped_bytes) {
  return footprint.process_bytes + mapped_bytes + page_table_bytes(mapped_bytes);
}

void set_chunk(const Planned& planned, std::size_t chunk, MemoryPlan& plan) {
  const StepBytes bytes = planned.step_bytes(chunk);
  plan.prefill_chunk = chunk;
  plan.buffer_bytes = bytes.buffers;
  plan.kv_bytes = bytes.kv;
}

/// The largest chunk whose share of what is spare is small; at least the plan's.
std::size_t choose_chunk(const Planned& planned, std::uint64_t spare_bytes,
                         const MemoryPlan& plan) {
  std::size_t chunk = std::max(std::min(kPrefillChunkMax, plan.context), plan.prefill_chunk);
  while (chunk > plan.prefill_chunk &&
         planned.extra_bytes(chunk, plan.prefill_chunk) > spare_bytes / kChunkShare) {
    chunk = std::max(chunk / 2, plan.prefill_chunk);
  }
  return chunk;
}

/// What is mapped beyond the smallest plan when all experts fit beside the chunk that
/// choose_chunk() picks there: of what is spare, a share goes to the chunk, up to the largest.
std::uint64_t resident_spare_bytes(const Planned& planned, const MemoryPlan& plan,
                                   std::size_t slots_min) {
  const ModelFootprint& footprint = planned.footprint;
  const std::uint64_t resident = footprint.expert_slots.resident_size();
  const std::uint64_t experts = resident - std::min(resident, slots_min * plan.expert_slot_bytes);
  if (planned.request.prefill_chunk != 0) return experts;
  const std::size_t chunk_max =
      std::max(std::min(kPrefillChunkMax, plan.context), plan.prefill_chunk);
  const std::uint64_t chunk_share = experts / (kChunkShare - 1) + 1;
  return experts + std::min(chunk_share, planned.extra_bytes(chunk_max, plan.prefill_chunk));
}

/// Sets the plan's slots to those of `slots`.
void set_slots(const SlotPlan& slots, MemoryPlan& plan) {
  plan.expert_slots = slots.slot_count();
  plan.expert_bytes = slots.byte_size();
  plan.expert_classes.clear();
  const std::vector<std::size_t> counts = slots.slots(slots.slot_count()).counts;
  for (std::size_t c = 0; c < counts.size(); ++c) {
    const SlotClass& of_size = slots.classes()[c];
    plan.expert_classes.push_back({.slot_bytes = of_size.slot_size,
                                   .slots = counts[c],
                                   .layers = of_size.layer_count,
                                   .experts = of_size.expert_count});
  }
}

/// How many slots the capacity of the plan's layers asks for, `held` being what the budget holds.
Result<std::size_t> slots_of_capacity(const Planned& planned, const SlotPlan& held,
                                      const MemoryPlan& plan) {
  const RouterSpec& router = planned.network.spec().moe().router;
  const PlanRequest& request = planned.request;
  const std::size_t layers = plan.expert_count / router.num_experts;
  if (request.capacity >= router.num_experts) {
    return error(
        StatusCode::kInvalidArgument,
        "--capacity {}: a layer has {} experts; for all of them choose --residency resident",
        request.capacity, router.num_experts);
  }
  const std::size_t slots = request.capacity * layers;
  if (slots < router.num_experts_per_tok) {
    return error(StatusCode::kInvalidArgument,
                 "--capacity {}: {} layers have {} experts in memory then, and a token takes {} at "
                 "once",
                 request.capacity, layers, slots, router.num_experts_per_tok);
  }
  if (slots > held.slot_count()) {
    const SlotPlan wanted(planned.footprint.expert_slots,
                          {.budget_bytes = std::numeric_limits<std::uint64_t>::max(),
                           .experts_at_once = router.num_experts_per_tok,
                           .slots_max = slots});
    return error(StatusCode::kOutOfBudget,
                 "--capacity {}: {} experts of {} layers take {}, and the budget of {} holds {}; "
                 "raise --memory or lower --capacity",
                 request.capacity, slots, layers, format_size(wanted.byte_size()),
                 format_size(plan.budget_bytes), held.slot_count());
  }
  return slots;
}

/// More memory for requests, as far as `spare_bytes` has it and it is of use.
void grow_requests(std::uint64_t spare_bytes, MemoryPlan& plan) {
  const std::uint64_t most = std::max(kRequestBytesMax, plan.request_bytes);
  plan.request_bytes += std::min(spare_bytes, most - plan.request_bytes);
}

}  // namespace

std::uint64_t request_bytes_min(std::size_t context) {
  return kRequestBytes + kRequestBytesPerToken * context;
}

Result<MemoryPlan> plan_memory(const Network& network, const ModelFootprint& footprint,
                               const PlanRequest& request) {
  const ModelSpec& spec = network.spec();
  const RouterSpec& router = spec.moe().router;
  const StateLayout& state = network.state_layout();
  if (request.context > spec.max_position_embeddings) {
    return error(StatusCode::kInvalidArgument,
                 "a context of {} tokens is more than the model's {}; choose a smaller --context",
                 request.context, spec.max_position_embeddings);
  }
  MemoryPlan plan;
  plan.budget_bytes = request.budget_bytes;
  plan.context = request.context != 0 ? request.context
                                      : std::min(spec.max_position_embeddings, kDefaultContext);
  plan.kv_precision = network.kv_precision();
  plan.expert_count = footprint.expert_slots.expert_count();
  plan.expert_slot_bytes = footprint.expert_slots.slot_size_max();
  plan.dense_bytes = footprint.dense_bytes;
  plan.recurrent_bytes =
      request.sessions * (state.fixed_bytes() + request.snapshots * state.snapshot_bytes());

  const bool chooses_prefix = request.prefix_cache_bytes == kPrefixCacheAuto;
  if (!chooses_prefix) plan.prefix_bytes = request.prefix_cache_bytes;

  const bool chooses_requests = request.request_bytes == kRequestMemoryAuto;
  if (request.request_bytes != 0) {
    const std::uint64_t least = request_bytes_min(plan.context);
    plan.request_bytes = chooses_requests ? least : std::max(request.request_bytes, least);
  }

  // A step has a row of every session that decodes.
  const std::size_t rows_min = std::max(kPrefillChunkMin, request.sessions);
  if (request.prefill_chunk != 0 && request.prefill_chunk < request.sessions) {
    return error(StatusCode::kInvalidArgument,
                 "--prefill-chunk {}: {} sequences are computed at once, a row of each in a step",
                 request.prefill_chunk, request.sessions);
  }
  const std::size_t chunk_min = std::max(
      std::min(request.prefill_chunk != 0 ? request.prefill_chunk : rows_min, plan.context),
      request.sessions);
  const Planned planned{network, footprint, request, plan.context};
  set_chunk(planned, chunk_min, plan);
  const std::size_t slots_min = plan.expert_count == 0 ? 0 : router.num_experts_per_tok;
  const std::uint64_t mapped_min = fixed_bytes(plan) + slots_min * plan.expert_slot_bytes;
  plan.budget_bytes_min = budget_for(footprint, mapped_min);
  plan.budget_bytes_resident =
      budget_for(footprint, mapped_min + resident_spare_bytes(planned, plan, slots_min));
  if (plan.budget_bytes < plan.budget_bytes_min) {
    return error(
        StatusCode::kOutOfBudget,
        "a budget of {} cannot run this model; the smallest that works is {}: "
        "process {} + dense weights {} + KV cache for {} tokens {} + recurrent state {} + "
        "buffers {} + {} experts {}{}{}; raise --memory or lower --context{}",
        format_size(plan.budget_bytes), budget_text(plan.budget_bytes_min),
        format_size(footprint.process_bytes + page_table_bytes(mapped_min)),
        format_size(plan.dense_bytes), plan.context, format_size(plan.kv_bytes),
        format_size(plan.recurrent_bytes), format_size(plan.buffer_bytes), slots_min,
        format_size(slots_min * plan.expert_slot_bytes),
        plan.prefix_bytes > 0 ? fmt::format(" + prefix cache {}", format_size(plan.prefix_bytes))
                              : "",
        plan.request_bytes > 0 ? fmt::format(" + requests {}", format_size(plan.request_bytes))
                               : "",
        request.sessions > 1 ? " or --parallel" : "");
  }

  const std::uint64_t mapped_max = without_page_tables(plan.budget_bytes - footprint.process_bytes);
  if (request.prefill_chunk == 0) {
    set_chunk(planned, choose_chunk(planned, mapped_max - mapped_min, plan), plan);
  }
  const auto spare_bytes = [&] {
    return mapped_max - fixed_bytes(plan) - slots_min * plan.expert_slot_bytes;
  };
  if (chooses_requests) grow_requests(spare_bytes() / kRequestShare, plan);
  if (chooses_prefix) {
    const std::uint64_t one_sequence = plan.kv_bytes / request.sessions + state.fixed_bytes();
    plan.prefix_bytes = std::min(spare_bytes() / kPrefixShare, kPrefixSequences * one_sequence);
  }
  if (plan.expert_count > 0) {
    SlotRequest slots{.budget_bytes = mapped_max - fixed_bytes(plan),
                      .experts_at_once = router.num_experts_per_tok};
    const SlotPlan held(footprint.expert_slots, slots);
    if (request.capacity != 0) {
      FM_ASSIGN_OR_RETURN(slots.slots_max, slots_of_capacity(planned, held, plan));
    }
    set_slots(request.capacity == 0 ? held : SlotPlan(footprint.expert_slots, slots), plan);
  }
  if (chooses_requests && plan.expert_slots == plan.expert_count) {
    grow_requests(mapped_max - fixed_bytes(plan) - plan.expert_bytes, plan);
  }
  plan.process_bytes =
      footprint.process_bytes + page_table_bytes(fixed_bytes(plan) + plan.expert_bytes);
  return plan;
}

std::optional<std::string> warn_of_machine(const MemoryPlan& plan, const MemoryInfo& machine) {
  const std::uint64_t needed = plan.process_bytes + fixed_bytes(plan) + plan.expert_bytes;
  const std::uint64_t free_bytes = machine.headroom_bytes();
  const std::string begin = fmt::format("--memory {}: {} of it can come to be used, but",
                                        format_size(plan.budget_bytes), format_size(needed));
  const std::string end =
      free_bytes >= plan.budget_bytes_min
          ? fmt::format("; what fits now is --memory {}MiB", free_bytes >> 20)
          : fmt::format("; not even the smallest budget that works, {}, fits now",
                        format_size(plan.budget_bytes_min));
  if (machine.cgroup && needed > machine.cgroup->limit_bytes) {
    return fmt::format("{} the control group {} allows {}, and the kernel ends who takes more{}",
                       begin, machine.cgroup->path, format_size(machine.cgroup->limit_bytes), end);
  }
  if (free_bytes == 0 || needed <= free_bytes) return std::nullopt;
  const bool is_group = machine.cgroup && machine.cgroup->headroom_bytes == free_bytes;
  return fmt::format("{} {} are free{}{}", begin, format_size(free_bytes),
                     is_group ? " in the control group " + machine.cgroup->path : "", end);
}

}  // namespace flashmoe
