// Files that no tokenizer should be made of: each gives an error that names the field.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tokenizer/testing/tiny_tokenizer.h"
#include "tokenizer/tokenizer.h"

namespace flashmoe {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::tiny_byte_level;

Status load(std::string_view text, std::string_view config = "") {
  return Tokenizer::from_json(text, config).status();
}

void expect_error(std::string_view text, StatusCode code, const std::string& message) {
  const Status status = load(text);
  EXPECT_EQ(status.code(), code) << text.substr(0, 200);
  EXPECT_THAT(status.message(), HasSubstr(message));
  EXPECT_THAT(status.message(), HasSubstr("tokenizer.json"));
}

// The tiny tokenizer with the value at `pointer` replaced.
std::string with(const char* pointer, const json& value) {
  json file = tiny_byte_level({{"a", "b"}});
  file[json::json_pointer(pointer)] = value;
  return file.dump();
}

TEST(TokenizerBadInput, EveryTruncationIsAnError) {
  const std::string text = tiny_byte_level({{"a", "b"}}).dump();
  ASSERT_TRUE(load(text).ok());
  for (std::size_t size = 0; size < text.size(); size += 7) {
    EXPECT_EQ(load(std::string_view(text).substr(0, size)).code(), StatusCode::kCorrupt) << size;
  }
}

TEST(TokenizerBadInput, WhatIsNoTokenizerFile) {
  expect_error("[]", StatusCode::kCorrupt, "not a JSON object");
  expect_error("{}", StatusCode::kCorrupt, "decoder: is missing");
  expect_error("{\"a\": \"\xFF\"}", StatusCode::kCorrupt, "not valid JSON at byte");
  expect_error(with("/model", nullptr), StatusCode::kCorrupt, "model: is missing");
  expect_error(with("/model", json::array({1})), StatusCode::kCorrupt, "model: is missing");
}

TEST(TokenizerBadInput, DeepNestingIsAnErrorNotAStackOverflow) {
  for (const char* opening : {"[", "{\"a\":"}) {
    std::string text = "{\"x\":";
    for (int i = 0; i < 100'000; ++i) text += opening;
    expect_error(text, StatusCode::kCorrupt, "nests deeper");
  }
  std::string config = "{\"x\":";
  for (int i = 0; i < 100'000; ++i) config += '[';
  EXPECT_THAT(load(tiny_byte_level().dump(), config).message(), HasSubstr("nests deeper"));
}

TEST(TokenizerBadInput, Vocab) {
  expect_error(with("/model/vocab", nullptr), StatusCode::kCorrupt, "model.vocab");
  expect_error(with("/model/vocab", json::array()), StatusCode::kCorrupt, "model.vocab");
  expect_error(with("/model/vocab", json::object()), StatusCode::kCorrupt, "model.vocab");
  expect_error(with("/model/vocab/zz", "5"), StatusCode::kCorrupt, "\"zz\" is a JSON string");
  expect_error(with("/model/vocab/zz", 1.5), StatusCode::kCorrupt, "\"zz\" is a JSON number");
  expect_error(with("/model/vocab/zz", json::object()), StatusCode::kCorrupt, "\"zz\"");
  expect_error(with("/model/vocab/zz", json::array()), StatusCode::kCorrupt, "\"zz\"");
  expect_error(with("/model/vocab/zz", -1), StatusCode::kCorrupt, "the id of \"zz\" is not in");
  expect_error(with("/model/vocab/zz", 1u << 22), StatusCode::kCorrupt, "the id of \"zz\"");
  expect_error(with("/model/vocab/zz", UINT64_MAX), StatusCode::kCorrupt, "the id of \"zz\"");
  expect_error(with("/model/vocab/zz", 'a'), StatusCode::kCorrupt, "have the same id 97");
  expect_error(R"({"model": {"vocab": {"a": 0}, "vocab": {"b": 0}}})", StatusCode::kCorrupt,
               "model.vocab appears twice");
  expect_error(
      R"({"decoder": {"type": "Fuse"}, "model": {"vocab": {"a": 0, "a": 1}, "merges": []}})",
      StatusCode::kCorrupt, "ids 0 and 1 are the same token \"a\"");
}

TEST(TokenizerBadInput, Merges) {
  expect_error(with("/model/merges", {"a b", "a q q"}), StatusCode::kCorrupt, "model.merges[1]");
  expect_error(with("/model/merges", {"ab"}), StatusCode::kCorrupt, "model.merges[0]");
  expect_error(with("/model/merges", {"xx b"}), StatusCode::kCorrupt, "\"xx\" is not in");
  expect_error(with("/model/merges", {"b xx"}), StatusCode::kCorrupt, "\"xx\" is not in");
  expect_error(with("/model/merges", {"b a"}), StatusCode::kCorrupt, "\"ba\" is not in");
  expect_error(with("/model/merges", {"漢 a"}), StatusCode::kCorrupt, "is not in model.vocab");
  expect_error(with("/model/merges", nullptr), StatusCode::kCorrupt, "model.merges: is missing");
  expect_error(with("/model/merges", json::object()), StatusCode::kCorrupt, "model.merges");
  expect_error(with("/model/merges", {7}), StatusCode::kCorrupt, "model.merges[0]");
  expect_error(with("/model/merges", json::array({json::object()})), StatusCode::kCorrupt,
               "model.merges[0]");
  for (const char* merge : {R"(["a"])", R"(["a", "b", "c"])", R"([["a", "b"]])", "[1, 2]", "[]"}) {
    expect_error(with("/model/merges", json::array({json::parse(merge)})), StatusCode::kCorrupt,
                 "model.merges[0]");
  }
}

TEST(TokenizerBadInput, AddedTokens) {
  const auto added = [](const json& entry) { return with("/added_tokens", json::array({entry})); };
  expect_error(with("/added_tokens", 3), StatusCode::kCorrupt, "added_tokens");
  expect_error(added(3), StatusCode::kCorrupt, "added_tokens[0].id");
  expect_error(added({{"id", 300}}), StatusCode::kCorrupt, "added_tokens[0].content");
  expect_error(added({{"id", "300"}, {"content", "x"}}), StatusCode::kCorrupt, "[0].id");
  expect_error(added({{"id", 1e9}, {"content", "x"}}), StatusCode::kCorrupt, "[0].id");
  expect_error(added({{"id", -5}, {"content", "x"}}), StatusCode::kCorrupt, "[0].id");
  expect_error(added({{"id", UINT64_MAX}, {"content", "x"}}), StatusCode::kCorrupt, "[0].id");
  expect_error(added({{"id", 300}, {"content", "x"}, {"special", 1}}), StatusCode::kCorrupt,
               "[0].special");
  expect_error(added({{"id", 300}, {"content", std::string(5000, 'x')}}), StatusCode::kCorrupt,
               "longer than");
  expect_error(with("/added_tokens/1/id", 257), StatusCode::kCorrupt, "added_tokens[1]");
  expect_error(with("/added_tokens/1/content", "<|end|>"), StatusCode::kCorrupt, "added_tokens[1]");
}

TEST(TokenizerBadInput, UnknownNodesAreNamed) {
  const json unknown = {{"type", "Wobble"}};
  const auto sequence = [&](const char* list) {
    return json{{"type", "Sequence"}, {list, json::array({unknown})}};
  };
  for (const auto& [pointer, list] :
       {std::pair{"/normalizer", "normalizers"}, std::pair{"/pre_tokenizer", "pretokenizers"},
        std::pair{"/post_processor", "processors"}, std::pair{"/decoder", "decoders"}}) {
    expect_error(with(pointer, unknown), StatusCode::kUnsupported, "Wobble");
    expect_error(with(pointer, sequence(list)), StatusCode::kUnsupported,
                 std::string(list) + "[0]");
    expect_error(with(pointer, json::object()), StatusCode::kCorrupt, "type: is missing");
    expect_error(with(pointer, "NFC"), StatusCode::kCorrupt, "type: is missing");
  }
  expect_error(with("/model/type", "Unigram"), StatusCode::kUnsupported, "Unigram");
  expect_error(with("/model/dropout", 0.1), StatusCode::kUnsupported, "model.dropout");
  expect_error(with("/model/end_of_word_suffix", "</w>"), StatusCode::kUnsupported,
               "end_of_word_suffix");
  expect_error(with("/decoder", {{"type", "Fuse"}}), StatusCode::kUnsupported, "ByteLevel must");
}

TEST(TokenizerBadInput, PatternsAndBehaviors) {
  const auto split = [](const json& pattern, const char* behavior) {
    const json node = {{"type", "Split"}, {"pattern", pattern}, {"behavior", behavior}};
    const json byte_level = {{"type", "ByteLevel"}, {"use_regex", false}};
    return with("/pre_tokenizer",
                {{"type", "Sequence"}, {"pretokenizers", json::array({node, byte_level})}});
  };
  expect_error(split({{"Regex", "("}}, "Isolated"), StatusCode::kCorrupt,
               "pretokenizers[0].pattern");
  expect_error(split({{"Regex", 3}}, "Isolated"), StatusCode::kCorrupt, "pattern.Regex");
  expect_error(split("x", "Isolated"), StatusCode::kCorrupt, "Regex or String");
  expect_error(split({{"Regex", "x"}}, "Sideways"), StatusCode::kUnsupported, "Sideways");
}

TEST(TokenizerBadInput, ANormalizerThatExplodesIsStopped) {
  json steps = json::array();
  for (int i = 0; i < 40; ++i) {
    steps.push_back(
        {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", std::string(1000, 'a')}});
  }
  const auto tokenizer =
      Tokenizer::from_json(with("/normalizer", {{"type", "Sequence"}, {"normalizers", steps}}), "");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  const auto ids = (*tokenizer)->encode("a");
  ASSERT_FALSE(ids.ok());
  EXPECT_THAT(ids.status().message(), HasSubstr("normalizer"));
}

TEST(TokenizerBadInput, Config) {
  const std::string file = tiny_byte_level().dump();
  EXPECT_THAT(load(file, "[]").message(), HasSubstr("tokenizer_config.json"));
  EXPECT_THAT(load(file, "{").message(), HasSubstr("tokenizer_config.json"));
  EXPECT_THAT(load(file, R"({"bos_token": [1]})").message(), HasSubstr("bos_token"));
  EXPECT_THAT(load(file, R"({"bos_token": "no", "add_bos_token": true})").message(),
              HasSubstr("bos_token"));
  EXPECT_THAT(load(file, R"({"add_bos_token": "yes"})").message(), HasSubstr("add_bos_token"));
}

}  // namespace
}  // namespace flashmoe
