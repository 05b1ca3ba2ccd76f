#ifndef FLASHMOE_CLI_BENCHMARK_REPORT_H_
#define FLASHMOE_CLI_BENCHMARK_REPORT_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "cli/benchmark.h"

namespace flashmoe::cli {

/// A figure over the runs of one budget.
struct Spread {
  double median = 0;
  double min = 0;
  double max = 0;
};

/// Of an even number of values the median is the mean of the two in the middle.
Spread spread_of(std::vector<double> values);

/// The figures of one phase at one budget: each is taken from every run, and the spread is over
/// runs.
struct PhaseSummary {
  Spread tokens_per_second;
  Spread memory_bytes_per_second;
  Spread disk_bytes_per_second;
  Spread reading_bytes_per_second;  // the same bytes over the time in which some were asked for
  Spread hit_rate;
  Spread memory_bytes_per_token;
  Spread disk_bytes_per_token;
  /// Our count of bytes read over the kernel's; 0 where the kernel counted none.
  Spread counted_share;
  // Shares of the phase's time; what is left are embedding, final norm and bookkeeping.
  Spread wait_share;
  Spread mixer_share;
  Spread router_share;
  Spread mlp_share;
  Spread output_share;
  Spread guess_share;
  /// Of the experts that had to be read, those that were read on a guess; of reads on a guess,
  /// those that came true.
  Spread speculative_share;
  Spread speculative_precision;
  /// What a step cannot go below with the reads it had, of its time: mixers, routers and output,
  /// and what MoE blocks are bound by (EngineStatistics::expert_bound_seconds).
  Spread dependency_share;
};

PhaseSummary summarize(std::span<const BenchRun> runs, BenchPhase BenchRun::*phase);

/// A budget with all its runs, in the order they were made.
struct BenchBudget {
  std::uint64_t budget_bytes = 0;
  bool speculation = true;
  std::vector<BenchRun> runs;
};

/// All that a benchmark found.
struct BenchReport {
  std::string model_name;  // its folder's
  BenchModel model;
  BenchCeilings ceilings;
  std::uint64_t prompt_tokens = 0;
  std::uint64_t decode_tokens = 0;
  std::uint64_t repeat = 0;
  bool cold = true;
  std::string token_source;   // "random ids of seed 0", "text FILE"
  std::string routing_trace;  // "FILE:ENTRY", or "" where the routers decided
  std::vector<BenchBudget> budgets;
};

/// Where tokens and routing came from, for captions.
std::string describe_source(const BenchReport& report);

/// Tables for a terminal.
std::string to_text(const BenchReport& report);

/// Medians and spreads, and every run. docs/benchmarks.md names the fields.
nlohmann::ordered_json to_json(const BenchReport& report);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_BENCHMARK_REPORT_H_
