// The command `trace`, and recording and replaying with `run` and `eval`, as users see them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "base/testing/repository.h"
#include "base/testing/temporary_folder.h"
#include "support/command.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

class Trace : public ::testing::Test {
 protected:
  std::string path(const char* name) const { return (folder_ / name).string(); }
  static Json json(const CommandResult& result) {
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    return Json::parse(result.output, nullptr, /*allow_exceptions=*/false);
  }
  Json info(const std::string& trace) {
    return json(run_flash_moe({"trace", "info", trace, "--json"}))["traces"][0];
  }
  void generate() {
    const CommandResult result =
        run_flash_moe({"trace", "generate", path("g"), "--layers", "8", "--experts", "128",
                       "--top-k", "8", "--tokens", "700", "--switch", "400"});
    ASSERT_EQ(result.exit_code, 0) << result.errors;
  }

  const std::string model_ = sprout_folder().string();
  TemporaryFolder folder_;
};

TEST_F(Trace, IsRecordedByRunAndEval) {
  const CommandResult run =
      run_flash_moe({"run", model_, "--raw", "-p", "Once upon a time", "--max-tokens", "4",
                     "--ignore-eos", "--json", "--record-trace", path("t")});
  const Json statistics = json(run)["statistics"];
  EXPECT_EQ(statistics["routing"], "model");
  const Json recorded = info(path("t"));
  EXPECT_EQ(recorded["layers"], 8);
  EXPECT_EQ(recorded["tokens"], statistics["prompt_tokens"].get<int>() + 3);
  EXPECT_EQ(recorded["num_experts"][0], 128);
  EXPECT_EQ(recorded["weights"], true);

  std::ofstream(path("ids")) << "5 6 7 8 9 10 11";
  ASSERT_EQ(run_flash_moe({"eval", model_, "--ids-file", path("ids"), "--context", "4",
                           "--record-trace", path("t")})
                .exit_code,
            0);
  EXPECT_EQ(info(path("t"))["tokens"], 7);
  EXPECT_EQ(info(path("t"))["sequences"], 2);
}

TEST_F(Trace, IsWrittenWhenTheRunFails) {
  const std::string command = "FLASHMOE_PRESETS=off " + program_path().string() + " run " + model_ +
                              " --raw -p Once --max-tokens 4 --resident-set off --record-trace " +
                              path("t") + " > /dev/full 2> " + path("errors");
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  EXPECT_NE(std::system(command.c_str()), 0);
  EXPECT_GE(info(path("t"))["tokens"].get<int>(), 1);
}

TEST_F(Trace, IsWrittenAfterCtrlC) {
  int out[2];
  ASSERT_EQ(pipe(out), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    dup2(out[1], STDOUT_FILENO);
    close(out[0]);
    close(out[1]);
    const std::string file = path("t");
    execl(program_path().c_str(), "flash-moe", "run", model_.c_str(), "-p", "Once upon a time",
          "--ignore-eos", "--context", "4096", "--max-tokens", "4000", "--resident-set", "off",
          "--record-trace", file.c_str(), nullptr);
    _exit(127);
  }
  close(out[1]);
  char buffer[256];
  ASSERT_GT(read(out[0], buffer, 1), 0);  // the text has begun
  kill(child, SIGINT);
  while (read(out[0], buffer, sizeof(buffer)) > 0) {
  }
  close(out[0]);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
  const int tokens = info(path("t"))["tokens"].get<int>();
  EXPECT_GE(tokens, 4);
  EXPECT_LT(tokens, 4000);
}

TEST_F(Trace, DrivesARunThatSaysSo) {
  generate();
  const std::vector<std::string> arguments = {
      "run", model_,         "--raw",           "-p",     "Once", "--max-tokens",
      "4",   "--ignore-eos", "--routing-trace", path("g")};
  const CommandResult text = run_flash_moe(arguments);
  EXPECT_EQ(text.exit_code, 0);
  EXPECT_THAT(text.errors, HasSubstr("routing was replayed from " + path("g")));
  std::vector<std::string> with_json = arguments;
  with_json.push_back("--json");
  const Json statistics = json(run_flash_moe(with_json))["statistics"];
  EXPECT_EQ(statistics["routing"], "replayed");
  EXPECT_EQ(statistics["routing_trace"], path("g"));
}

