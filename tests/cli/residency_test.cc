// `run --residency` and `--on-miss`: what is exact gives one text, what is not says so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "support/command.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

using ::testing::AllOf;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::Le;
using Json = nlohmann::json;

CommandResult run(std::vector<std::string> flags) {
  flags.insert(flags.begin(),
               {"run", sprout_folder().string(), "--raw", "--temperature", "0", "-p",
                "def add(a, b):", "--max-tokens", "24", "--ignore-eos", "--resident-set", "off"});
  return run_flash_moe(flags);
}

Json run_json(std::vector<std::string> flags) {
  flags.emplace_back("--json");
  const CommandResult result = run(std::move(flags));
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  return Json::parse(result.output, nullptr, /*allow_exceptions=*/false);
}

TEST(RunResidency, EveryModeThatReadsGivesTheSameText) {
  const Json exact = run_json({"--memory", "1GiB"});
  EXPECT_EQ(exact["statistics"]["residency"], "exact");
  EXPECT_EQ(exact["statistics"]["approximate"], false);
  for (const char* mode : {"exact", "lru", "lfu", "lcp", "lazy"}) {
    const Json other = run_json({"--residency", mode, "--capacity", "12", "--memory", "1GiB"});
    EXPECT_EQ(other["token_ids"], exact["token_ids"]) << mode;
    EXPECT_EQ(other["statistics"]["expert_slots"], 8 * 12) << mode;
    EXPECT_EQ(other["statistics"]["residency"], mode);
  }
}

TEST(RunResidency, LazyReadsEveryExpertOfEveryToken) {
  const Json lazy = run_json({"--residency", "lazy", "--memory", "1GiB"});
  EXPECT_EQ(lazy["statistics"]["expert_hits"], 0);
  EXPECT_EQ(lazy["statistics"]["speculative_reads"], 0);
}

TEST(RunResidency, ResidentReadsEveryExpertBeforeTheFirstToken) {
  const Json exact = run_json({"--memory", "1GiB"});
  const Json resident = run_json({"--residency", "resident", "--memory", "1GiB"});
  EXPECT_EQ(resident["token_ids"], exact["token_ids"]);
  EXPECT_EQ(resident["statistics"]["expert_misses"], 0);
  EXPECT_EQ(resident["statistics"]["expert_bytes_read"], 0);

  const CommandResult refused = run({"--residency", "resident", "--memory", "60MiB"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.errors, AllOf(HasSubstr("of 1024 experts fit"), HasSubstr("--memory")));
}

TEST(RunResidency, ApproximateOutputSaysHowMuchSo) {
  for (const char* rule : {"skip", "renormalise", "substitute"}) {
    const std::vector<std::string> flags = {"--residency", "lfu", "--capacity", "20",
                                            "--on-miss",   rule,  "--memory",   "1GiB"};
    const Json first = run_json(flags);
    const Json& statistics = first["statistics"];
    EXPECT_EQ(statistics["approximate"], true);
    EXPECT_EQ(statistics["routed_requests"], 23 * 8 * 8) << "the first token is the prompt's";
    EXPECT_GT(statistics["routed_fallbacks"], 0);
    EXPECT_EQ(statistics["routed_reads"], 0);
    EXPECT_THAT(statistics["replaced_weight_share"].get<double>(), AllOf(Gt(0), Le(1)));
    EXPECT_EQ(run_json(flags)["token_ids"], first["token_ids"]) << rule << ": once more";
    EXPECT_THAT(run(flags).errors, HasSubstr("approximate (--on-miss " + std::string(rule)));
  }
}

TEST(RunResidency, AQualityBudgetBoundsWhatIsReplaced) {
  const std::vector<std::string> flags = {"--residency", "lfu",       "--capacity",
                                          "20",          "--on-miss", "skip",
                                          "--memory",    "1GiB",      "--quality-budget"};
  const auto with = [&](const char* share) {
    std::vector<std::string> all = flags;
    all.emplace_back(share);
    return run_json(all);
  };
  const Json some = with("0.05");
  EXPECT_LE(some["statistics"]["replaced_weight_share"], 0.05);
  EXPECT_GT(some["statistics"]["routed_fallbacks"], 0);
  EXPECT_GT(some["statistics"]["routed_reads"], 0);
  EXPECT_EQ(with("0")["token_ids"], run_json({"--memory", "1GiB"})["token_ids"]) << "exact";
}

TEST(RunResidency, SeveralPromptsAreOneSessionThatChangesItsSubject) {
  const std::vector<std::string> flags = {"-p", "\nThe sea", "--capacity",
                                          "20", "--memory",  "1GiB"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), flags.begin(), flags.end());
    return run_json(more)["answers"];
  };
  const Json exact = with({});
  ASSERT_EQ(exact.size(), 2u);
  EXPECT_GT(exact[1]["statistics"]["prompt_tokens"], 1);
  for (const char* mode : {"predictive", "delta", "async-delta"}) {
    const Json read = with({"--residency", mode, "--on-miss", "read"});
    EXPECT_EQ(read[1]["token_ids"], exact[1]["token_ids"]) << mode;
    EXPECT_EQ(read[1]["statistics"]["approximate"], false);

    const Json stale = with({"--residency", mode});
    EXPECT_EQ(stale[0]["token_ids"][0], exact[0]["token_ids"][0]) << "read exactly";
    EXPECT_EQ(stale[1]["statistics"]["on_miss"], "stale");
    EXPECT_EQ(stale[1]["statistics"]["expert_misses"], 0) << "nothing is read";
    EXPECT_GT(stale[1]["statistics"]["fallback_rate"], 0);
    EXPECT_EQ(stale[0]["subject_switch"]["discovery_tokens"], 10);
    EXPECT_EQ(stale[1]["subject_switch"]["discovery_tokens"],
              std::string(mode) == "predictive" ? 0 : 10);
    EXPECT_EQ(stale[1]["subject_switch"]["tokens"].size(), 24u);
  }
  const Json held = with({"--residency", "async-delta", "--hold"});
  EXPECT_GT(held[1]["subject_switch"]["held_tokens"], 0);
  const Json restarted = with({"--residency", "async-delta", "--hold=restart"});
  EXPECT_EQ(restarted[1]["token_ids"], with({"--residency", "delta"})[1]["token_ids"]);
}

