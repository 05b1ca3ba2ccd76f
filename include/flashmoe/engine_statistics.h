#ifndef FLASHMOE_ENGINE_STATISTICS_H_
#define FLASHMOE_ENGINE_STATISTICS_H_

#include <cstddef>
#include <cstdint>

namespace flashmoe {

/// What an engine has done since it was opened, over all its sessions.
struct EngineStatistics {
  std::uint64_t expert_hits = 0;
  std::uint64_t expert_misses = 0;
  std::uint64_t expert_evictions = 0;
  /// Those of them that gave memory back under memory pressure (docs/memory.md).
  std::uint64_t expert_limit_evictions = 0;
  /// How often the cache gave slots back, and took some again; how many it may use now, of
  /// MemoryPlan::expert_slots.
  std::uint64_t cache_shrinks = 0;
  std::uint64_t cache_growths = 0;
  std::size_t expert_slot_limit = 0;
  /// Memory of the slots that hold experts now.
  std::uint64_t expert_used_bytes = 0;
  /// Experts that were read because resident_set_file named them, or a sequence that came back from
  /// a checkpoint had used them: neither hits nor misses.
  std::uint64_t experts_restored = 0;
  /// Experts that were read on a guess of what the router would pick, and those of them that it did
  /// pick, which are hits.
  std::uint64_t speculative_reads = 0;
  std::uint64_t speculative_hits = 0;
  /// Bytes that the operating system delivered to our reads, from disk or its cache, loading
  /// included.
  std::uint64_t bytes_read = 0;
  /// Time the computation stood still, waiting for experts.
  double expert_wait_seconds = 0;
  /// Forward passes: chunks of prompts, and tokens decoded.
  std::uint64_t steps = 0;
  /// Where their time went, beside waiting: attention and DeltaNet; the router; routed, shared and
  /// dense MLPs; lm_head.
  double mixer_seconds = 0;
  double router_seconds = 0;
  double mlp_seconds = 0;
  double output_seconds = 0;
  /// What guessing took, for speculative reads.
  double guess_seconds = 0;
  /// Time with experts' reads in flight, as far as the computation looked: bytes_read over it is
  /// what the disk gives while it is asked.
  double expert_reading_seconds = 0;
  /// What layers could not have gone below with those reads: the longer of them and what could be
  /// computed meanwhile, then the expert that came last.
  double expert_bound_seconds = 0;
  double load_seconds = 0;
  /// Of generated tokens, where the output is approximate (ResidencyOptions::on_miss): experts that
  /// routers picked; those of them that were not in memory and were not read, and those that were
  /// read because threshold or budget wanted it; and of all routed weight the share of the former.
  /// Since the engine was opened, or Session::reset_experts().
  std::uint64_t routed_requests = 0;
  std::uint64_t routed_fallbacks = 0;
  std::uint64_t routed_reads = 0;
  double replaced_weight_share = 0;
  /// Likewise of prompts, and of discovery, which fixed sets answer for too.
  std::uint64_t prompt_requests = 0;
  std::uint64_t prompt_fallbacks = 0;
  /// Experts that a fixed set or Residency::kResident brought in, and the time that took.
  std::uint64_t experts_placed = 0;
  double placing_seconds = 0;
  /// Of the fixed set: experts in it, and those still to come in.
  std::size_t fixed_experts = 0;
  std::size_t swaps_pending = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_STATISTICS_H_
