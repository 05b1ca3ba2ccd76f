#include "cli/benchmark_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"

namespace flashmoe::cli {
namespace {

using Json = nlohmann::ordered_json;

template <typename Value>
double as_double(Value value) {
  return static_cast<double>(value);
}

Json to_json(const Spread& spread) {
  return {{"median", spread.median}, {"min", spread.min}, {"max", spread.max}};
}

Json to_json(const PhaseSummary& phase, const BenchCeilings& ceilings) {
  return {{"tokens_per_second", to_json(phase.tokens_per_second)},
          {"memory_bytes_per_second", to_json(phase.memory_bytes_per_second)},
          {"memory_share_of_ceiling",
           ratio(phase.memory_bytes_per_second.median, ceilings.memory_bytes_per_second)},
          {"disk_bytes_per_second", to_json(phase.disk_bytes_per_second)},
          {"disk_share_of_ceiling",
           ratio(phase.disk_bytes_per_second.median, ceilings.disk_bytes_per_second)},
          {"reading_bytes_per_second", to_json(phase.reading_bytes_per_second)},
          {"reading_share_of_ceiling",
           ratio(phase.reading_bytes_per_second.median, ceilings.disk_bytes_per_second)},
          {"hit_rate", to_json(phase.hit_rate)},
          {"memory_bytes_per_token", to_json(phase.memory_bytes_per_token)},
          {"disk_bytes_per_token", to_json(phase.disk_bytes_per_token)},
          {"counted_share_of_storage_reads", to_json(phase.counted_share)},
          {"wait_share", to_json(phase.wait_share)},
          {"mixer_share", to_json(phase.mixer_share)},
          {"router_share", to_json(phase.router_share)},
          {"mlp_share", to_json(phase.mlp_share)},
          {"output_share", to_json(phase.output_share)},
          {"guess_share", to_json(phase.guess_share)},
          {"speculative_share", to_json(phase.speculative_share)},
          {"speculative_precision", to_json(phase.speculative_precision)},
          {"dependency_share", to_json(phase.dependency_share)}};
}

template <typename Figure>
Spread over(std::span<const BenchRun> runs, Figure figure) {
  std::vector<double> values;
  for (const BenchRun& run : runs) values.push_back(figure(run));
  return spread_of(std::move(values));
}

Spread peak_rss(const BenchBudget& budget) {
  return over(budget.runs, [](const BenchRun& run) { return as_double(run.peak_rss_bytes); });
}

Spread load_seconds(const BenchBudget& budget) {
  return over(budget.runs, [](const BenchRun& run) { return run.load_seconds; });
}

Spread token_seconds(const BenchBudget& budget, double BenchRun::*percentile) {
  return over(budget.runs, [percentile](const BenchRun& run) { return run.*percentile; });
}

/// "12.3", "0.731": three digits that mean something.
std::string short_number(double value) {
  return fmt::format("{:.{}f}", value, value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3);
}

std::string percent(double share) { return fmt::format("{:.0f} %", 100 * share); }

/// A rate in GB/s, and what share of the ceiling it is.
std::string rate_and_share(double rate, double ceiling) {
  return fmt::format("{:.3f} {:>5}", rate / 1e9, percent(ratio(rate, ceiling)));
}

std::string range(const Spread& spread) {
  return fmt::format("{}-{}", short_number(spread.min), short_number(spread.max));
}

std::string phase_table(const BenchReport& report, BenchPhase BenchRun::*phase) {
  constexpr const char* kRow =
      "{:>10} {:>9} {:>13} {:>13} {:>13} {:>8} {:>10} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6}\n";
  std::string text = fmt::format(fmt::runtime(kRow), "memory", "tokens/s", "min-max", "memory GB/s",
                                 "disk GB/s", "hits", "read/token", "ahead", "wait", "mixer",
                                 "router", "MLP", "output", "bound");
  const BenchCeilings& ceilings = report.ceilings;
  for (const BenchBudget& budget : report.budgets) {
    const PhaseSummary summary = summarize(budget.runs, phase);
    text += fmt::format(
        fmt::runtime(kRow), format_size(budget.budget_bytes),
        short_number(summary.tokens_per_second.median), range(summary.tokens_per_second),
        rate_and_share(summary.memory_bytes_per_second.median, ceilings.memory_bytes_per_second),
        rate_and_share(summary.reading_bytes_per_second.median, ceilings.disk_bytes_per_second),
        fmt::format("{:.1f} %", 100 * summary.hit_rate.median),
        format_size(static_cast<std::uint64_t>(summary.disk_bytes_per_token.median)),
        budget.speculation ? percent(summary.speculative_share.median) : "off",
        percent(summary.wait_share.median), percent(summary.mixer_share.median),
        percent(summary.router_share.median), percent(summary.mlp_share.median),
        percent(summary.output_share.median), percent(summary.dependency_share.median));
  }
  return text;
}

std::string counted_cells(const PhaseSummary& summary) {
  if (summary.counted_share.max == 0) return "-";
  return fmt::format("{:.1f} %", 100 * summary.counted_share.median);
}

std::string budget_table(const BenchReport& report) {
  constexpr const char* kRow = "{:>10} {:>15} {:>6} {:>11} {:>9} {:>10} {:>10} {:>17} {:>17}\n";
  std::string text =
      fmt::format(fmt::runtime(kRow), "memory", "experts held", "chunk", "peak RSS", "loading",
                  "ms/tok p50", "ms/tok p99", "prefill: counted", "decode: counted");
  for (const BenchBudget& budget : report.budgets) {
    const BenchRun& run = budget.runs.front();
    text +=
        fmt::format(fmt::runtime(kRow), format_size(budget.budget_bytes),
                    fmt::format("{} of {}", run.expert_slots, run.expert_count), run.prefill_chunk,
                    format_size(static_cast<std::uint64_t>(peak_rss(budget).max)),
                    format_seconds(load_seconds(budget).median),
                    short_number(1e3 * token_seconds(budget, &BenchRun::token_seconds_p50).median),
                    short_number(1e3 * token_seconds(budget, &BenchRun::token_seconds_p99).median),
                    counted_cells(summarize(budget.runs, &BenchRun::prefill)),
                    counted_cells(summarize(budget.runs, &BenchRun::decode)));
  }
  return text +
         "disk: while experts are being read; bound: what dependencies leave possible with these "
         "reads, of the time taken\n"
         "ahead: of the experts that had to be read, those that were read on a guess\n"
         "counted: bytes read by our count, of those by the kernel's\n";
}

}  // namespace

Spread spread_of(std::vector<double> values) {
  if (values.empty()) return {};
  std::ranges::sort(values);
  const std::size_t middle = values.size() / 2;
  const double median =
      values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {.median = median, .min = values.front(), .max = values.back()};
}

PhaseSummary summarize(std::span<const BenchRun> runs, BenchPhase BenchRun::*phase) {
  const auto per = [&](auto numerator, auto denominator) {
    return over(runs, [&](const BenchRun& run) {
      const BenchPhase& p = run.*phase;
      return ratio(as_double(p.*numerator), as_double(p.*denominator));
    });
  };
  const auto share = [&](double BenchPhase::*part) { return per(part, &BenchPhase::seconds); };
  return {
      .tokens_per_second = per(&BenchPhase::tokens, &BenchPhase::seconds),
      .memory_bytes_per_second = per(&BenchPhase::memory_bytes, &BenchPhase::seconds),
      .disk_bytes_per_second = per(&BenchPhase::bytes_read, &BenchPhase::seconds),
      .reading_bytes_per_second = per(&BenchPhase::bytes_read, &BenchPhase::expert_reading_seconds),
      .hit_rate = over(runs,
                       [phase](const BenchRun& run) {
                         const BenchPhase& p = run.*phase;
                         return ratio(as_double(p.expert_hits),
                                      as_double(p.expert_hits + p.expert_misses));
                       }),
      .memory_bytes_per_token = per(&BenchPhase::memory_bytes, &BenchPhase::tokens),
      .disk_bytes_per_token = per(&BenchPhase::bytes_read, &BenchPhase::tokens),
      .counted_share = per(&BenchPhase::bytes_read, &BenchPhase::storage_bytes_read),
      .wait_share = share(&BenchPhase::wait_seconds),
      .mixer_share = share(&BenchPhase::mixer_seconds),
      .router_share = share(&BenchPhase::router_seconds),
      .mlp_share = share(&BenchPhase::mlp_seconds),
      .output_share = share(&BenchPhase::output_seconds),
      .guess_share = share(&BenchPhase::guess_seconds),
      .speculative_share = over(runs,
                                [phase](const BenchRun& run) {
                                  const BenchPhase& p = run.*phase;
                                  return ratio(as_double(p.speculative_hits),
                                               as_double(p.speculative_hits + p.expert_misses));
                                }),
      .speculative_precision = per(&BenchPhase::speculative_hits, &BenchPhase::speculative_reads),
      .dependency_share = over(runs, [phase](const BenchRun& run) {
        const BenchPhase& p = run.*phase;
        return ratio(p.mixer_seconds + p.guess_seconds + p.router_seconds + p.output_seconds +
                         p.expert_bound_seconds,
                     p.seconds);
      })};
}

std::string describe_source(const BenchReport& report) {
  if (report.routing_trace.empty()) return report.token_source;
  return fmt::format("{}, routed as {} says", report.token_source, report.routing_trace);
}

std::string to_text(const BenchReport& report) {
  const BenchModel& model = report.model;
  const BenchCeilings& ceilings = report.ceilings;
  const BenchRun& run = report.budgets.front().runs.front();
  std::string text = fmt::format(
      "{}: {}, {} layers of {} experts of {}, top {}\n"
      "{} {}: {}; context {}, {}, {}, {} threads\n"
      "ceilings: memory {} ({} on {} of memory, {} on huge pages); disk {} ({} random reads of {}, "
      "{} in flight)\n",
      report.model_name, model.model_type, model.layer_count, model.num_experts,
      format_size(model.expert_bytes), model.num_experts_per_tok, report.repeat,
      report.repeat == 1 ? "run" : "runs in turns", describe_source(report), run.context,
      report.cold ? "page cache dropped, experts not in memory" : "warmed up", run.cpu_target,
      ceilings.memory_threads, format_rate(ceilings.memory_bytes_per_second),
      ceilings.memory_threads == 1 ? "1 thread"
                                   : fmt::format("{} threads", ceilings.memory_threads),
      format_size(ceilings.memory_size_bytes), format_size(ceilings.memory_huge_page_bytes),
      format_rate(ceilings.disk_bytes_per_second),
      ceilings.disk_is_direct ? "direct" : "page-cached", format_size(ceilings.disk_read_size),
      ceilings.disk_depth);
  text += fmt::format("\nprefill of {} tokens\n{}", report.prompt_tokens,
                      phase_table(report, &BenchRun::prefill));
  text += fmt::format("\ndecode of {} tokens after them\n{}", report.decode_tokens,
                      phase_table(report, &BenchRun::decode));
  return text + "\n" + budget_table(report);
}

nlohmann::ordered_json to_json(const BenchReport& report) {
  Json budgets = Json::array();
  for (const BenchBudget& budget : report.budgets) {
    Json runs = Json::array();
    for (const BenchRun& run : budget.runs) runs.push_back(Json(nlohmann::json(run)));
    const BenchRun& run = budget.runs.front();
    budgets.push_back(
        {{"budget_bytes", budget.budget_bytes},
         {"speculation", budget.speculation},
         {"expert_slots", run.expert_slots},
         {"expert_count", run.expert_count},
         {"context", run.context},
         {"prefill_chunk", run.prefill_chunk},
         {"cpu_target", run.cpu_target},
         {"io_backend", run.io_backend},
         {"peak_rss_bytes", peak_rss(budget).max},
         {"load_seconds", to_json(load_seconds(budget))},
         {"token_seconds_p50", to_json(token_seconds(budget, &BenchRun::token_seconds_p50))},
         {"token_seconds_p99", to_json(token_seconds(budget, &BenchRun::token_seconds_p99))},
         {"prefill", to_json(summarize(budget.runs, &BenchRun::prefill), report.ceilings)},
         {"decode", to_json(summarize(budget.runs, &BenchRun::decode), report.ceilings)},
         {"runs", std::move(runs)}});
  }
  Json json = {{"model_name", report.model_name},
               {"model", nlohmann::json(report.model)},
               {"ceilings", nlohmann::json(report.ceilings)},
               {"prompt_tokens", report.prompt_tokens},
               {"decode_tokens", report.decode_tokens},
               {"repeat", report.repeat},
               {"cold", report.cold},
               {"token_source", report.token_source},
               {"routing", report.routing_trace.empty() ? "model" : "replayed"},
               {"budgets", std::move(budgets)}};
  if (!report.routing_trace.empty()) json["routing_trace"] = report.routing_trace;
  return json;
}

}  // namespace flashmoe::cli
