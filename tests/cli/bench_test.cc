// The command `bench` as users see it. No figure is compared with a clock.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/testing/temporary_folder.h"
#include "support/command.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

std::vector<std::string> bench_sprout(std::vector<std::string> more,
                                      const std::string& prompt_tokens = "20",
                                      const std::string& repeat = "2") {
  std::vector<std::string> arguments = {
      "bench",       sprout_folder().string(), "--context", "128",      "--prompt-tokens",
      prompt_tokens, "--decode-tokens",        "6",         "--repeat", repeat};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

TEST(Bench, TakesItsRoutingFromATrace) {
  const TemporaryFolder folder;
  const std::string trace = folder.path() / "once.safetensors";
  const CommandResult recorded =
      run_flash_moe({"run", sprout_folder().string(), "-p", "Once upon a time", "--max-tokens", "8",
                     "--context", "64", "--record-trace", trace});
  ASSERT_EQ(recorded.exit_code, 0) << recorded.errors;
  const CommandResult result =
      run_flash_moe(bench_sprout({"--memory", "45MiB", "--routing-trace", trace, "--json"}));
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const Json json = Json::parse(result.output);
  EXPECT_EQ(json["routing"], "replayed");
  EXPECT_EQ(json["routing_trace"], "once.safetensors");
  const CommandResult absent =
      run_flash_moe(bench_sprout({"--memory", "45MiB", "--routing-trace", "/nonexistent"}));
  EXPECT_NE(absent.exit_code, 0);
  EXPECT_THAT(absent.errors, HasSubstr("/nonexistent"));
}

TEST(Bench, MeasuresEachBudget) {
  const TemporaryFolder folder;
  const std::string svg_path = folder.path() / "plot.svg";
  const CommandResult result =
      run_flash_moe(bench_sprout({"--memory", "45MiB,1GiB", "--threads", "2", "--speculation",
                                  "off", "--json", "--svg", svg_path}));
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const Json json = Json::parse(result.output);
  EXPECT_EQ(json["model_name"], "sprout-89m-4bit");
  EXPECT_EQ(json["routing"], "model");
  EXPECT_EQ(json["model"]["num_experts"], 128);
  EXPECT_EQ(json["model"]["expert_bytes"], 41472);
  EXPECT_GT(json["ceilings"]["memory_bytes_per_second"], 0);
  EXPECT_GT(json["ceilings"]["disk_bytes_per_second"], 0);
  EXPECT_EQ(json["ceilings"]["memory_threads"], 2);
  EXPECT_EQ(json["ceilings"]["disk_depth"], 8);
  EXPECT_EQ(json["cold"], true);
  ASSERT_EQ(json["budgets"].size(), 2u);
  EXPECT_EQ(json["budgets"][0]["budget_bytes"], 45 << 20);
  for (const Json& budget : json["budgets"]) {
    ASSERT_EQ(budget["runs"].size(), 2u);
    EXPECT_EQ(budget["context"], 128);
    for (const Json& run : budget["runs"]) {
      EXPECT_EQ(run["prefill"]["tokens"], 20);
      EXPECT_EQ(run["decode"]["tokens"], 6);
      EXPECT_EQ(run["decode"]["steps"], 6);
      // A token routes 8 experts in each of 8 layers.
      EXPECT_EQ(run["decode"]["expert_hits"].get<int>() + run["decode"]["expert_misses"].get<int>(),
                6 * 8 * 8);
      EXPECT_GT(run["decode"]["memory_bytes"], 6 * 8 * 8 * 41472);
      EXPECT_GE(run["decode"]["bytes_read"],
                run["decode"]["expert_misses"].get<std::uint64_t>() * 41472);
      double parts = 0;
      for (const char* part :
           {"wait_seconds", "mixer_seconds", "router_seconds", "mlp_seconds", "output_seconds"}) {
        EXPECT_GE(run["decode"][part], 0) << part;
        parts += run["decode"][part].get<double>();
      }
      EXPECT_LE(parts, run["decode"]["seconds"]);
      EXPECT_GE(run["decode"]["expert_reading_seconds"], run["decode"]["wait_seconds"]);
      EXPECT_LE(
          run["decode"]["expert_bound_seconds"].get<double>(),
          run["decode"]["mlp_seconds"].get<double>() + run["decode"]["wait_seconds"].get<double>());
      EXPECT_GT(run["decode"]["expert_bound_seconds"],
                run["decode"]["expert_reading_seconds"].get<double>());
    }
    const Json& speed = budget["decode"]["tokens_per_second"];
    EXPECT_LE(speed["min"], speed["median"]);
    EXPECT_LE(speed["median"], speed["max"]);
    // The runs of one budget do the same work.
    EXPECT_EQ(budget["runs"][0]["decode"]["expert_misses"],
              budget["runs"][1]["decode"]["expert_misses"]);
  }
  EXPECT_LT(json["budgets"][0]["expert_slots"], json["budgets"][1]["expert_slots"]);
  // Budgets take turns, so the last small run came after a large one.
  EXPECT_LT(json["budgets"][0]["peak_rss_bytes"], json["budgets"][1]["peak_rss_bytes"]);

  std::stringstream svg;
  svg << std::ifstream(svg_path).rdbuf();
  EXPECT_THAT(svg.str(), HasSubstr("<svg xmlns"));
  EXPECT_THAT(svg.str(), HasSubstr("</svg>"));
}

TEST(Bench, ComparesSpeculativeReadsWithNone) {
  const CommandResult json_result =
      run_flash_moe(bench_sprout({"--memory", "45MiB", "--speculation", "both", "--json"}));
  ASSERT_EQ(json_result.exit_code, 0) << json_result.errors;
  const Json budgets = Json::parse(json_result.output)["budgets"];
  ASSERT_EQ(budgets.size(), 2u);
  EXPECT_EQ(budgets[0]["speculation"], false);
  EXPECT_EQ(budgets[1]["speculation"], true);
  for (const Json& run : budgets[0]["runs"]) {
    EXPECT_EQ(run["decode"]["speculative_reads"], 0);
    EXPECT_EQ(run["decode"]["guess_seconds"], 0);
    EXPECT_EQ(run["prefill"]["speculative_reads"], 0);
  }
  for (const Json& run : budgets[1]["runs"]) {
    EXPECT_GE(run["decode"]["speculative_reads"], run["decode"]["speculative_hits"]);
    EXPECT_GT(run["decode"]["guess_seconds"], 0);
    EXPECT_GT(run["prefill"]["guess_seconds"], 0);
  }
  const CommandResult text =
      run_flash_moe(bench_sprout({"--memory", "45MiB", "--speculation", "both"}));
  EXPECT_THAT(text.output, HasSubstr("ahead"));
  EXPECT_THAT(text.output, HasSubstr(" off "));
  EXPECT_NE(run_flash_moe(bench_sprout({"--speculation", "maybe"})).exit_code, 0);
}

TEST(Bench, PrintsTablesForTextWarmedUp) {
  const TemporaryFolder folder;
  std::string words;
  for (int i = 0; i < 200; ++i) words += "Once upon a time there was a river. ";
  const std::string text = folder.write("river.txt", words);
  const CommandResult result =
      run_flash_moe(bench_sprout({"--memory", "1GiB", "--warm", "--text-file", text}));
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  for (const char* expected : {"text of river.txt", "warmed up", "ceilings: memory",
                               "prefill of 20 tokens", "decode of 6 tokens", "peak RSS"}) {
    EXPECT_THAT(result.output, HasSubstr(expected));
  }
}

TEST(Bench, ChoosesBudgetsItself) {
  const CommandResult result = run_flash_moe(bench_sprout({"--json"}, "20", "1"));
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const Json json = Json::parse(result.output);
  EXPECT_EQ(json["budgets"][0]["budget_bytes"], json["model"]["budget_bytes_min"]);
  EXPECT_EQ(json["budgets"][0]["expert_slots"], 8);
}

TEST(Bench, FailsWithAMessage) {
  const CommandResult little = run_flash_moe(bench_sprout({"--memory", "1MiB"}));
  EXPECT_EQ(little.exit_code, 1);
  EXPECT_THAT(little.errors, HasSubstr("1 MiB is too little"));
  const CommandResult context = run_flash_moe(bench_sprout({}, "123"));
  EXPECT_EQ(context.exit_code, 2);
  EXPECT_THAT(context.errors, HasSubstr("--context"));
  const TemporaryFolder folder;
  const std::string ids = folder.write("ids.txt", "1 2 3");
  const CommandResult few = run_flash_moe(bench_sprout({"--ids-file", ids}));
  EXPECT_EQ(few.exit_code, 2);
  EXPECT_THAT(few.errors, HasSubstr("ids.txt has 3 tokens, 26 are needed"));
  EXPECT_EQ(run_flash_moe({"bench", "/nonexistent"}).exit_code, 1);
  EXPECT_EQ(run_flash_moe(bench_sprout({"--ids-file", ids, "--seed", "1"})).exit_code, 2);
}

}  // namespace
}  // namespace flashmoe::testing