TEST_F(Trace, InfoPrintsWhatItMeasures) {
  generate();
  const CommandResult text = run_flash_moe({"trace", "info", path("g")});
  EXPECT_EQ(text.exit_code, 0) << text.errors;
  for (const char* expected : {"routing: 8 layers x 700 tokens x 8 experts of 128", "LRU",
                               "routed again by the next token: 4", "after a change"}) {
    EXPECT_THAT(text.output, HasSubstr(expected));
  }
  const Json json = info(path("g"));
  EXPECT_EQ(json["missing_after_switch"].size(), 5u);
  EXPECT_NEAR(json["lru_hit_rate_steady"][0]["hit_rate"].get<double>(), 0.67, 0.05);
  EXPECT_EQ(json["lru_hit_rate_steady"][0]["slots_per_layer"], 16);
}

TEST_F(Trace, ReplayComparesPolicies) {
  generate();
  const CommandResult result = run_flash_moe(
      {"trace", "replay", path("g"), "--policy", "lru,lfu,belady", "--slots", "16,48", "--json"});
  const Json rows = json(result)["replays"];
  ASSERT_EQ(rows.size(), 6u);
  EXPECT_EQ(rows[0]["policy"], "lru");
  EXPECT_EQ(rows[0]["slots_per_layer"], 16);
  EXPECT_EQ(rows[0]["lookups"], 8 * 700 * 8);
  for (const std::size_t best : {2, 5}) {
    EXPECT_GT(rows[best]["hit_rate"], rows[best - 1]["hit_rate"]);
    EXPECT_GT(rows[best]["hit_rate_steady"], rows[best - 2]["hit_rate_steady"]);
  }
  const CommandResult text = run_flash_moe({"trace", "replay", path("g"), "--slots", "16"});
  EXPECT_THAT(text.output, HasSubstr("lfu"));
}

TEST_F(Trace, ComparesAndRecommends) {
  generate();
  const Json compared = json(
      run_flash_moe({"trace", "compare", path("g"), "--slots", "16,48", "--model", model_, "--disk",
                     "1GB", "--memory-rate", "20GB", "--switch-at", "350", "--json"}))["rows"];
  ASSERT_EQ(compared.size(), 12u);
  for (const Json& row : compared) {
    if (row["approximate"].get<bool>()) continue;
    EXPECT_LE(row["misses_of_bound"], row["misses"]) << row["policy"];
    EXPECT_LE(row["tokens_per_second_in_turn"], row["tokens_per_second_overlapped"]);
  }
  EXPECT_LE(compared[4]["hit_rate"], compared[5]["hit_rate"]) << "delta follows the subject";
  const Json tuned =
      json(run_flash_moe({"trace", "autotune", path("g"), "--model", model_, "--disk", "1GB",
                          "--memory-rate", "20GB", "--memory", "48MiB,64MiB,200MiB", "--json"}));
  EXPECT_EQ(tuned["budgets"].size(), 3u);
  EXPECT_LE(tuned["recommended"]["budget_bytes"], 200 << 20);
  EXPECT_EQ(run_flash_moe({"trace", "autotune", path("g"), "--model", model_, "--disk", "1GB",
                           "--memory-rate", "20GB", "--memory", "1MiB"})
                .exit_code,
            1);
  EXPECT_EQ(
      run_flash_moe({"trace", "compare", path("g"), "--slots", "16", "--disk", "1GB"}).exit_code,
      2);
}

TEST_F(Trace, FailsWithAMessage) {
  const CommandResult absent = run_flash_moe({"trace", "info", path("absent")});
  EXPECT_EQ(absent.exit_code, 1);
  EXPECT_THAT(absent.errors, HasSubstr(path("absent")));
  EXPECT_EQ(run_flash_moe({"trace", "generate", path("x"), "--experts", "20"}).exit_code, 2);
  generate();
  EXPECT_EQ(
      run_flash_moe({"trace", "replay", path("g"), "--policy", "magic", "--slots", "16"}).exit_code,
      2);
  const CommandResult unwritable = run_flash_moe(
      {"run", model_, "-p", "Once", "--record-trace", path("absent/t"), "--max-tokens", "1"});
  EXPECT_EQ(unwritable.exit_code, 1);
  EXPECT_THAT(unwritable.errors, HasSubstr("record routing"));
  EXPECT_THAT(unwritable.output, Not(HasSubstr("Once")));
}

}  // namespace
}  // namespace flashmoe::testing
