#include "cli/benchmark.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "base/memory_info.h"
#include "base/memory_probe.h"
#include "base/result.h"
#include "base/stopwatch.h"
#include "base/thread_pool.h"
#include "flashmoe/inspection.h"
#include "io/disk_probe.h"
#include "io/process_io.h"

namespace flashmoe::cli {
namespace {

IoBackend backend_of(IoChoice choice) {
  if (choice == IoChoice::kIoUring) return IoBackend::kIoUring;
  return choice == IoChoice::kPread ? IoBackend::kPread : IoBackend::kAuto;
}

/// The counters at one moment; a phase is the difference of two.
struct Counters {
  EngineStatistics engine;
  std::uint64_t storage_bytes_read = 0;
};

Counters read_counters(const Engine& engine) {
  return {engine.statistics(), storage_bytes_read().value_or(0)};
}

BenchPhase difference(const Counters& before, const Counters& after) {
  const EngineStatistics& a = before.engine;
  const EngineStatistics& b = after.engine;
  return {.steps = b.steps - a.steps,
          .expert_hits = b.expert_hits - a.expert_hits,
          .expert_misses = b.expert_misses - a.expert_misses,
          .bytes_read = b.bytes_read - a.bytes_read,
          .storage_bytes_read = after.storage_bytes_read - before.storage_bytes_read,
          .wait_seconds = b.expert_wait_seconds - a.expert_wait_seconds,
          .mixer_seconds = b.mixer_seconds - a.mixer_seconds,
          .router_seconds = b.router_seconds - a.router_seconds,
          .mlp_seconds = b.mlp_seconds - a.mlp_seconds,
          .output_seconds = b.output_seconds - a.output_seconds,
          .guess_seconds = b.guess_seconds - a.guess_seconds,
          .speculative_reads = b.speculative_reads - a.speculative_reads,
          .speculative_hits = b.speculative_hits - a.speculative_hits,
          .expert_reading_seconds = b.expert_reading_seconds - a.expert_reading_seconds,
          .expert_bound_seconds = b.expert_bound_seconds - a.expert_bound_seconds};
}

/// The smallest value that a share `p` of them does not exceed.
double percentile(std::vector<double> values, double p) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const auto rank = std::ceil(p * static_cast<double>(values.size()));
  return values[std::max<std::size_t>(static_cast<std::size_t>(rank), 1) - 1];
}

/// One engine with one session, measured phase by phase.
class Bench {
 public:
  Bench(const BenchModel& model, Engine& engine, Session& session)
      : model_(model), engine_(engine), session_(session) {}

  /// Consumes `ids`, `step_size` at a time; each call of the session computes the logits of its
  /// last token. `step_seconds` gets the time of each, unless it is null.
  Result<BenchPhase> run(std::span<const std::int32_t> ids, std::size_t step_size,
                         std::vector<double>* step_seconds) {
    const Counters before = read_counters(engine_);
    const std::size_t position = session_.token_ids().size();
    Stopwatch watch;
    Stopwatch step_watch;
    std::size_t calls = 0;
    for (std::size_t at = 0; at < ids.size(); at += step_size, ++calls) {
      const auto step = ids.subspan(at, std::min(step_size, ids.size() - at));
      FM_RETURN_IF_ERROR(session_.forward(step, {}));
      if (step_seconds != nullptr) step_seconds->push_back(step_watch.lap());
    }
    const double seconds = watch.lap();
    BenchPhase phase = difference(before, read_counters(engine_));
    phase.tokens = ids.size();
    phase.seconds = seconds;
    phase.memory_bytes = memory_bytes(phase, position, calls);
    return phase;
  }

 private:
  std::uint64_t memory_bytes(const BenchPhase& phase, std::size_t position,
                             std::size_t calls) const {
    // Steps are of one size, but for the last: at the end of step i of n, i / n of the tokens are
    // in the KV cache.
    const std::uint64_t kv_positions =
        phase.steps * position + phase.tokens * (phase.steps + 1) / 2;
    return phase.steps * (model_.dense_bytes_per_step + 2 * engine_.memory_plan().recurrent_bytes) +
           calls * model_.lm_head_bytes + kv_positions * model_.kv_bytes_per_token +
           (phase.expert_hits + phase.expert_misses) * model_.expert_bytes;
  }

  const BenchModel& model_;
  Engine& engine_;
  Session& session_;
};

}  // namespace