TEST(RunResidency, TheBudgetHoldsDuringEverySwitch) {
#ifdef FLASHMOE_SANITIZED
  GTEST_SKIP() << "a sanitizer's own memory counts as the process's";
#endif
  for (const char* mode : {"delta", "async-delta"}) {
    const Json answers = run_json({"-p", "\nThe sea", "-p", "\n春风", "--residency", mode,
                                   "--refresh-every", "8", "--memory", "60MiB"})["answers"];
    ASSERT_EQ(answers.size(), 3u);
    for (const Json& answer : answers) {
      EXPECT_LE(answer["statistics"]["peak_rss_bytes"].get<double>(), 60 * 1048576.0) << mode;
      EXPECT_GT(answer["subject_switch"]["swaps"], 0) << mode;
    }
  }
}

TEST(RunResidency, RefusesWhatMakesNoSense) {
  struct Case {
    std::vector<std::string> flags;
    const char* part;
  };
  const Case cases[] = {
      {{"--residency", "all"}, "--residency"},
      {{"--on-miss", "guess"}, "--on-miss"},
      {{"--on-miss", "skip"}, "choose --residency lfu, lru"},
      {{"--on-miss", "stale", "--residency", "lfu"}, "only a fixed set has places"},
      {{"--residency", "pinned"}, "--profile"},
      {{"--profile", "x"}, "--profile"},
      {{"--residency", "lfu", "--discovery-tokens", "5"}, "--discovery-tokens"},
      {{"--residency", "delta", "--hold"}, "async-delta"},
      {{"--residency", "delta", "--hold=later"}, "--hold"},
      {{"--residency", "async-delta", "--swap-seconds", "-1"}, "--swap-seconds"},
      {{"--residency", "lru", "--refresh-every", "5"}, "--refresh-every"},
      {{"--drop-caches-on-switch", "on"}, "--drop-caches-on-switch"},
      {{"--residency", "lazy", "--on-miss", "skip"}, "everything misses"},
      {{"--residency", "resident", "--capacity", "3"}, "--capacity"},
      {{"--capacity", "0"}, "--capacity"},
      {{"--capacity", "128"}, "a layer has 128"},
      {{"--quality-budget", "0.5"}, "--quality-budget"},
      {{"--residency", "lru", "--on-miss", "skip", "--quality-budget", "nan"},
       "not a number from 0 to 1"},
      {{"--residency", "lru", "--on-miss", "skip", "--miss-threshold", "1"}, "substitute"},
  };
  for (const Case& c : cases) {
    const CommandResult result = run(c.flags);
    EXPECT_EQ(result.exit_code, 2) << c.part;
    EXPECT_THAT(result.errors, HasSubstr(c.part));
    EXPECT_EQ(result.output, "");
  }
}

}  // namespace
}  // namespace flashmoe::testing
