#include "cli/timeline.h"

#include <fmt/format.h>

#include "base/counts.h"
#include "base/units.h"
#include "cli/output.h"

namespace flashmoe::cli {
namespace {

constexpr std::chrono::milliseconds kPrefillInterval{500};

}  // namespace

void Timeline::tell(std::string_view event) const {
  if (!is_on_) return;
  const std::chrono::duration<double> since = std::chrono::steady_clock::now() - start_;
  print_note(fmt::format("[{:8.2f} s] {}\n", since.count(), event));
}

void Timeline::opening(std::string_view model) { tell(fmt::format("opening {}", model)); }

void Timeline::reading(std::uint64_t done, std::uint64_t total) {
  if (!has_read_) tell(fmt::format("reading {} of weights", format_size(total)));
  has_read_ = true;
  if (done == total) tell("all weights that stay are in memory");
}

void Timeline::opened(const Engine& engine) {
  const MemoryPlan& plan = engine.memory_plan();
  tell(fmt::format(
      "plan: {}: weights {}, context of {} tokens in {} {}, buffers {}, room for {} of {} "
      "experts {}",
      format_size(plan.budget_bytes), format_size(plan.dense_bytes), plan.context,
      to_string(plan.kv_precision), format_size(plan.kv_bytes + plan.recurrent_bytes),
      format_size(plan.buffer_bytes), plan.expert_slots, plan.expert_count,
      format_size(plan.expert_bytes)));
  tell(fmt::format("ready: kernels {}, reads {}", engine.cpu_target(), engine.io_backend()));
}

void Timeline::prefilled(std::size_t done, std::size_t total) {
  const auto now = std::chrono::steady_clock::now();
  const bool is_end = done == total;
  if (!is_end && prefill_told_ && now - *prefill_told_ < kPrefillInterval) return;
  prefill_told_ = now;
  if (is_end) prefill_told_.reset();
  tell(fmt::format("prefill: {} of {}", done, counted(total, "token")));
}

void Timeline::first_token() { tell("first token"); }

void Timeline::answered(const GenerateResult& result) {
  const GenerateStatistics& run = result.statistics;
  if (run.generated_tokens == 0) return tell("no token was generated");
  tell(
      fmt::format("decode: {} in {:.2f} s; {} of experts read, {:.2f} s waited for "
                  "them",
                  counted(run.generated_tokens, "token"), run.decode_seconds,
                  format_size(run.bytes_read), run.expert_wait_seconds));
}

}  // namespace flashmoe::cli