Result<BenchModel> describe_model(const EngineOptions& options) {
  FM_ASSIGN_OR_RETURN(const ModelInspection inspection,
                      inspect_model({.model = options.model,
                                     .context = options.context,
                                     .prefill_chunk = options.prefill_chunk,
                                     .kv_precision = options.kv_precision}));
  BenchModel model = {.model_type = inspection.info.model_type,
                      .layer_count = inspection.info.layer_count,
                      .num_experts = inspection.info.num_experts,
                      .num_experts_per_tok = inspection.info.num_experts_per_tok,
                      .vocab_size = inspection.info.vocab_size,
                      .expert_bytes = inspection.expert_bytes,
                      .kv_precision = std::string(to_string(options.kv_precision)),
                      .kv_bytes_per_token = inspection.kv_bytes_per_token,
                      .context = inspection.minimum.context,
                      .budget_bytes_min = inspection.minimum.budget_bytes_min,
                      .budget_bytes_resident = inspection.minimum.budget_bytes_resident};
  // A tied embedding is lm_head; else only single rows of it are read.
  const TensorRole head =
      inspection.architecture.tie_word_embeddings ? TensorRole::kEmbedding : TensorRole::kLmHead;
  for (const TensorGroup& group : inspection.groups) {
    if (group.role == head) {
      model.lm_head_bytes += group.size_bytes;
    } else if (group.role != TensorRole::kEmbedding && group.role != TensorRole::kRoutedExperts &&
               group.role != TensorRole::kUnused) {
      model.dense_bytes_per_step += group.size_bytes;
    }
  }
  return model;
}

Result<BenchCeilings> measure_ceilings(const BenchModel& model, const EngineOptions& options) {
  const std::size_t threads =
      options.threads != 0 ? options.threads : ThreadPool::available_core_count();
  // Caches of servers hold hundreds of megabytes; but no more than a part of what is free.
  constexpr std::uint64_t kMemory = std::uint64_t{1} << 30;
  const std::uint64_t headroom = read_memory_info().headroom_bytes();
  const std::uint64_t memory_size = headroom == 0 ? kMemory : std::min(kMemory, headroom / 4);
  FM_ASSIGN_OR_RETURN(const MemorySpeed memory,
                      measure_memory_speed({.threads = threads, .size_bytes = memory_size}));
  const std::size_t depth = std::clamp<std::size_t>(model.num_experts_per_tok, 1, 32);
  FM_ASSIGN_OR_RETURN(const ReadSpeed disk,
                      measure_read_speed(options.model, {.seconds_max = 2,
                                                         .backend = backend_of(options.io),
                                                         .depth = depth,
                                                         .read_size = std::max<std::uint64_t>(
                                                             model.expert_bytes, 1)}));
  return BenchCeilings{.memory_threads = threads,
                       .memory_bytes_per_second = memory.bytes_per_second,
                       .memory_size_bytes = memory.size_bytes,
                       .memory_huge_page_bytes = memory.huge_page_bytes,
                       .disk_bytes_per_second = disk.bytes_per_second,
                       .disk_read_size = disk.read_size,
                       .disk_depth = depth,
                       .disk_is_direct = disk.is_direct};
}

Result<BenchRun> measure_run(const BenchModel& model, const EngineOptions& options,
                             const BenchTokens& tokens) {
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::open(options));
  const MemoryPlan& plan = engine->memory_plan();
  BenchRun run = {.budget_bytes = plan.budget_bytes,
                  .expert_slots = plan.expert_slots,
                  .expert_count = plan.expert_count,
                  .context = plan.context,
                  .prefill_chunk = plan.prefill_chunk,
                  .load_seconds = engine->statistics().load_seconds,
                  .load_bytes_read = storage_bytes_read().value_or(0),
                  .cpu_target = std::string(engine->cpu_target()),
                  .io_backend = std::string(engine->io_backend())};
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, engine->new_session());
  if (!tokens.warm_up.empty()) {
    FM_RETURN_IF_ERROR(session->forward(tokens.warm_up, {}));
    FM_RETURN_IF_ERROR(session->reset());
  }
  Bench bench(model, *engine, *session);
  FM_ASSIGN_OR_RETURN(run.prefill, bench.run(tokens.prompt, tokens.prompt.size(), nullptr));
  std::vector<double> token_seconds;
  FM_ASSIGN_OR_RETURN(run.decode, bench.run(tokens.decode, 1, &token_seconds));
  run.token_seconds_p50 = percentile(token_seconds, 0.5);
  run.token_seconds_p99 = percentile(token_seconds, 0.99);
  run.peak_rss_bytes = read_process_memory().peak_rss_bytes;
  return run;
}

}  // namespace flashmoe::cli
