// The command `synth` as users see it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/testing/temporary_folder.h"
#include "support/command.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

using ::testing::HasSubstr;

TEST(Synth, WritesAModelThatRunReads) {
  const TemporaryFolder folder;
  const std::string out = folder.path() / "out";
  const CommandResult written = run_flash_moe(
      {"synth", "--like", "sprout", "--layers", "4", "--experts", "16", "--seed", "3", out});
  ASSERT_EQ(written.exit_code, 0) << written.errors;
  EXPECT_THAT(written.output, HasSubstr("4 layers of 16 experts"));
  const CommandResult run =
      run_flash_moe({"run", out, "-p", "Once", "--max-tokens", "5", "--ignore-eos", "--json"});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  const auto json = nlohmann::json::parse(run.output);
  EXPECT_EQ(json["statistics"]["prompt_tokens"], 4);
  EXPECT_EQ(json["token_ids"].size(), 5u);

  const CommandResult again = run_flash_moe({"synth", "--like", "sprout", out});
  EXPECT_EQ(again.exit_code, 2);
  EXPECT_THAT(again.errors, HasSubstr("not an empty folder"));
}

TEST(Synth, WritesAGgufFileThatRunReads) {
  const TemporaryFolder folder;
  const std::string out = folder.path() / "out.gguf";
  const CommandResult written = run_flash_moe(
      {"synth", "--like", "sprout", "--layers", "4", "--experts", "16", "--gguf", "q4_k_m", out});
  ASSERT_EQ(written.exit_code, 0) << written.errors;
  EXPECT_THAT(written.output, HasSubstr("4 layers of 16 experts"));
  const CommandResult run =
      run_flash_moe({"run", out, "-p", "Once", "--max-tokens", "5", "--ignore-eos", "--json"});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_EQ(nlohmann::json::parse(run.output)["token_ids"].size(), 5u);

  const CommandResult again = run_flash_moe({"synth", "--like", "sprout", "--gguf", "f16", out});
  EXPECT_EQ(again.exit_code, 2);
  EXPECT_THAT(again.errors, HasSubstr("exists"));
}

TEST(Synth, TellsTheSizeWithoutWriting) {
  const CommandResult result =
      run_flash_moe({"synth", "--like", "qwen3-coder-next", "--dry-run", "/nonexistent/out"});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_THAT(result.output, HasSubstr("41.8 GiB (nothing written)"));
}

TEST(Synth, RefusesBadFlags) {
  EXPECT_EQ(run_flash_moe({"synth", "out"}).exit_code, 2);
  EXPECT_EQ(run_flash_moe({"synth", "--like", "sprout"}).exit_code, 2);
  EXPECT_EQ(run_flash_moe({"synth", "--like", "sprout", "--config", "c", "out"}).exit_code, 2);
  const CommandResult size =
      run_flash_moe({"synth", "--like", "sprout", "--shard-size", "large", "out"});
  EXPECT_EQ(size.exit_code, 2);
  EXPECT_THAT(size.errors, HasSubstr("--shard-size"));
  const CommandResult parts = run_flash_moe(
      {"synth", "--like", "sprout", "--gguf", "q8_0", "--shard-size", "1GiB", "out.gguf"});
  EXPECT_EQ(parts.exit_code, 2);
  EXPECT_THAT(parts.errors, HasSubstr("written whole"));
  const CommandResult type =
      run_flash_moe({"synth", "--like", "sprout", "--gguf", "q9", "out.gguf"});
  EXPECT_EQ(type.exit_code, 2);
  EXPECT_THAT(type.errors, HasSubstr("q4_k_m"));
  const CommandResult name = run_flash_moe({"synth", "--like", "gpt-7", "out"});
  EXPECT_EQ(name.exit_code, 2);
  EXPECT_THAT(name.errors, HasSubstr("qwen3-coder-next"));
}

}  // namespace
}  // namespace flashmoe::testing
