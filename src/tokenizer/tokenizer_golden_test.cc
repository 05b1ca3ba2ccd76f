// Every sample of golden/text: the ids and texts that Hugging Face tokenizers give.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/testing/repository.h"
#include "tokenizer/detokenizer.h"
#include "tokenizer/tokenizer.h"

namespace flashmoe {
namespace {

namespace fs = std::filesystem;

fs::path source_dir() { return source_folder(); }

fs::path shared_dir() {
  const char* from_environment = std::getenv("FLASHMOE_SHARED");
  return from_environment != nullptr ? fs::path(from_environment) : source_dir() / "../shared";
}

struct GoldenCase {
  const char* name;
  fs::path model_folder;
  fs::path samples;
};

class TokenizerGolden : public testing::TestWithParam<GoldenCase> {
 protected:
  void SetUp() override {
    const GoldenCase& golden = GetParam();
    for (const fs::path& path : {golden.model_folder / "tokenizer.json", golden.samples}) {
      if (!fs::exists(path)) GTEST_SKIP() << path << " is not here";
    }
    auto loaded = Tokenizer::load(golden.model_folder);
    ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    tokenizer_ = std::move(loaded).value();
    std::ifstream file(golden.samples);
    samples_ = nlohmann::json::parse(file);
    ASSERT_EQ(samples_.size(), 337u);
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  nlohmann::json samples_;
};

TEST_P(TokenizerGolden, EncodesEverySampleToTheSameIds) {
  for (const auto& sample : samples_) {
    const auto text = sample["text"].get<std::string>();
    const auto ids = tokenizer_->encode(text);
    ASSERT_TRUE(ids.ok()) << ids.status().message();
    EXPECT_EQ(*ids, sample["ids"].get<std::vector<TokenId>>()) << text;
  }
}

TEST_P(TokenizerGolden, DecodesEverySampleToTheSameText) {
  for (const auto& sample : samples_) {
    const auto ids = sample["ids"].get<std::vector<TokenId>>();
    const auto text = tokenizer_->decode(ids);
    ASSERT_TRUE(text.ok()) << text.status().message();
    EXPECT_EQ(*text, sample["decoded"].get<std::string>());
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, TokenizerGolden,
    testing::Values(GoldenCase{"sprout", source_dir() / "models/sprout-89m-4bit",
                               source_dir() / "tests/golden/data/text/sprout.tokens.json"},
                    GoldenCase{"qwen3", shared_dir() / "tokenizers/qwen3",
                               shared_dir() / "golden/text/qwen3.tokens.json"},
                    GoldenCase{"deepseek_v3", shared_dir() / "tokenizers/deepseek_v3",
                               shared_dir() / "golden/text/deepseek_v3.tokens.json"},
                    GoldenCase{"gptoss", shared_dir() / "tokenizers/gptoss",
                               shared_dir() / "golden/text/gptoss.tokens.json"}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace flashmoe
