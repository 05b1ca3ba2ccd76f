// `flash-moe validate`, end to end at a small size.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "base/testing/temporary_folder.h"
#include "support/command.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The rows of an experiment's table.
Json rows(const Json& report, int number, std::size_t table = 0) {
  for (const Json& experiment : report["experiments"]) {
    if (experiment["number"] == number) return experiment["tables"][table]["rows"];
  }
  return Json::array();
}

TEST(Validate, RunsEveryExperimentAndJudgesEveryClaim) {
  const TemporaryFolder folder;
  const std::string out = (folder / "report").string();
  const CommandResult result = run_flash_moe(
      {"validate", sprout_folder().string(), "--quick", "--memory", "1GiB", "--out", out});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_THAT(result.output, HasSubstr("index.html"));
  const Json report = Json::parse(read(folder / "report" / "report.json"));
  ASSERT_EQ(report["experiments"].size(), 10u);
  ASSERT_EQ(report["claims"].size(), 10u);
  for (const Json& experiment : report["experiments"]) {
    EXPECT_FALSE(experiment["tables"].empty()) << experiment["number"];
    for (const Json& table : experiment["tables"]) EXPECT_FALSE(table["rows"].empty());
  }

  // The exact mode is the resident one, and says so by 0; smaller sets are further from it.
  for (const Json& row : rows(report, 3)) {
    if (row["mode"] != "exact") continue;
    EXPECT_EQ(row["divergence"], 0) << row["prompt"];
    EXPECT_EQ(row["agreement"], 1);
    EXPECT_EQ(row["fallback"], 0);
  }
  for (const Json& row : rows(report, 3, 1)) EXPECT_EQ(row["identical"], row["prompts"]);
  EXPECT_EQ(rows(report, 2, 1).back()["divergence"], 0) << "exact";
  EXPECT_GT(rows(report, 2, 1)[0]["divergence"], rows(report, 2, 1)[1]["divergence"]);
  const Json sweep = rows(report, 2);
  ASSERT_EQ(sweep.size(), 4u);
  EXPECT_GT(sweep[0]["fallback"], sweep[2]["fallback"]);
  EXPECT_GT(sweep[0]["divergence"], 0);
  EXPECT_EQ(sweep[0]["divergence"], sweep[1]["divergence"]) << "caches dropped";
  for (const Json& row : rows(report, 9)) {
    const bool is_exact = row["mode"] != "predictive" && row["mode"] != "predictive, refreshed";
    if (is_exact) EXPECT_EQ(row["identical"], true) << row["mode"];
  }
  EXPECT_THAT(report["claims"][0].dump(), HasSubstr("refuted"));

  const std::string html = read(folder / "report" / "index.html");
  EXPECT_THAT(html, HasSubstr("</html>"));
  EXPECT_THAT(html, HasSubstr("<polyline"));
  EXPECT_THAT(read(folder / "report" / "report.md"), HasSubstr("## Verdicts"));
}

TEST(Validate, RefusesWhatItCannotDo) {
  const TemporaryFolder folder;
  const std::string model = sprout_folder().string();
  EXPECT_EQ(run_flash_moe({"validate", model}).exit_code, 2);
  EXPECT_EQ(run_flash_moe({"validate", model, "--out", "x", "--suite", "11"}).exit_code, 2);
  const CommandResult absent =
      run_flash_moe({"validate", (folder / "none").string(), "--out", (folder / "out").string()});
  EXPECT_EQ(absent.exit_code, 1);
  EXPECT_THAT(absent.errors, HasSubstr("none"));
  EXPECT_FALSE(std::filesystem::exists(folder / "out"));
  std::ofstream(folder / "file") << "here";
  const CommandResult occupied =
      run_flash_moe({"validate", model, "--quick", "--suite", "5", "--memory", "1GiB", "--out",
                     (folder / "file").string()});
  EXPECT_EQ(occupied.exit_code, 1);
  EXPECT_EQ(read(folder / "file"), "here");
}

}  // namespace
}  // namespace flashmoe::testing
