// Every sample of golden/text: the ids and texts that Hugging Face tokenizers give.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/testing/repository.h"
#include "base/testing/temporary_folder.h"
#include "format/testing/gguf_bytes.h"
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
  const char* pre = nullptr;  // of the same tokenizer in a GGUF file
};

/// A GGUF file with the tokenizer of `tokenizer_json`, as llama.cpp's converter writes it.
std::string to_gguf(const fs::path& tokenizer_json, std::string_view pre) {
  const nlohmann::json json = nlohmann::json::parse(std::ifstream(tokenizer_json));
  constexpr std::int32_t kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5;
  std::vector<std::string> tokens;
  std::vector<std::int32_t> types;
  const auto set = [&](std::size_t id, const std::string& text, std::int32_t type) {
    for (std::size_t i = tokens.size(); i <= id; ++i) {
      tokens.push_back("[PAD" + std::to_string(i) + "]");
      types.push_back(kUnused);
    }
    tokens[id] = text;
    types[id] = type;
  };
  for (const auto& [text, id] : json["model"]["vocab"].items()) set(id, text, kNormal);
  for (const auto& added : json["added_tokens"]) {
    set(added["id"], added["content"], added["special"] ? kControl : kUserDefined);
  }
  std::vector<std::string> merges;
  for (const auto& merge : json["model"]["merges"]) {
    merges.push_back(merge.is_string()
                         ? merge.get<std::string>()
                         : merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  }
  GgufBytes gguf;
  gguf.text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", pre);
  gguf.texts("tokenizer.ggml.tokens", tokens).i32s("tokenizer.ggml.token_type", types);
  return gguf.texts("tokenizer.ggml.merges", merges).bytes();
}

class TokenizerGolden : public testing::TestWithParam<GoldenCase> {
 protected:
  void SetUp() override {
    const GoldenCase& golden = GetParam();
    for (const fs::path& path : {golden.model_folder / "tokenizer.json", golden.samples}) {
      if (!fs::exists(path)) GTEST_SKIP() << path << " is not here";
    }
    TemporaryFolder folder;
    fs::path model = golden.model_folder;
    if (golden.pre != nullptr) {
      model = folder.write("m.gguf", to_gguf(golden.model_folder / "tokenizer.json", golden.pre));
    }
    auto loaded = Tokenizer::load(model);
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
                               shared_dir() / "golden/text/gptoss.tokens.json"},
                    GoldenCase{"qwen3_gguf", shared_dir() / "tokenizers/qwen3",
                               shared_dir() / "golden/text/qwen3.tokens.json", "qwen2"},
                    GoldenCase{"deepseek_v3_gguf", shared_dir() / "tokenizers/deepseek_v3",
                               shared_dir() / "golden/text/deepseek_v3.tokens.json", "deepseek-v3"},
                    GoldenCase{"gptoss_gguf", shared_dir() / "tokenizers/gptoss",
                               shared_dir() / "golden/text/gptoss.tokens.json", "gpt-4o"}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace flashmoe
