// Weights that are damaged in a way no header shows: an error, never a text.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/testing/temporary_folder.h"
#include "flashmoe/engine.h"
#include "format/safetensors_file.h"
#include "support/command.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

class DamagedWeights : public ::testing::Test {
 protected:
  /// A copy of a tiny model whose final norm is all ones in every bit: NaN.
  void SetUp() override {
    for (const char* name : {"config.json", "model.safetensors"}) {
      std::filesystem::copy_file(golden_path("qwen3_next") / name, model() / name);
    }
    const std::filesystem::path path = model() / "model.safetensors";
    const SafetensorsFile file = SafetensorsFile::open(path).value();
    const SafetensorsEntry* norm = file.find("model.norm.weight");
    ASSERT_NE(norm, nullptr);
    std::fstream bytes(path, std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(static_cast<std::streamoff>(norm->offset));
    bytes << std::string(norm->size, '\xff');
  }

  const std::filesystem::path& model() const { return folder_.path(); }

 private:
  TemporaryFolder folder_;
};

TEST_F(DamagedWeights, EndAGenerationWithAnError) {
  const auto engine =
      Engine::open({.model = model(), .memory_bytes = std::uint64_t{1} << 30}).value();
  const auto session = engine->new_session().value();
  std::string text;
  const Status status =
      session
          ->generate(std::vector<std::int32_t>{1, 2, 3}, {.on_text =
                                                              [&](std::string_view piece) {
                                                                text += piece;
                                                                return true;
                                                              }})
          .status();
  EXPECT_EQ(status.code(), StatusCode::kCorrupt);
  EXPECT_NE(status.message().find("logits"), std::string::npos) << status.message();
  EXPECT_EQ(text, "");
}

TEST_F(DamagedWeights, HaveNoPerplexity) {
  const std::filesystem::path ids = model() / "ids";
  std::ofstream(ids) << "1 2 3 4";
  const CommandResult result = run_flash_moe(
      {"eval", model().string(), "--memory", "1GiB", "--ids-file", ids.string(), "--json"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.output, "");
  EXPECT_NE(result.errors.find("logits"), std::string::npos) << result.errors;
}

TEST_F(DamagedWeights, WriteNoLogits) {
  const std::filesystem::path ids = model() / "ids";
  std::ofstream(ids) << "1 2 3 4";
  const std::filesystem::path out = model() / "logits.safetensors";
  const CommandResult result = run_flash_moe({"forward", model().string(), "--memory", "1GiB",
                                              "--ids-file", ids.string(), "--out", out.string()});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.errors.find("logits are infinite or no numbers"), std::string::npos)
      << result.errors;
  EXPECT_FALSE(std::filesystem::exists(out));
}

}  // namespace
}  // namespace flashmoe::testing
