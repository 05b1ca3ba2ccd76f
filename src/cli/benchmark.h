#ifndef FLASHMOE_CLI_BENCHMARK_H_
#define FLASHMOE_CLI_BENCHMARK_H_

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "flashmoe/engine.h"
#include "flashmoe/result.h"

namespace flashmoe::cli {

// What crosses the door of a measuring process does so as JSON.

/// What `bench` has to know of a model beforehand, from its headers.
struct BenchModel {
  std::string model_type;
  std::uint64_t layer_count = 0;
  std::uint64_t num_experts = 0;
  std::uint64_t num_experts_per_tok = 0;
  std::uint64_t vocab_size = 0;
  std::uint64_t expert_bytes = 0;  // of one routed expert
  /// Dense weights that a forward pass cannot do without; lm_head, which only passes with logits
  /// need, apart.
  std::uint64_t dense_bytes_per_step = 0;
  std::uint64_t lm_head_bytes = 0;
  std::string kv_precision;
  std::uint64_t kv_bytes_per_token = 0;
  std::uint64_t context = 0;  // that runs have
  std::uint64_t budget_bytes_min = 0;
  std::uint64_t budget_bytes_resident = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(BenchModel, model_type, layer_count, num_experts,
                                   num_experts_per_tok, vocab_size, expert_bytes,
                                   dense_bytes_per_step, lm_head_bytes, kv_precision,
                                   kv_bytes_per_token, context, budget_bytes_min,
                                   budget_bytes_resident)

/// What happened while a prompt was read, or while tokens were decoded.
struct BenchPhase {
  std::uint64_t tokens = 0;
  std::uint64_t steps = 0;  // forward passes
  double seconds = 0;
  std::uint64_t expert_hits = 0;
  std::uint64_t expert_misses = 0;
  std::uint64_t bytes_read = 0;          // by our count
  std::uint64_t storage_bytes_read = 0;  // by the kernel's count; 0 where it does not tell
  /// The least that had to come from memory: each step reads the dense weights, every expert that
  /// it computes with, and the KV cache once, and the recurrent state in and out.
  std::uint64_t memory_bytes = 0;
  double wait_seconds = 0;
  double mixer_seconds = 0;
  double router_seconds = 0;
  double mlp_seconds = 0;
  double output_seconds = 0;
  double guess_seconds = 0;
  std::uint64_t speculative_reads = 0;
  std::uint64_t speculative_hits = 0;
  double expert_reading_seconds = 0;  // see EngineStatistics, as for the next
  double expert_bound_seconds = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(BenchPhase, tokens, steps, seconds, expert_hits, expert_misses,
                                   bytes_read, storage_bytes_read, memory_bytes, wait_seconds,
                                   mixer_seconds, router_seconds, mlp_seconds, output_seconds,
                                   guess_seconds, speculative_reads, speculative_hits,
                                   expert_reading_seconds, expert_bound_seconds)

/// One run of a prompt and a continuation, in a process of its own.
struct BenchRun {
  std::uint64_t budget_bytes = 0;
  std::uint64_t expert_slots = 0;
  std::uint64_t expert_count = 0;
  std::uint64_t context = 0;
  std::uint64_t prefill_chunk = 0;
  double load_seconds = 0;
  std::uint64_t load_bytes_read = 0;
  std::uint64_t peak_rss_bytes = 0;
  double token_seconds_p50 = 0;  // of decoded tokens
  double token_seconds_p99 = 0;
  std::string cpu_target;
  std::string io_backend;
  BenchPhase prefill;
  BenchPhase decode;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(BenchRun, budget_bytes, expert_slots, expert_count, context,
                                   prefill_chunk, load_seconds, load_bytes_read, peak_rss_bytes,
                                   token_seconds_p50, token_seconds_p99, cpu_target, io_backend,
                                   prefill, decode)

/// What the machine can do, measured on it.
struct BenchCeilings {
  std::uint64_t memory_threads = 0;
  double memory_bytes_per_second = 0;
  std::uint64_t memory_size_bytes = 0;
  std::uint64_t memory_huge_page_bytes = 0;
  double disk_bytes_per_second = 0;
  std::uint64_t disk_read_size = 0;
  std::uint64_t disk_depth = 0;
  bool disk_is_direct = false;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(BenchCeilings, memory_threads, memory_bytes_per_second,
                                   memory_size_bytes, memory_huge_page_bytes, disk_bytes_per_second,
                                   disk_read_size, disk_depth, disk_is_direct)

/// Reads the headers of a model folder. Errors: those of inspect_model.
Result<BenchModel> describe_model(const EngineOptions& options);

/// Measures memory with `options.threads` threads, and the disk on the model's largest file in
/// direct random reads of an expert's size, as many in flight as a token routes experts in a layer.
/// Errors: those of measure_memory_speed and measure_read_speed.
Result<BenchCeilings> measure_ceilings(const BenchModel& model, const EngineOptions& options);

/// What a run feeds the model: the ids of each part are given, so that every run does the same
/// work, whatever the model would have picked.
struct BenchTokens {
  std::vector<std::int32_t> warm_up;  // a pass before the one that is measured; may be empty
  std::vector<std::int32_t> prompt;
  std::vector<std::int32_t> decode;
};

/// Opens the model and runs `tokens` through it, in this process. Errors: those of the engine.
Result<BenchRun> measure_run(const BenchModel& model, const EngineOptions& options,
                             const BenchTokens& tokens);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_BENCHMARK_H_
