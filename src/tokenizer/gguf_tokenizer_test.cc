#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/testing/temporary_folder.h"
#include "format/gguf_package.h"
#include "format/testing/expect_failure.h"
#include "format/testing/gguf_bytes.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace flashmoe {
namespace {

using Ids = std::vector<TokenId>;

constexpr std::int32_t kNormal = 1;
constexpr std::int32_t kControl = 3;
constexpr std::int32_t kUserDefined = 4;
constexpr std::int32_t kUnused = 5;

/// How byte-level BPE spells a byte that is printable ASCII, or a space.
std::string spelled(char byte) { return byte == ' ' ? "\u0120" : std::string(1, byte); }

class GgufTokenizer : public ::testing::Test {
 protected:
  /// A byte-level tokenizer of lower case, digits and spaces: "<s>" 0, "</s>" 1, "<think>" 2, an
  /// unused id 3, then the characters, then "th" and "the".
  static GgufBytes byte_level(std::string_view pre) {
    std::vector<std::string> tokens = {"<s>", "</s>", "<think>", "[PAD3]"};
    std::vector<std::int32_t> types = {kControl, kControl, kUserDefined, kUnused};
    for (const char c : std::string_view(" 0123456789abcdefghijklmnopqrstuvwxyz")) {
      tokens.push_back(spelled(c));
    }
    for (const char* merged : {"th", "the"}) tokens.emplace_back(merged);
    types.resize(tokens.size(), kNormal);
    GgufBytes gguf;
    gguf.text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", pre);
    gguf.texts("tokenizer.ggml.tokens", tokens).i32s("tokenizer.ggml.token_type", types);
    gguf.texts("tokenizer.ggml.merges", {"t h", "th e"});
    gguf.u32("tokenizer.ggml.bos_token_id", 0).u32("tokenizer.ggml.eos_token_id", 1);
    return gguf;
  }

  Result<std::unique_ptr<Tokenizer>> load(const GgufBytes& gguf) const {
    return Tokenizer::load(folder_.write("m.gguf", gguf.bytes()));
  }
  Status status_of(const GgufBytes& gguf) const { return load(gguf).status(); }

