// A disk that fails while the model runs: the request ends with an error that names file and
// offset, the engine lives, and the session works again once the disk does.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/testing/temporary_folder.h"
#include "support/collect.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

/// A copy of the shipped model that a test may damage.
class ReadFault : public ::testing::TestWithParam<IoChoice> {
 protected:
  void SetUp() override {
    for (const auto& entry : std::filesystem::directory_iterator(sprout_folder())) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with("model") || name == "config.json") {
        std::filesystem::copy_file(entry.path(), folder_ / name);
      }
    }
    options_ = {.model = folder_.path(), .context = 256, .io = GetParam()};
    options_.memory_bytes = std::uint64_t{1} << 30;
    options_.prefill_chunk = 16;
    Result<std::unique_ptr<Engine>> engine = Engine::open(options_);
    if (engine.status().code() == StatusCode::kUnsupported) {
      GTEST_SKIP() << engine.status().message();
    }
    ASSERT_TRUE(engine.ok()) << engine.status().message();
    options_.memory_bytes = (*engine)->memory_plan().budget_bytes_min;
  }

  std::vector<std::int32_t> prompt() const {
    std::vector<std::int32_t> ids =
        GoldenFile(sprout_folder() / "golden.safetensors").ints("english.input_ids");
    ids.resize(40);
    return ids;
  }

  TemporaryFolder folder_;
  EngineOptions options_;
};

TEST_P(ReadFault, EndsTheRequestWithAnErrorThatNamesTheFile) {
  const std::unique_ptr<Engine> engine = Engine::open(options_).value();
  const std::unique_ptr<Session> session = engine->new_session().value();
  const GenerateOptions generate{.max_tokens = 4, .ignore_eos = true};
  const std::filesystem::path shard = folder_ / "model-00002-of-00004.safetensors";
  std::filesystem::resize_file(shard, 1 << 20);
  const Status failed = session->generate(prompt(), generate).status();
  EXPECT_EQ(failed.code(), StatusCode::kCorrupt) << failed.message();
  EXPECT_NE(failed.message().find(shard.filename().string()), std::string::npos)
      << failed.message();
  EXPECT_NE(failed.message().find("expert"), std::string::npos) << failed.message();

  // The half-finished sequence is of no use until it is reset.
  EXPECT_EQ(session->generate({}, generate).status().code(), StatusCode::kInvalidArgument);
}

TEST_P(ReadFault, AFileThatComesBackServesTheSameEngineAgain) {
  const std::unique_ptr<Engine> engine = Engine::open(options_).value();
  const std::unique_ptr<Session> session = engine->new_session().value();
  const GenerateOptions generate{.max_tokens = 4, .ignore_eos = true};
  const std::vector<std::int32_t> expected = session->generate(prompt(), generate)->token_ids;
  ASSERT_TRUE(session->reset().ok());

  // Cut and refill in place: the engine's open file sees the end come nearer and go away again.
  const std::filesystem::path shard = folder_ / "model-00003-of-00004.safetensors";
  std::filesystem::resize_file(shard, 1 << 20);
  ASSERT_FALSE(session->generate(prompt(), generate).ok());
  std::filesystem::copy_file(sprout_folder() / shard.filename(), shard,
                             std::filesystem::copy_options::overwrite_existing);
  ASSERT_TRUE(session->reset().ok());
  const Result<GenerateResult> revived = session->generate(prompt(), generate);
  ASSERT_TRUE(revived.ok()) << revived.status().message();
  EXPECT_EQ(revived->token_ids, expected);
}

TEST_P(ReadFault, WhileLoadingIsAnErrorThatNamesTheFile) {
  const std::filesystem::path shard = folder_ / "model-00001-of-00004.safetensors";
  std::filesystem::resize_file(shard, std::filesystem::file_size(shard) / 2);
  const Status failed = Engine::open(options_).status();
  EXPECT_FALSE(failed.ok());
  EXPECT_NE(failed.message().find(shard.filename().string()), std::string::npos)
      << failed.message();
}

INSTANTIATE_TEST_SUITE_P(Io, ReadFault, ::testing::Values(IoChoice::kIoUring, IoChoice::kPread),
                         [](const auto& info) {
                           return info.param == IoChoice::kPread ? "pread" : "io_uring";
                         });

}  // namespace
}  // namespace flashmoe::testing
