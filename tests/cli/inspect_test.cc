// The commands `inspect` and `doctor` as users see them: the program itself, its output and its
// exit codes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "base/budget_text.h"
#include "base/testing/temporary_folder.h"
#include "support/command.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using Json = nlohmann::json;

TEST(Inspect, PrintsTheTablesOfTheShippedModel) {
  const CommandResult result = run_flash_moe({"inspect", sprout_folder().string()});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  for (const char* expected :
       {"qwen3_next, 89.2 M parameters", "8: 2 full attention, 6 gated DeltaNet", "routed_experts",
        "affine 4-bit g64", "one routed expert: 40.5 KiB", "smallest budget for a context of 4096",
        "every expert stays in memory"}) {
    EXPECT_THAT(result.output, HasSubstr(expected));
  }
}

TEST(Inspect, GivesTheSameAsJson) {
  const CommandResult result =
      run_flash_moe({"inspect", sprout_folder().string(), "--json", "--tensors", "--memory",
                     "1MiB,64MiB", "--context", "128"});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const Json json = Json::parse(result.output);
  EXPECT_EQ(json["architecture"]["num_experts"], 128);
  EXPECT_EQ(json["context"], 128);
  EXPECT_EQ(json["expert"]["size_bytes"], 41472);
  std::uint64_t parts = 0;
  for (const char* part : {"process_bytes", "dense_bytes", "kv_bytes", "recurrent_bytes",
                           "buffer_bytes", "expert_bytes"}) {
    parts += json["minimum"][part].get<std::uint64_t>();
  }
  EXPECT_EQ(parts, json["budget_bytes_min"].get<std::uint64_t>());
  EXPECT_EQ(json["request_bytes_min"], (12 << 20) + 128 * 128);
  EXPECT_EQ(json["budgets"][0]["budget_bytes"], 1 << 20);
  EXPECT_EQ(json["budgets"][0]["works"], false);
  EXPECT_EQ(json["budgets"].back()["experts_per_layer"], 128.0);
  std::uint64_t groups = 0;
  for (const Json& group : json["groups"]) groups += group["tensor_count"].get<std::uint64_t>();
  EXPECT_EQ(groups, json["tensors"].size());
}

TEST(Inspect, ShowsThePrecisionOfKeysAndValues) {
  const CommandResult text =
      run_flash_moe({"inspect", sprout_folder().string(), "--context", "128", "--kv", "int8"});
  ASSERT_EQ(text.exit_code, 0) << text.errors;
  EXPECT_THAT(text.output, HasSubstr("KV cache in int8, 576 B per token"));
  const CommandResult json = run_flash_moe(
      {"inspect", sprout_folder().string(), "--json", "--context", "128", "--kv", "bf16"});
  EXPECT_EQ(Json::parse(json.output)["kv_precision"], "bf16");
  EXPECT_EQ(Json::parse(json.output)["kv_bytes_per_token"], 1024);
  const CommandResult wrong = run_flash_moe({"inspect", sprout_folder().string(), "--kv", "f16"});
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.errors, HasSubstr("'f16' is not one of f32, bf16, int8"));
}

/// The smallest budget that `inspect` prints for the shipped model and a context of 64.
std::uint64_t smallest_budget() {
  const CommandResult inspected =
      run_flash_moe({"inspect", sprout_folder().string(), "--json", "--context", "64"});
  if (inspected.exit_code != 0) throw std::runtime_error(inspected.errors);
  return Json::parse(inspected.output)["budget_bytes_min"].get<std::uint64_t>();
}

CommandResult run_within(std::uint64_t budget) {
  return run_flash_moe({"run", sprout_folder().string(), "--json", "--context", "64",
                        "--max-tokens", "4", "-p", "Once", "--memory", std::to_string(budget)});
}

// What inspect promises, run keeps; a byte less is refused with a budget to use.
TEST(Inspect, PrintsTheSmallestBudgetThatRuns) {
  const std::uint64_t least = smallest_budget();
  const CommandResult works = run_within(least);
  ASSERT_EQ(works.exit_code, 0) << works.errors;
  EXPECT_EQ(Json::parse(works.output)["statistics"]["expert_slots"], 8);
  const CommandResult refused = run_within(least - 1);
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.errors, HasSubstr("that works is " + budget_text(least)));
}

TEST(Inspect, PrintsABudgetThatARunStaysWithin) {
#ifdef FLASHMOE_SANITIZED
  GTEST_SKIP() << "a sanitizer's own memory counts as the process's";
#endif
  const std::uint64_t least = smallest_budget();
  const CommandResult works = run_within(least);
  ASSERT_EQ(works.exit_code, 0) << works.errors;
  const Json statistics = Json::parse(works.output)["statistics"];
  EXPECT_LE(statistics["peak_rss_bytes"].get<std::uint64_t>(), least);
}