  TemporaryFolder folder_;
};

TEST_F(GgufTokenizer, MergesTextAndKnowsControlTokens) {
  const auto tokenizer = load(byte_level("qwen2"));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  const TokenId the = 4 + 37 + 1;
  const TokenId space = 4;
  EXPECT_EQ((*tokenizer)->encode("the the").value(), (Ids{the, space, the}));
  EXPECT_EQ((*tokenizer)->encode("<think>the</s>").value(), (Ids{2, the, 1}));
  EXPECT_EQ((*tokenizer)->decode(Ids{the, space, the}).value(), "the the");
  EXPECT_TRUE((*tokenizer)->is_special(1));
  EXPECT_FALSE((*tokenizer)->is_special(2));
  EXPECT_TRUE((*tokenizer)->is_control(2));
  EXPECT_FALSE((*tokenizer)->is_token(3));
  EXPECT_EQ((*tokenizer)->end_ids(), Ids{1});
  EXPECT_EQ((*tokenizer)->bos_id(), 0);
}

TEST_F(GgufTokenizer, BeginsTextsAsTheFileOrElseThePreTokenizerSays) {
  const auto first_of = [&](const GgufBytes& gguf) {
    return load(gguf).value()->encode_raw("t").value().front();
  };
  EXPECT_NE(first_of(byte_level("qwen2")), 0);
  EXPECT_EQ(first_of(byte_level("llama-bpe")), 0);
  EXPECT_EQ(first_of(byte_level("qwen2").boolean("tokenizer.ggml.add_bos_token", true)), 0);
  EXPECT_NE(first_of(byte_level("llama-bpe").boolean("tokenizer.ggml.add_bos_token", false)), 0);
}

TEST_F(GgufTokenizer, EndsTextsAndTurns) {
  GgufBytes gguf = byte_level("qwen2");
  gguf.u32("tokenizer.ggml.eot_token_id", 2);
  const auto tokenizer = load(gguf);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_THAT((*tokenizer)->end_ids(), ::testing::UnorderedElementsAre(1, 2));
}

TEST_F(GgufTokenizer, HasEveryPreTokenizersPattern) {
  for (const char* pre :
       {"qwen2", "deepseek-r1-qwen", "qwen35", "gpt-4o", "minimax-m2", "deepseek-v3", "glm4",
        "chatglm-bpe", "llama-bpe", "smollm", "gpt-2", "olmo"}) {
    const auto tokenizer = load(byte_level(pre));
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
    const std::string text = "the 12345 cats   sat on a mat";
    const auto ids = (*tokenizer)->encode(text);
    ASSERT_TRUE(ids.ok()) << ids.status().message();
    EXPECT_EQ((*tokenizer)->decode(*ids).value(), text) << pre;
  }
}

TEST_F(GgufTokenizer, NormalisesWhereTokenizerJsonDoes) {
  // e and a combining acute are one letter in NFC, of two bytes which this vocabulary lacks.
  const std::string accent = "e\u0301";
  for (const auto& [pre, bytes] : {std::pair("qwen2", "0xC3"), std::pair("glm4", "0xCC")}) {
    expect_failure(load(byte_level(pre)).value()->encode(accent).status(),
                   StatusCode::kInvalidArgument, {bytes});
  }
}

TEST_F(GgufTokenizer, NamesTheKeyThatIsWrong) {
  expect_failure(status_of(byte_level("no-such")), StatusCode::kUnsupported,
                 {"m.gguf", "tokenizer.ggml.pre", "no-such", "qwen2"});
  expect_failure(status_of(byte_level("")), StatusCode::kUnsupported, {"tokenizer.ggml.pre"});
  expect_failure(status_of(GgufBytes()), StatusCode::kNotFound, {"m.gguf", "no tokenizer"});
  GgufBytes bert;
  bert.text("tokenizer.ggml.model", "bert").texts("tokenizer.ggml.tokens", {"a"});
  expect_failure(status_of(bert), StatusCode::kUnsupported, {"tokenizer.ggml.model", "bert"});
  GgufBytes types;
  types.text("tokenizer.ggml.model", "gpt2").texts("tokenizer.ggml.tokens", {"a", "b"});
  types.i32s("tokenizer.ggml.token_type", {1});
  expect_failure(status_of(types), StatusCode::kCorrupt, {"token_type", "1 values for 2 tokens"});
  for (const char* merge : {"ab", "a", "", "a ", " a"}) {
    GgufBytes gguf;
    gguf.text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", "qwen2");
    gguf.texts("tokenizer.ggml.tokens", {"a", "b"}).texts("tokenizer.ggml.merges", {merge});
    expect_failure(status_of(gguf), StatusCode::kCorrupt, {"tokenizer.ggml.merges"});
  }
  GgufBytes scores;
  scores.text("tokenizer.ggml.model", "llama").texts("tokenizer.ggml.tokens", {"a", "b"});
  expect_failure(status_of(scores), StatusCode::kCorrupt, {"tokenizer.ggml.scores"});
}

TEST_F(GgufTokenizer, MergesSentencePiecesByTheirScores) {
  const std::vector<std::string> tokens = {"<unk>", "<s>", "</s>",    "<0x0A>",   "\u2581", "a",
                                           "b",     "ab",  "\u2581a", "\u2581ab", "ba"};
  const std::vector<std::int32_t> types = {2, kControl, kControl, 6, 1, 1, 1, 1, 1, 1, 1};
  //                                          of "▁a" more than of "ab", so "▁ab" from "▁a" and b
  const std::vector<float> scores = {0, 0, 0, 0, -9, -8, -7, -3, -2, -4, -1};
  GgufBytes gguf;
  gguf.text("tokenizer.ggml.model", "llama").texts("tokenizer.ggml.tokens", tokens);
  gguf.i32s("tokenizer.ggml.token_type", types).f32s("tokenizer.ggml.scores", scores);
  gguf.u32("tokenizer.ggml.bos_token_id", 1).u32("tokenizer.ggml.eos_token_id", 2);
  const auto tokenizer = load(gguf);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_EQ((*tokenizer)->encode("ab").value(), Ids{9});
  EXPECT_EQ((*tokenizer)->encode("aba").value(), (Ids{8, 10}));  // "ba" comes first
  EXPECT_EQ((*tokenizer)->encode("b\nb").value(), (Ids{4, 6, 3, 6}));
  EXPECT_EQ((*tokenizer)->encode("xb").value(), (Ids{4, 0, 6}));
  EXPECT_EQ((*tokenizer)->encode_raw("ab").value(), (Ids{1, 9}));
  EXPECT_EQ((*tokenizer)->decode(Ids{9, 3, 9}).value(), "ab\n ab");
}

TEST_F(GgufTokenizer, MergesGemmasPiecesByTheirList) {
  const std::vector<std::string> tokens = {"<pad>", "<eos>", "<bos>",  "<unk>",  "\u2581",
                                           "a",     "b",     "ab",     "ba",     "\u2581ab",
                                           "\n",    "\n\n",  "<0x78>", "<turn|>"};
  const std::vector<std::int32_t> types = {kControl, kControl, kControl, 2, 1, 1, 1,
                                           1,        1,        1,        1, 1, 6, kControl};
  GgufBytes gguf;
  gguf.text("tokenizer.ggml.model", "gemma4").texts("tokenizer.ggml.tokens", tokens);
  gguf.i32s("tokenizer.ggml.token_type", types);
  gguf.texts("tokenizer.ggml.merges", {"a b", "\u2581 ab", "b a", "\n \n"});
  gguf.u32("tokenizer.ggml.bos_token_id", 2).u32("tokenizer.ggml.eos_token_id", 1);
  const auto tokenizer = load(gguf);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_EQ((*tokenizer)->encode("ab").value(), Ids{7});
  EXPECT_EQ((*tokenizer)->encode("ab ab\n\nx").value(), (Ids{7, 9, 11, 12}));
  EXPECT_EQ((*tokenizer)->encode("aba<turn|>").value(), (Ids{7, 5, 13}));
  EXPECT_EQ((*tokenizer)->encode_raw(" ab").value(), (Ids{2, 9}));  // as llama.cpp insists
  EXPECT_EQ((*tokenizer)->decode(Ids{7, 9, 11, 12}).value(), "ab ab\n\nx");

  GgufBytes wrong;
  wrong.text("tokenizer.ggml.model", "gemma4").texts("tokenizer.ggml.tokens", {"a", "b"});
  wrong.texts("tokenizer.ggml.merges", {"ab"});
  expect_failure(status_of(wrong), StatusCode::kCorrupt, {"tokenizer.ggml.merges"});
}

TEST_F(GgufTokenizer, HasTheChatTemplate) {
  GgufBytes gguf = byte_level("qwen2");
  const auto none = ChatTemplate::load(folder_.write("none.gguf", gguf.bytes()));
  expect_failure(none.status(), StatusCode::kNotFound, {"none.gguf", "tokenizer.chat_template"});
  gguf.text("tokenizer.chat_template", "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}");
  const auto chat = ChatTemplate::load(folder_.write("m.gguf", gguf.bytes()));
  ASSERT_TRUE(chat.ok()) << chat.status().message();
  const auto messages = nlohmann::ordered_json::parse(R"([{"role": "user", "content": "hi"}])");
  const auto prompt = chat->render(messages, nullptr, false, nlohmann::ordered_json::object());
  ASSERT_TRUE(prompt.ok()) << prompt.status().message();
  EXPECT_EQ(prompt->text, "<s>hi</s>");
}

}  // namespace
}  // namespace flashmoe
