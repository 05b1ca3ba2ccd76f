#include "cli/run_report.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/counts.h"
#include "base/memory_info.h"
#include "base/units.h"
#include "cli/output.h"

namespace flashmoe::cli {
namespace {

std::optional<double> per_second(std::size_t count, double seconds) {
  if (count == 0 || seconds <= 0) return std::nullopt;
  return static_cast<double>(count) / seconds;
}

/// Tokens that decoding alone took: the first one falls to prefill.
std::size_t decoded_count(const GenerateStatistics& statistics) {
  return statistics.generated_tokens > 0 ? statistics.generated_tokens - 1 : 0;
}

std::optional<double> hit_rate(std::uint64_t hits, std::uint64_t misses) {
  if (hits + misses == 0) return std::nullopt;
  return static_cast<double>(hits) / static_cast<double>(hits + misses);
}

/// A number, or null where nothing was measured.
nlohmann::ordered_json or_null(std::optional<double> value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
}

/// What makes this output another than the model's own, if anything does.
nlohmann::ordered_json exactness_json(const Answer& answer, const EngineFlags& flags) {
  const EngineStatistics& total = answer.after;
  nlohmann::ordered_json json = {{"routing", flags.routing_trace.empty() ? "model" : "replayed"},
                                 {"residency", to_string(flags.residency.residency)},
                                 {"on_miss", to_string(flags.residency.miss_rule())},
                                 {"approximate", flags.residency.is_approximate()}};
  if (!flags.routing_trace.empty()) json["routing_trace"] = flags.routing_trace;
  if (!flags.residency.is_approximate()) return json;
  json["routed_requests"] = total.routed_requests;
  json["routed_fallbacks"] = total.routed_fallbacks;
  json["routed_reads"] = total.routed_reads;
  json["fallback_rate"] = fallback_rate(total);
  json["replaced_weight_share"] = total.replaced_weight_share;
  return json;
}

nlohmann::ordered_json switch_json(const Answer& answer) {
  const SwitchReport& report = answer.result.statistics.subject_switch;
  nlohmann::ordered_json tokens = nlohmann::ordered_json::array();
  for (const TokenReport& token : answer.tokens) {
    tokens.push_back({{"id", token.id},
                      {"seconds", token.seconds},
                      {"swaps_pending", token.swaps_pending},
                      {"layers_pending", token.layers_pending},
                      {"held", token.is_held}});
  }
  return {{"discovery_tokens", report.discovery_tokens},
          {"discovery_seconds", report.discovery_seconds},
          {"experts_found", report.experts_found},
          {"experts_missing", report.experts_missing},
          {"swaps", report.swap_count},
          {"blocking_swap_seconds", report.swap_seconds},
          {"prompt_again_seconds", report.prompt_seconds},
          {"swap_seconds", answer.result.statistics.swap_seconds},
          {"held_tokens", answer.result.statistics.held_tokens},
          {"tokens", std::move(tokens)}};
}

nlohmann::ordered_json to_json(const Answer& answer, const Engine& engine,
                               const EngineFlags& flags) {
  const GenerateResult& result = answer.result;
  const GenerateStatistics& run = result.statistics;
  const EngineStatistics& before = answer.before;
  const EngineStatistics& total = answer.after;
  const MemoryPlan& plan = engine.memory_plan();
  std::optional<double> first_token_seconds;
  std::optional<double> first_token_after_discovery_seconds;
  if (run.generated_tokens > 0) {
    first_token_seconds = run.time_to_first_token_seconds;
    first_token_after_discovery_seconds =
        run.time_to_first_token_seconds - run.subject_switch.discovery_seconds;
  }
  nlohmann::ordered_json json = {
      {"text", result.text},
      {"token_ids", result.token_ids},
      {"finish_reason", to_string(result.finish_reason)},
      {"sampling",
       {{"temperature", answer.sampling.temperature},
        {"top_k", answer.sampling.top_k},
        {"top_p", answer.sampling.top_p},
        {"min_p", answer.sampling.min_p},
        {"repeat_penalty", answer.sampling.repeat_penalty},
        {"seed", answer.seed}}},
      {"statistics",
       {{"prompt_tokens", run.prompt_tokens},
        {"prompt_tokens_read", run.prompt_tokens_read},
        {"generated_tokens", run.generated_tokens},
        {"load_seconds", total.load_seconds},
        {"prefill_seconds", run.prefill_seconds},
        {"prefill_tokens_per_second",
         or_null(per_second(run.prompt_tokens_read, run.prefill_seconds))},
        {"time_to_first_token_seconds", or_null(first_token_seconds)},
        {"time_to_first_token_after_discovery_seconds",
         or_null(first_token_after_discovery_seconds)},
        {"decode_seconds", run.decode_seconds},
        {"decode_tokens_per_second", or_null(per_second(decoded_count(run), run.decode_seconds))},
        {"expert_hit_rate", or_null(hit_rate(run.expert_hits, run.expert_misses))},
        {"expert_hits", run.expert_hits},
        {"expert_misses", run.expert_misses},
        {"experts_restored", total.experts_restored - before.experts_restored},
        {"speculative_reads", total.speculative_reads - before.speculative_reads},
        {"speculative_hits", total.speculative_hits - before.speculative_hits},
        {"expert_wait_seconds", run.expert_wait_seconds},
        {"expert_slots", plan.expert_slots},
        {"expert_slot_limit", total.expert_slot_limit},
        {"cache_shrinks", total.cache_shrinks - before.cache_shrinks},
        {"cache_growths", total.cache_growths - before.cache_growths},
        {"expert_limit_evictions", total.expert_limit_evictions - before.expert_limit_evictions},
        {"expert_count", plan.expert_count},
        {"bytes_read", total.bytes_read - before.bytes_read},
        {"expert_bytes_read", run.bytes_read},
        {"peak_rss_bytes", read_process_memory().peak_rss_bytes},
        {"budget_bytes", plan.budget_bytes},
        {"huge_page_bytes", engine.huge_page_bytes()},
        {"context", plan.context},
        {"kv_precision", to_string(plan.kv_precision)},
        {"prefill_chunk", plan.prefill_chunk},
        {"cpu_target", engine.cpu_target()},
        {"io_backend", engine.io_backend()}}},
      {"warnings", engine.info().warnings}};
  json["statistics"].update(exactness_json(answer, flags));
  if (flags.residency.has_fixed_set()) json["subject_switch"] = switch_json(answer);
  return json;
}

/// How many tokens of the prompt were read: of how many, where it was stopped.
std::string describe_prompt(const GenerateStatistics& run) {
  if (run.prompt_tokens_read == run.prompt_tokens) return counted(run.prompt_tokens, "token");
  return fmt::format("{} of {}", run.prompt_tokens_read, counted(run.prompt_tokens, "token"));
}

/// What a fixed set took, if it changed for this answer.
std::string describe_switch(const Answer& answer) {
  const GenerateStatistics& run = answer.result.statistics;
  const SwitchReport& report = run.subject_switch;
  if (report.discovery_tokens == 0) return "";
  const auto during = static_cast<std::size_t>(std::ranges::count_if(
      answer.tokens, [](const TokenReport& t) { return t.swaps_pending > 0; }));
  return fmt::format(
      "fixed set: discovery {}, {} | {} found, {} of them missing | {}, {}{}{}"
      " | first token {} after discovery\n",
      counted(report.discovery_tokens, "token"), format_seconds(report.discovery_seconds),
      counted(report.experts_found, "expert"), report.experts_missing,
      counted(report.swap_count, "swap"), format_seconds(run.swap_seconds),
      during > 0 ? fmt::format(", made by token {}", during + 1) : "",
      run.held_tokens > 0 ? fmt::format(" | {} held back", counted(run.held_tokens, "token")) : "",
      format_seconds(run.time_to_first_token_seconds - report.discovery_seconds));
}

}  // namespace

nlohmann::ordered_json answers_json(std::span<const Answer> answers, const Engine& engine,
                                    const EngineFlags& flags) {
  if (answers.size() == 1) return to_json(answers[0], engine, flags);
  nlohmann::ordered_json array = nlohmann::ordered_json::array();
  for (const Answer& answer : answers) array.push_back(to_json(answer, engine, flags));
  return {{"seed", answers.empty() ? 0 : answers[0].sampling.seed}, {"answers", std::move(array)}};
}

void print_answer(const Answer& answer, const Engine& engine, const EngineFlags& flags) {
  const GenerateStatistics& run = answer.result.statistics;
  const EngineStatistics& total = answer.after;
  const MemoryPlan& plan = engine.memory_plan();
  // What did not happen, since it was stopped before, is left out.
  const auto with_rate = [](std::string text, std::optional<double> rate) {
    return rate ? fmt::format("{}, {:.1f}/s", text, *rate) : text;
  };
  std::vector<std::string> parts = {with_rate(
      "prefill " + describe_prompt(run), per_second(run.prompt_tokens_read, run.prefill_seconds))};
  if (run.generated_tokens > 0) {
    parts.push_back(with_rate("decode " + counted(run.generated_tokens, "token"),
                              per_second(decoded_count(run), run.decode_seconds)));
    parts.push_back("first token " + format_seconds(run.time_to_first_token_seconds));
  }
  if (plan.expert_count > 0) {
    const std::optional<double> hits = hit_rate(run.expert_hits, run.expert_misses);
    parts.push_back(fmt::format("experts: room for {} of {}{}", plan.expert_slots,
                                plan.expert_count,
                                hits ? fmt::format(", {:.1f} % hits", 100 * *hits) : ""));
  }
  parts.push_back("read " + format_size(total.bytes_read - answer.before.bytes_read));
  parts.push_back(fmt::format("peak memory {} of {}",
                              format_size(read_process_memory().peak_rss_bytes),
                              format_size(plan.budget_bytes)));
  parts.push_back(fmt::format("--seed {}", answer.sampling.seed));
  print_note(fmt::format("{}\n", fmt::join(parts, " | ")));
  const std::uint64_t shrinks = total.cache_shrinks - answer.before.cache_shrinks;
  if (shrinks > 0) {
    print_note(fmt::format(
        "memory was short: the expert cache shrank {} and grew {}; {} of {} slots now\n",
        counted(shrinks, "time"),
        counted(total.cache_growths - answer.before.cache_growths, "time"), total.expert_slot_limit,
        plan.expert_slots));
  }
  if (!flags.routing_trace.empty()) {
    print_note(
        fmt::format("routing was replayed from {}: the text means nothing\n", flags.routing_trace));
  }
  print_note(describe_switch(answer));
  if (flags.residency.is_approximate()) {
    print_note(describe_approximation(flags.residency, total) + "\n");
  }
}

}  // namespace flashmoe::cli