TEST(Inspect, FailsWithAMessage) {
  const CommandResult absent = run_flash_moe({"inspect", "/nonexistent"});
  EXPECT_EQ(absent.exit_code, 1);
  EXPECT_THAT(absent.errors, HasSubstr("/nonexistent"));
  const CommandResult context =
      run_flash_moe({"inspect", sprout_folder().string(), "--context", "5000"});
  EXPECT_EQ(context.exit_code, 2);
  EXPECT_THAT(context.errors, HasSubstr("4096"));
  const CommandResult size =
      run_flash_moe({"inspect", sprout_folder().string(), "--memory", "12GiB,many"});
  EXPECT_EQ(size.exit_code, 2);
  EXPECT_THAT(size.errors, HasSubstr("many"));
  EXPECT_EQ(run_flash_moe({"inspect"}).exit_code, 2);
}

TEST(Doctor, ReportsOnTheShippedModel) {
  const CommandResult result = run_flash_moe({"doctor", sprout_folder().string(), "--json"});
  const Json json = Json::parse(result.output);
  EXPECT_EQ(result.exit_code, json["usable"].get<bool>() ? 0 : 1) << result.errors;
  std::vector<std::string> names;
  for (const Json& check : json["checks"]) {
    names.push_back(check["name"]);
    EXPECT_THAT(check["status"].get<std::string>(), AnyOf("ok", "warn", "fail"));
    EXPECT_FALSE(check["text"].get<std::string>().empty());
  }
  EXPECT_THAT(names,
              ::testing::ElementsAre("cpu", "cores", "open files", "memory", "pressure",
                                     "huge pages", "io_uring", "direct I/O", "disk", "model"));
  EXPECT_EQ(json["checks"][0]["supported"].back(), "scalar");
}

TEST(Doctor, SaysWhichFilesOfTextAreNone) {
  const TemporaryFolder folder;
  for (const auto& entry : std::filesystem::directory_iterator(sprout_folder())) {
    std::filesystem::create_symlink(std::filesystem::absolute(entry.path()),
                                    folder.path() / entry.path().filename());
  }
  const auto examine = [&folder](const char* name, const std::string& text) {
    std::filesystem::rename(folder / name, folder / "kept");
    folder.write(name, text);
    const CommandResult doctor = run_flash_moe({"doctor", folder.path().string()});
    const CommandResult inspect = run_flash_moe({"inspect", folder.path().string()});
    for (const std::string& said : {doctor.output, inspect.errors}) {
      EXPECT_THAT(said, HasSubstr(std::string(name) + ": "));
      EXPECT_THAT(said, AnyOf(HasSubstr("download"), HasSubstr("git lfs pull")));
    }
    std::filesystem::remove(folder / name);
    std::filesystem::rename(folder / "kept", folder / name);
    return std::pair(doctor, inspect.exit_code);
  };
  const std::string pointer =
      "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 12345\n";
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}) {
    const auto [doctor, inspect_code] = examine(name, pointer);
    EXPECT_THAT(doctor.output, HasSubstr("fail  model"));
    EXPECT_EQ(doctor.exit_code, 1);
    EXPECT_EQ(inspect_code, 1);
  }
  const auto [doctor, inspect_code] = examine("chat_template.jinja", pointer);
  EXPECT_THAT(doctor.output, HasSubstr("warn  model"));
  EXPECT_EQ(inspect_code, 0);
  std::filesystem::remove(folder / "config.json");
  std::filesystem::create_symlink("nowhere", folder / "config.json");
  EXPECT_THAT(run_flash_moe({"doctor", folder.path().string()}).output,
              HasSubstr("config.json: a link to nowhere"));
}

TEST(Doctor, NamesTheRemedyForATargetThatIsNotThere) {
  const CommandResult result =
      run_flash_moe({"doctor", sprout_folder().string()}, "FLASHMOE_CPU_TARGET=abacus");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("fail  cpu"));
  EXPECT_THAT(result.output, HasSubstr("unset FLASHMOE_CPU_TARGET"));
}

TEST(Doctor, JudgesNoDiskByASmallFile) {
  const CommandResult result =
      run_flash_moe({"doctor", (sprout_folder() / "tokenizer_config.json").string()});
  EXPECT_THAT(result.output, HasSubstr("warn  disk"));
  EXPECT_THAT(result.output, HasSubstr("-> give doctor the folder of a model"));
}

TEST(Doctor, JudgesAGgufFileAsAModel) {
  const auto model = shared_path("golden/gguf/qwen3moe-bf16.gguf");
  if (!model) GTEST_SKIP() << "qwen3moe-bf16.gguf is not on this machine";
  const CommandResult result = run_flash_moe({"doctor", model->string()});
  EXPECT_THAT(result.output, HasSubstr("model       qwen3_moe"));
  const CommandResult inspection = run_flash_moe({"inspect", model->string()});
  EXPECT_EQ(inspection.exit_code, 0) << inspection.errors;
  EXPECT_THAT(inspection.output, HasSubstr("BF16 in 1 file, GGUF"));
  const CommandResult generation = run_flash_moe({"run", model->string(), "--raw", "a", "-n", "3"});
  EXPECT_EQ(generation.exit_code, 0) << generation.errors;
}

TEST(Doctor, WantsAFolderThatExists) {
  const CommandResult result = run_flash_moe({"doctor", "/nonexistent"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.errors, HasSubstr("/nonexistent"));
}

}  // namespace
}  // namespace flashmoe::testing
