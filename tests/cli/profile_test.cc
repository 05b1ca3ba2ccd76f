// `flash-moe profile`: made from text and traces, merged, looked at, compared, and used.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/testing/temporary_folder.h"
#include "support/command.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

class Profile : public ::testing::Test {
 protected:
  std::string path(const char* name) const { return (folder_ / name).string(); }
  CommandResult make(const char* name, std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"profile", "make", model_, "-o", path(name)});
    return run_flash_moe(flags);
  }
  static Json json(std::vector<std::string> command) {
    command.emplace_back("--json");
    const CommandResult result = run_flash_moe(command);
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    return Json::parse(result.output, nullptr, /*allow_exceptions=*/false);
  }

  TemporaryFolder folder_;
  const std::string model_ = sprout_folder().string();
  const std::string traces_ = (sprout_folder() / "routing_traces.safetensors").string();
};

TEST_F(Profile, CountsPromptsAndTraces) {
  const CommandResult made = make(
      "code", {"-p", "def add(a, b):", "-p", "import os", "--max-tokens", "9", "--memory", "1GiB"});
  ASSERT_EQ(made.exit_code, 0) << made.errors;
  const Json code = json({"profile", "inspect", path("code")});
  EXPECT_EQ(code["layers"].size(), 8u);
  // The last token of each answer is picked and never read.
  const CommandResult ids = run_flash_moe({"tokenize", model_, "-p", "def add(a, b):"});
  EXPECT_GT(code["tokens"], 2 * 8 + 2);

  ASSERT_EQ(make("zh", {"--trace", traces_ + ":chinese"}).exit_code, 0);
  const Json zh = json({"profile", "inspect", path("zh")});
  EXPECT_EQ(zh["tokens"], 4096);
  EXPECT_EQ(zh["model"], code["model"]);

  ASSERT_EQ(
      run_flash_moe({"profile", "merge", path("code"), path("zh"), "-o", path("both")}).exit_code,
      0);
  EXPECT_EQ(json({"profile", "inspect", path("both")})["tokens"], code["tokens"].get<int>() + 4096);

  const Json same = json({"profile", "compare", path("zh"), path("zh"), "--top", "128"});
  EXPECT_NEAR(same["cosine"].get<double>(), 1, 1e-9);
  EXPECT_EQ(same["second_served_by_first"], 1);
  const Json apart = json({"profile", "compare", path("code"), path("zh")});
  EXPECT_EQ(apart["top"], 48);
  EXPECT_LT(apart["cosine"], 0.9);
}

TEST_F(Profile, PinsWhatARunKeeps) {
  ASSERT_EQ(make("zh", {"--trace", traces_ + ":chinese"}).exit_code, 0);
  const auto run = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(),
                 {"run", model_, "--raw", "--temperature", "0", "-p", "The sea", "--max-tokens",
                  "12", "--memory", "1GiB", "--resident-set", "off"});
    return json(flags);
  };
  const Json exact = run({});
  const Json pinned =
      run({"--residency", "pinned", "--profile", path("zh"), "--capacity", "20", "--pinned", "15"});
  EXPECT_EQ(pinned["token_ids"], exact["token_ids"]);
  EXPECT_EQ(pinned["statistics"]["approximate"], false);
}

TEST_F(Profile, RefusesWhatIsNone) {
  const CommandResult nothing = make("none", {});
  EXPECT_EQ(nothing.exit_code, 2);
  EXPECT_THAT(nothing.errors, HasSubstr("--prompt-file"));
  const CommandResult missing = run_flash_moe({"profile", "inspect", path("none")});
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_THAT(missing.errors, HasSubstr(path("none")));
  const CommandResult other = run_flash_moe({"profile", "inspect", traces_});
  EXPECT_EQ(other.exit_code, 1);
  EXPECT_THAT(other.errors, HasSubstr("no expert profile"));
  EXPECT_FALSE(std::filesystem::exists(path("none")));
}

TEST_F(Profile, PinsInReplays) {
  ASSERT_EQ(make("zh", {"--trace", traces_ + ":chinese"}).exit_code, 0);
  const auto rate = [&](std::vector<std::string> policy) {
    std::vector<std::string> arguments = {"trace", "replay", traces_ + ":chinese", "--slots",
                                          "120"};
    arguments.insert(arguments.end(), policy.begin(), policy.end());
    return json(arguments)["replays"][0];
  };
  const Json adaptive = rate({"--policy", "lfu", "--json"});
  const Json pinned = rate({"--policy", "pinned", "--profile", path("zh"), "--json"});
  EXPECT_GT(pinned["hit_rate"], adaptive["hit_rate"]) << "they are here from the start";
  // All slots but those that a token's misses pass through.
  const Json most =
      rate({"--policy", "pinned", "--profile", path("zh"), "--pinned", "120", "--json"});
  EXPECT_NE(most["hit_rate"], pinned["hit_rate"]);

  const CommandResult unnamed = run_flash_moe(
      {"trace", "replay", traces_ + ":chinese", "--slots", "32", "--policy", "pinned"});
  EXPECT_EQ(unnamed.exit_code, 2);
  EXPECT_THAT(unnamed.errors, HasSubstr("--profile FILE"));
  ASSERT_EQ(run_flash_moe({"trace", "generate", path("other"), "--layers", "3", "--tokens", "64"})
                .exit_code,
            0);
  const CommandResult other = run_flash_moe({"trace", "replay", path("other"), "--slots", "32",
                                             "--policy", "pinned", "--profile", path("zh")});
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_THAT(other.errors, HasSubstr("the trace has 3"));
}

}  // namespace
}  // namespace flashmoe::testing
