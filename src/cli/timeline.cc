#include "cli/timeline.h"

#include <fmt/format.h>

#include "base/counts.h"
#include "cli/output.h"

namespace flashmoe::cli {
namespace {

double gib(std::uint64_t bytes) { return static_cast<double>(bytes) / (std::uint64_t{1} << 30); }

}  // namespace

void Timeline::tell(std::string_view event) const {
  if (!is_on_) return;
  const std::chrono::duration<double> since = std::chrono::steady_clock::now() - start_;
  print_note(fmt::format("[{:8.2f} s] {}\n", since.count(), event));
}

void Timeline::opening(std::string_view model) { tell(fmt::format("opening {}", model)); }

void Timeline::reading(std::uint64_t done, std::uint64_t total) {
  if (!has_read_) tell(fmt::format("reading {:.2f} GiB of weights", gib(total)));
  has_read_ = true;
  if (done == total) tell("all weights that stay are in memory");
}

void Timeline::opened(const Engine& engine) {
  const MemoryPlan& plan = engine.memory_plan();
  tell(
      fmt::format("plan: {:.2f} GiB: weights {:.2f}, context of {} tokens {:.2f}, buffers {:.2f}, "
                  "room for {} of {} experts {:.2f} GiB",
                  gib(plan.budget_bytes), gib(plan.dense_bytes), plan.context,
                  gib(plan.kv_bytes + plan.recurrent_bytes), gib(plan.buffer_bytes),
                  plan.expert_slots, plan.expert_count, gib(plan.expert_bytes)));
  tell(fmt::format("ready: kernels {}, reads {}", engine.cpu_target(), engine.io_backend()));
}

void Timeline::prefilled(std::size_t done, std::size_t total) {
  tell(fmt::format("prefill: {} of {}", done, counted(total, "token")));
}

void Timeline::first_token() { tell("first token"); }

void Timeline::answered(const GenerateResult& result) {
  const GenerateStatistics& run = result.statistics;
  tell(
      fmt::format("decode: {} in {:.2f} s; {:.2f} GiB of experts read, {:.2f} s waited for "
                  "them",
                  counted(run.generated_tokens, "token"), run.decode_seconds, gib(run.bytes_read),
                  run.expert_wait_seconds));
}

}  // namespace flashmoe::cli
