#include "cli/benchmark_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace flashmoe::cli {
namespace {

using ::testing::HasSubstr;

BenchRun run_of(double seconds) {
  BenchRun run = {.budget_bytes = 1 << 20,
                  .expert_slots = 3,
                  .expert_count = 12,
                  .peak_rss_bytes = 1000,
                  .cpu_target = "abacus",
                  .io_backend = "pread"};
  run.prefill = {
      .tokens = 100, .steps = 1, .seconds = seconds, .expert_hits = 3, .expert_misses = 1};
  run.decode = {.tokens = 10,
                .steps = 10,
                .seconds = seconds,
                .expert_hits = 0,
                .expert_misses = 0,
                .bytes_read = 5000,
                .storage_bytes_read = 10000,
                .memory_bytes = 40000,
                .wait_seconds = seconds / 4,
                .mixer_seconds = seconds / 8,
                .router_seconds = seconds / 16,
                .output_seconds = seconds / 16,
                .expert_reading_seconds = seconds / 2,
                .expert_bound_seconds = seconds / 4};
  return run;
}

TEST(BenchReport, SpreadIsOverSortedValues) {
  const Spread odd = spread_of({5, 1, 3});
  EXPECT_EQ(odd.median, 3);
  EXPECT_EQ(odd.min, 1);
  EXPECT_EQ(odd.max, 5);
  EXPECT_EQ(spread_of({4, 1, 2, 9}).median, 3);
  EXPECT_EQ(spread_of({}).median, 0);
}

TEST(BenchReport, SummarizesFiguresOfRuns) {
  const std::vector<BenchRun> runs = {run_of(2), run_of(4), run_of(1)};
  const PhaseSummary decode = summarize(runs, &BenchRun::decode);
  EXPECT_EQ(decode.tokens_per_second.median, 5);
  EXPECT_EQ(decode.tokens_per_second.min, 2.5);
  EXPECT_EQ(decode.tokens_per_second.max, 10);
  EXPECT_EQ(decode.memory_bytes_per_second.median, 20000);
  EXPECT_EQ(decode.disk_bytes_per_token.median, 500);
  EXPECT_EQ(decode.counted_share.median, 0.5);
  EXPECT_EQ(decode.wait_share.max, 0.25);
  EXPECT_EQ(decode.reading_bytes_per_second.median, 5000);
  EXPECT_EQ(decode.dependency_share.median, 0.5);
  EXPECT_EQ(decode.hit_rate.median, 0);
  EXPECT_EQ(summarize(runs, &BenchRun::prefill).hit_rate.median, 0.75);
  EXPECT_EQ(summarize(runs, &BenchRun::prefill).counted_share.median, 0);
}

TEST(BenchReport, RunsSurviveTheWayThroughJson) {
  const BenchRun run = run_of(2);
  const BenchRun copy = nlohmann::json::parse(nlohmann::json(run).dump()).get<BenchRun>();
  EXPECT_EQ(nlohmann::json(copy), nlohmann::json(run));
}

TEST(BenchReport, PutsCeilingsBesideFigures) {
  BenchReport report;
  report.model_name = "m";
  report.ceilings.memory_threads = 1;
  report.ceilings.memory_bytes_per_second = 40000;
  report.ceilings.disk_bytes_per_second = 5000;
  report.repeat = 1;
  report.token_source = "text of t";
  report.budgets = {{.budget_bytes = 1 << 20, .runs = {run_of(2)}}};
  const std::string text = to_text(report);
  EXPECT_THAT(text, HasSubstr("1 run: text of t"));
  EXPECT_THAT(text, HasSubstr("3 of 12"));
  const nlohmann::ordered_json json = to_json(report);
  EXPECT_EQ(json["budgets"][0]["decode"]["memory_share_of_ceiling"], 0.5);
  EXPECT_EQ(json["budgets"][0]["decode"]["disk_share_of_ceiling"], 0.5);
  EXPECT_EQ(json["budgets"][0]["runs"][0]["decode"]["bytes_read"], 5000);
}

}  // namespace
}  // namespace flashmoe::cli
