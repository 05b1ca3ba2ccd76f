#include "server/metrics.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"

namespace flashmoe::server {
namespace {

void append_head(std::string& out, std::string_view name, std::string_view kind,
                 std::string_view help) {
  out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, kind);
}

void append_counter(std::string& out, std::string_view name, double value, std::string_view help) {
  append_head(out, name, "counter", help);
  out += fmt::format("{} {}\n", name, value);
}

void append_gauge(std::string& out, std::string_view name, double value, std::string_view help) {
  append_head(out, name, "gauge", help);
  out += fmt::format("{} {}\n", name, value);
}

double real(std::uint64_t count) { return static_cast<double>(count); }

/// A label's value, as the format wants it.
std::string escaped_label(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

void Histogram::observe(double value) {
  const auto bound = std::lower_bound(bounds_.begin(), bounds_.end(), value);
  ++counts_[static_cast<std::size_t>(bound - bounds_.begin())];
  sum_ += value;
}

void Histogram::append(std::string& out, std::string_view name, std::string_view help) const {
  append_head(out, name, "histogram", help);
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    count += counts_[i];
    const std::string bound = i < bounds_.size() ? fmt::format("{}", bounds_[i]) : "+Inf";
    out += fmt::format("{}_bucket{{le=\"{}\"}} {}\n", name, bound, count);
  }
  out += fmt::format("{}_sum {}\n{}_count {}\n", name, sum_, name, count);
}

void Metrics::record(const ReplyRecord& record) {
  const std::lock_guard lock(mutex_);
  ++responses_[fmt::format("endpoint=\"{}\",status=\"{}\"", escaped_label(record.endpoint),
                           record.status)];
  if (record.finish.empty()) return;
  ++finished_[record.finish];
  const GenerationStatistics& run = record.counts.statistics;
  total_.observe(record.total_seconds);
  queue_.observe(run.queue_seconds);
  if (record.first_token_seconds > 0) first_token_.observe(record.first_token_seconds);
  if (run.generated_tokens > 1) {
    token_.observe(run.decode_seconds / real(run.generated_tokens - 1));
  }
  prompt_tokens_.observe(real(record.counts.prompt_tokens));
  generated_tokens_.observe(real(record.counts.completion_tokens));
}

std::string Metrics::text(const std::string& model, const SchedulerStatistics& scheduler,
                          const MemoryPlan& plan, std::uint64_t rss_bytes,
                          std::size_t connections) const {
  std::string out;
  const EngineStatistics& engine = scheduler.engine;
  const auto computed = real(scheduler.prompt_tokens - scheduler.cached_tokens);

  append_counter(out, "llamacpp:prompt_tokens_total", computed, "Prompt tokens computed.");
  append_counter(out, "llamacpp:prompt_tokens_cached_total", real(scheduler.cached_tokens),
                 "Prompt tokens that the prefix cache saved.");
  append_counter(out, "llamacpp:prompt_seconds_total", scheduler.prefill_seconds,
                 "Time of steps with prompts in them.");
  append_counter(out, "llamacpp:tokens_predicted_total", real(scheduler.generated_tokens),
                 "Tokens generated.");
  append_counter(out, "llamacpp:tokens_predicted_seconds_total", scheduler.decode_seconds,
                 "Time of steps without prompts.");
  append_counter(out, "llamacpp:n_decode_total", real(engine.steps), "Forward passes.");
  append_gauge(out, "llamacpp:n_busy_slots_per_decode",
               ratio(real(scheduler.decode_rows), real(scheduler.decode_steps)),
               "Sequences per step without prompts, as a mean.");
  append_gauge(out, "llamacpp:prompt_tokens_seconds", ratio(computed, scheduler.prefill_seconds),
               "Prompt tokens per second, as a mean.");
  append_gauge(out, "llamacpp:predicted_tokens_seconds",
               ratio(real(scheduler.decode_rows), scheduler.decode_seconds),
               "Generated tokens per second, as a mean.");
  append_gauge(out, "llamacpp:requests_processing", real(scheduler.running), "Sequences running.");
  append_gauge(out, "llamacpp:requests_deferred", real(scheduler.waiting), "Sequences waiting.");

  const std::string label = fmt::format("model_name=\"{}\"", escaped_label(model));
  const auto labelled = [&](std::string_view name, std::string_view kind, double value,
                            std::string_view help) {
    append_head(out, name, kind, help);
    out += fmt::format("{}{{{}}} {}\n", name, label, value);
  };
  labelled("vllm:num_requests_running", "gauge", real(scheduler.running), "Sequences running.");
  labelled("vllm:num_requests_waiting", "gauge", real(scheduler.waiting), "Sequences waiting.");
  labelled("vllm:prompt_tokens_total", "counter", real(scheduler.prompt_tokens), "Prompt tokens.");
  labelled("vllm:generation_tokens_total", "counter", real(scheduler.generated_tokens),
           "Tokens generated.");
  labelled("vllm:prefix_cache_queries_total", "counter", real(scheduler.prompt_tokens),
           "Prompt tokens looked up in the prefix cache.");
  labelled("vllm:prefix_cache_hits_total", "counter", real(scheduler.cached_tokens),
           "Prompt tokens found in the prefix cache.");
  {
    const std::lock_guard lock(mutex_);
    append_head(out, "vllm:request_success_total", "counter", "Requests by how they ended.");
    for (const auto& [reason, count] : finished_) {
      out += fmt::format("vllm:request_success_total{{{},finished_reason=\"{}\"}} {}\n", label,
                         reason, count);
    }
    append_head(out, "flashmoe_http_responses_total", "counter",
                "Responses by endpoint and status.");
    for (const auto& [labels, count] : responses_) {
      out += fmt::format("flashmoe_http_responses_total{{{}}} {}\n", labels, count);
    }
    first_token_.append(out, "vllm:time_to_first_token_seconds",
                        "From the request to its first token.");
    token_.append(out, "vllm:inter_token_latency_seconds", "Between tokens, a request's mean.");
    total_.append(out, "vllm:e2e_request_latency_seconds", "From the request to its end.");
    queue_.append(out, "vllm:request_queue_time_seconds", "Before a request had a place.");
    prompt_tokens_.append(out, "vllm:request_prompt_tokens", "Prompt tokens of a request.");
    generated_tokens_.append(out, "vllm:request_generation_tokens", "Tokens that a request got.");
  }

  append_counter(out, "flashmoe_expert_hits_total", real(engine.expert_hits),
                 "Experts that were in memory when they were needed.");
  append_counter(out, "flashmoe_expert_misses_total", real(engine.expert_misses),
                 "Experts that had to be read.");
  append_counter(out, "flashmoe_expert_evictions_total", real(engine.expert_evictions),
                 "Experts that made room for others.");
  append_counter(out, "flashmoe_expert_guesses_total", real(engine.speculative_reads),
                 "Experts that were read on a guess.");
  append_counter(out, "flashmoe_expert_guesses_right_total", real(engine.speculative_hits),
                 "Guesses that came true.");
  append_counter(out, "flashmoe_experts_restored_total", real(engine.experts_restored),
                 "Experts that were read because an earlier run or turn had used them.");
  append_counter(out, "flashmoe_read_bytes_total", real(engine.bytes_read),
                 "Bytes read from the model's files.");
  append_counter(out, "flashmoe_expert_wait_seconds_total", engine.expert_wait_seconds,
                 "Time that the computation stood still for experts.");
  append_gauge(out, "flashmoe_expert_slots", real(engine.expert_slot_limit),
               "Experts that memory may hold now.");
  append_gauge(out, "flashmoe_experts", real(plan.expert_count), "Experts of the model.");
  append_gauge(out, "flashmoe_memory_budget_bytes", real(plan.budget_bytes), "The memory budget.");
  append_gauge(out, "flashmoe_memory_resident_bytes", real(rss_bytes), "Memory in use.");
  append_gauge(out, "flashmoe_prefix_checkpoints", real(scheduler.checkpoints),
               "Checkpoints in the prefix cache.");
  append_gauge(out, "flashmoe_prefix_bytes", real(scheduler.checkpoint_bytes),
               "Memory of the prefix cache.");
  append_counter(out, "flashmoe_prefix_evictions_total", real(scheduler.checkpoint_evictions),
                 "Checkpoints that made room for others.");
  append_gauge(out, "flashmoe_prefix_disk_checkpoints", real(scheduler.disk_checkpoints),
               "Checkpoints on disk.");
  append_gauge(out, "flashmoe_prefix_disk_bytes", real(scheduler.disk_checkpoint_bytes),
               "Disk that checkpoints take.");
  append_counter(out, "flashmoe_prefix_disk_loads_total", real(scheduler.disk_checkpoint_loads),
                 "Checkpoints that came back from disk.");
  append_counter(out, "flashmoe_requests_failed_total", real(scheduler.failures),
                 "Sequences that failed.");
  append_counter(out, "flashmoe_requests_cancelled_total", real(scheduler.cancellations),
                 "Sequences that were cancelled.");
  append_gauge(out, "flashmoe_connections", real(connections), "Connections open.");
  return out;
}

}  // namespace flashmoe::server
