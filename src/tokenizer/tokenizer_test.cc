#include "tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/testing/temporary_folder.h"
#include "tokenizer/detokenizer.h"
#include "tokenizer/testing/tiny_tokenizer.h"

namespace flashmoe {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::load_tiny;
using testing::tiny_byte_level;
using testing::tiny_sentence_piece;

using Ids = std::vector<TokenId>;
using AddedTokens = EncodeOptions::AddedTokens;

Ids encode(const Tokenizer& tokenizer, std::string_view text, const EncodeOptions& options = {}) {
  const auto ids = tokenizer.encode(text, options);
  EXPECT_TRUE(ids.ok()) << ids.status().message();
  return ids.ok() ? *ids : Ids();
}

std::string decode(const Tokenizer& tokenizer, const Ids& ids, const DecodeOptions& options = {}) {
  const auto text = tokenizer.decode(ids, options);
  EXPECT_TRUE(text.ok()) << text.status().message();
  return text.ok() ? *text : std::string();
}

TEST(Tokenizer, MergesTheLowestRankFirstAndTheLeftmostOnTies) {
  const auto tokenizer = load_tiny(tiny_byte_level({{"b", "c"}, {"a", "b"}, {"a", "a"}}));
  EXPECT_THAT(encode(*tokenizer, "abc"), ElementsAre('a', 256));  // bc before ab
  EXPECT_THAT(encode(*tokenizer, "ab"), ElementsAre(257));
  EXPECT_THAT(encode(*tokenizer, "aaa"), ElementsAre(258, 'a'));
  EXPECT_THAT(encode(*tokenizer, ""), IsEmpty());
}

TEST(Tokenizer, MergesNeverCrossPiecesOrAddedTokens) {
  const auto tokenizer = load_tiny(tiny_byte_level({{"a", "b"}, {"a", " "}}));
  EXPECT_THAT(encode(*tokenizer, "a b"), ElementsAre('a', ' ', 'b'));
  EXPECT_THAT(encode(*tokenizer, "a<think>b"), ElementsAre('a', 259, 'b'));
}

TEST(Tokenizer, LongPiecesMergeAsShortOnesDo) {
  // Powers of two of the letter x: a run of n becomes its binary digits.
  std::vector<std::pair<std::string, std::string>> merges;
  for (int size = 1; size <= 512; size *= 2) {
    merges.emplace_back(std::string(static_cast<std::size_t>(size), 'x'),
                        std::string(static_cast<std::size_t>(size), 'x'));
  }
  const auto tokenizer = load_tiny(tiny_byte_level(merges));
  for (const std::size_t size : {1u, 31u, 48u, 49u, 1000u, 1024u, 200'000u}) {
    const Ids ids = encode(*tokenizer, std::string(size, 'x'));
    Ids expected(size / 1024, 265);
    for (int bit = 9; bit >= 0; --bit) {
      if ((size >> bit & 1) != 0) expected.push_back(bit == 0 ? 'x' : 255 + bit);
    }
    EXPECT_EQ(ids, expected) << size;
  }
}

TEST(Tokenizer, IgnoreMergesTakesAWholePieceFromTheVocabulary) {
  json file = tiny_byte_level({{"a", "b"}});
  file["model"]["vocab"]["zzz"] = 300;
  EXPECT_THAT(encode(*load_tiny(file), "zzz"), ElementsAre('z', 'z', 'z'));
  file["model"]["ignore_merges"] = true;
  EXPECT_THAT(encode(*load_tiny(file), "zzz"), ElementsAre(300));
}

TEST(Tokenizer, AddedTokensAreFoundUnlessTurnedOff) {
  const auto tokenizer = load_tiny(tiny_byte_level());  // 256 <|end|> special, 257 <think>
  EXPECT_THAT(encode(*tokenizer, "<|end|><think>"), ElementsAre(256, 257));
  EXPECT_THAT(encode(*tokenizer, "<think><|e", {.added_tokens = AddedTokens::kNotSpecial}),
              ElementsAre(257, '<', '|', 'e'));
  EXPECT_EQ(encode(*tokenizer, "<|end|>", {.added_tokens = AddedTokens::kNotSpecial}).size(), 7u);
  EXPECT_EQ(encode(*tokenizer, "<think>", {.added_tokens = AddedTokens::kNone}).size(), 7u);
  EXPECT_TRUE(tokenizer->is_special(256));
  EXPECT_FALSE(tokenizer->is_special(257));
  EXPECT_FALSE(tokenizer->is_special('a'));
}

TEST(Tokenizer, TheLongestAddedTokenWins) {
  json file = tiny_byte_level();
  file["added_tokens"] = {{{"id", 300}, {"content", "<a>"}},
                          {{"id", 301}, {"content", "<a><b>"}},
                          {{"id", 302}, {"content", "<a><b><c>"}}};
  const auto tokenizer = load_tiny(file);
  EXPECT_THAT(encode(*tokenizer, "<a><a><b><a><b><c><a><b><"),
              ElementsAre(300, 301, 302, 301, '<'));
}

TEST(Tokenizer, AddedTokensStripAndStandAlone) {
  json file = tiny_byte_level();
  file["added_tokens"] = {{{"id", 300}, {"content", "<l>"}, {"lstrip", true}},
                          {{"id", 301}, {"content", "<r>"}, {"rstrip", true}},
                          {{"id", 302}, {"content", "word"}, {"single_word", true}}};
  const auto tokenizer = load_tiny(file);
  EXPECT_THAT(encode(*tokenizer, "a \u3000<l> b"), ElementsAre('a', 300, ' ', 'b'));
  EXPECT_THAT(encode(*tokenizer, "a <r> \n<l>"), ElementsAre('a', ' ', 301, 300));
  EXPECT_THAT(encode(*tokenizer, "word word."), ElementsAre(302, ' ', 302, '.'));
  EXPECT_EQ(encode(*tokenizer, "words").size(), 5u);
  EXPECT_EQ(encode(*tokenizer, "éword").size(), 6u);
}

TEST(Tokenizer, NormalizedAddedTokensAreFoundBehindTheNormalizer) {
  json file = tiny_byte_level();
  file["normalizer"] = {{"type", "Lowercase"}};
  file["added_tokens"] = {{{"id", 300}, {"content", "<N>"}, {"normalized", true}},
                          {{"id", 301}, {"content", "<R>"}, {"normalized", false}}};
  const auto tokenizer = load_tiny(file);
  EXPECT_THAT(encode(*tokenizer, "<n><N>"), ElementsAre(300, 300));
  EXPECT_THAT(encode(*tokenizer, "<R>A<r>"), ElementsAre(301, 'a', '<', 'r', '>'));
}

TEST(Tokenizer, StopsBeyondTheTokensThatAreWanted) {
  const auto tokenizer = load_tiny(tiny_byte_level({{"a", "b"}}));
  const auto code = [&](std::string_view text, std::size_t token_max) {
    const auto ids = tokenizer->encode(text, {.token_max = token_max});
    return ids.ok() ? StatusCode::kOk : ids.status().code();
  };
  // By their number, by pieces, by what a token can stand for at most, by added tokens.
  for (const char* text : {"cd ef", "a b", "ababab", "<think><think><think>"}) {
    const std::size_t count = encode(*tokenizer, text).size();
    EXPECT_EQ(code(text, count), StatusCode::kOk) << text;
    EXPECT_EQ(code(text, count - 1), StatusCode::kOutOfBudget) << text;
    EXPECT_EQ(code(text, 0), StatusCode::kOutOfBudget) << text;
  }
  EXPECT_EQ(code("", 0), StatusCode::kOk);
  EXPECT_EQ(code(std::string(100'000, 'x'), 1000), StatusCode::kOutOfBudget);
}

TEST(Tokenizer, ATextOfOneUnknownTokenIsNotTooLong) {
  json file = tiny_sentence_piece();
  file["model"]["byte_fallback"] = false;
  file["model"]["fuse_unk"] = true;
  const auto tokenizer = load_tiny(file);
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "水";
  const Ids ids = encode(*tokenizer, text, {.token_max = 4});
  EXPECT_LE(ids.size(), 4u);
}

TEST(Tokenizer, BoundsTheWordsThatMergesWorkOn) {
  const auto tokenizer = load_tiny(tiny_byte_level({{"a", "b"}}));
  tokenizer->set_word_size_max(1000);
  EXPECT_EQ(encode(*tokenizer, std::string(1000, 'x')).size(), 1000u);
  const auto refused = tokenizer->encode(std::string(1001, 'x'));
  EXPECT_EQ(refused.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(refused.status().message(), HasSubstr("1001 B"));
  EXPECT_EQ(encode(*tokenizer, std::string(1000, 'x') + " " + std::string(900, 'x')).size(), 1901u);
}

TEST(Tokenizer, InvalidUtf8IsAnErrorThatNamesTheOffset) {
  const auto tokenizer = load_tiny(tiny_byte_level());
  const auto ids = tokenizer->encode("abc\xFFz");
  ASSERT_FALSE(ids.ok());
  EXPECT_EQ(ids.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(ids.status().message(), HasSubstr("0xFF at offset 3 of 5"));
}

TEST(Tokenizer, ATextTheVocabularyCannotSpellIsAnError) {
  json file = tiny_byte_level();
  file["model"]["vocab"].erase("q");
  const auto ids = load_tiny(file)->encode("quit");
  ASSERT_FALSE(ids.ok());
  EXPECT_THAT(ids.status().message(), HasSubstr("byte 0x71"));
}

TEST(Tokenizer, IdsThatAreNoTokensAreErrors) {
  json file = tiny_byte_level();
  file["model"]["vocab"]["zz"] = 400;  // 258..399 are a gap
  const auto tokenizer = load_tiny(file);
  EXPECT_EQ(tokenizer->vocab_size(), 401u);
  for (const TokenId id : {-1, 401, INT32_MAX, INT32_MIN, 300}) {
    const auto text = tokenizer->decode(Ids{65, id});
    ASSERT_FALSE(text.ok()) << id;
    EXPECT_EQ(text.status().code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(text.status().message(), HasSubstr(std::to_string(id)));
    EXPECT_FALSE(tokenizer->is_token(id));
    EXPECT_FALSE(tokenizer->id_to_bytes(id).ok());
  }
  EXPECT_EQ(decode(*tokenizer, {400}), "zz");
}

TEST(Tokenizer, TokensAndIdsNameEachOther) {
  const auto tokenizer = load_tiny(tiny_byte_level({{" ", "t"}}));
  EXPECT_EQ(tokenizer->token_to_id(" t"), 256);
  EXPECT_EQ(tokenizer->token_to_id("<think>"), 258);
  EXPECT_EQ(tokenizer->token_to_id("nope"), std::nullopt);
  EXPECT_EQ(tokenizer->id_to_bytes(256).value(), " t");
  EXPECT_EQ(tokenizer->id_to_bytes(0xFF).value(), "\xFF");
}

TEST(Tokenizer, DecodingSkipsSpecialTokensWhenAsked) {
  const auto tokenizer = load_tiny(tiny_byte_level());
  EXPECT_EQ(decode(*tokenizer, {'a', 256, 257, 'b'}), "a<|end|><think>b");
  EXPECT_EQ(decode(*tokenizer, {'a', 256, 257, 'b'}, {.skip_special_tokens = true}), "a<think>b");
  const DecodeOptions keeping = {.skip_special_tokens = true, .kept = {256}};
  EXPECT_EQ(decode(*tokenizer, {'a', 256, 257, 'b'}, keeping), "a<|end|><think>b");
}

TEST(Tokenizer, DecodingAlwaysGivesValidUtf8) {
  const auto tokenizer = load_tiny(tiny_byte_level());
  EXPECT_EQ(decode(*tokenizer, {0xE6, 0xBC, 0xA2}), "漢");
  EXPECT_EQ(decode(*tokenizer, {0xE6, 0xBC, 'a', 0xFF}), "\uFFFDa\uFFFD");
  EXPECT_EQ(decode(*tokenizer, {0xE6, 0xBC, 257, 0xA2}), "\uFFFD<think>\uFFFD");
}

TEST(Tokenizer, SentencePieceStyleSpellsUnknownTextAsBytes) {
  const auto tokenizer = load_tiny(tiny_sentence_piece());
  const TokenId space = 259;
  const TokenId a = 260;
  const TokenId space_ab = 266;
  EXPECT_THAT(encode(*tokenizer, "ab a"), ElementsAre(space_ab, 265));
  EXPECT_THAT(encode(*tokenizer, "ab", {.add_special_tokens = true}), ElementsAre(1, space_ab));
  EXPECT_THAT(encode(*tokenizer, "漢a"), ElementsAre(space, 3 + 0xE6, 3 + 0xBC, 3 + 0xA2, a));
  EXPECT_EQ(decode(*tokenizer, encode(*tokenizer, "ab 漢 a")), "ab 漢 a");
  EXPECT_EQ(decode(*tokenizer, encode(*tokenizer, " a")), " a");
}

TEST(Tokenizer, UnknownTextIsTheUnknownTokenWithoutByteFallback) {
  json file = tiny_sentence_piece();
  file["model"]["byte_fallback"] = false;
  EXPECT_THAT(encode(*load_tiny(file), "漢字a漢"), ElementsAre(259, 0, 260, 0));
  file["model"]["fuse_unk"] = false;
  EXPECT_THAT(encode(*load_tiny(file), "漢字a"), ElementsAre(259, 0, 0, 260));
}

TEST(Tokenizer, ConfigNamesBosAndEos) {
  const json config = {{"bos_token", {{"content", "<|end|>"}}},
                       {"eos_token", "<think>"},
                       {"add_bos_token", true},
                       {"add_eos_token", nullptr}};
  const auto tokenizer = load_tiny(tiny_byte_level(), config.dump());
  EXPECT_EQ(tokenizer->bos_token(), "<|end|>");
  EXPECT_EQ(tokenizer->bos_id(), 256);
  EXPECT_EQ(tokenizer->eos_id(), 257);
  EXPECT_THAT(encode(*tokenizer, "a"), ElementsAre('a'));
  EXPECT_THAT(encode(*tokenizer, "a", {.add_special_tokens = true}), ElementsAre(256, 'a'));
}

TEST(Tokenizer, ARawTextBeginsWithBosOnce) {
  const json bos = {{"bos_token", "<|end|>"}, {"add_bos_token", true}};
  const auto byte_level = load_tiny(tiny_byte_level(), bos.dump());
  EXPECT_THAT(byte_level->encode_raw("a").value(), ElementsAre(256, 'a'));
  EXPECT_THAT(byte_level->encode_raw("<|end|>a").value(), ElementsAre(256, 'a'));
  EXPECT_THAT(byte_level->encode_raw("").value(), ElementsAre(256));
  EXPECT_THAT(load_tiny(tiny_byte_level())->encode_raw("a").value(), ElementsAre('a'));

  // The template of tokenizer.json, and what tokenizer_config.json says of it.
  const auto with = [](const json& config) {
    return load_tiny(tiny_sentence_piece(), config.dump())->encode_raw("").value();
  };
  EXPECT_THAT(with(json::object()), ElementsAre(1));
  EXPECT_THAT(with({{"bos_token", "<s>"}}), ElementsAre(1));
  EXPECT_THAT(with({{"bos_token", "<s>"}, {"add_bos_token", true}}), ElementsAre(1));
  EXPECT_THAT(with({{"bos_token", {{"content", "<s>"}}}, {"add_bos_token", false}}), ElementsAre());
}

TEST(Tokenizer, LoadReadsAModelFolder) {
  const TemporaryFolder folder;
  const auto missing = Tokenizer::load(folder.path());
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(missing.status().message(), HasSubstr("tokenizer.json"));

  folder.write("tokenizer.json", tiny_byte_level().dump());
  const auto loaded = Tokenizer::load(folder.path());
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  EXPECT_EQ((*loaded)->vocab_size(), 258u);
  EXPECT_EQ((*loaded)->eos_token(), std::nullopt);

  folder.write("tokenizer_config.json", R"({"eos_token": 5})");
  const auto bad_config = Tokenizer::load(folder.path());
  ASSERT_FALSE(bad_config.ok());
  EXPECT_THAT(bad_config.status().message(), HasSubstr("tokenizer_config.json: eos_token"));
}

TEST(Tokenizer, LoadReadsTheMapOfSpecialTokens) {
  const TemporaryFolder folder;
  folder.write("tokenizer.json", tiny_byte_level().dump());
  folder.write("special_tokens_map.json",
               R"({"eos_token": {"content": "<|end|>", "lstrip": false}, "bos_token": "<think>",
                   "additional_special_tokens": ["x"]})");
  const auto map_alone = Tokenizer::load(folder.path());
  ASSERT_TRUE(map_alone.ok()) << map_alone.status().message();
  EXPECT_EQ((*map_alone)->eos_id(), 256);
  EXPECT_EQ((*map_alone)->bos_id(), 257);
  EXPECT_THAT((*map_alone)->end_ids(), ElementsAre(256));

  folder.write("tokenizer_config.json",
               R"({"eos_token": "<think>", "bos_token": null, "add_bos_token": true})");
  const auto both = Tokenizer::load(folder.path());
  ASSERT_TRUE(both.ok()) << both.status().message();
  EXPECT_EQ((*both)->eos_id(), 257);
  EXPECT_THAT((*both)->end_ids(), ElementsAre(257, 256));
  EXPECT_THAT((*both)->encode_raw("a").value(), ElementsAre(257, 'a'));
}

TEST(Tokenizer, LoadSaysWhatADownloadLeftInPlaceOfAFile) {
  const TemporaryFolder folder;
  const std::string whole = tiny_byte_level().dump();
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}) {
    folder.write("tokenizer.json", whole);
    for (const std::string& text : {std::string(), std::string("<!DOCTYPE html>"),
                                    whole.substr(0, whole.size() / 2), std::string("[]")}) {
      folder.write(name, text);
      const Status status = Tokenizer::load(folder.path()).status();
      EXPECT_EQ(status.code(), StatusCode::kCorrupt);
      EXPECT_THAT(status.message(), HasSubstr(std::string(name) + ": "));
      EXPECT_THAT(status.message(), HasSubstr("download"));
    }
    std::filesystem::remove(folder / name);
  }
}

TEST(Tokenizer, ThreadsShareOne) {
  const auto tokenizer = load_tiny(tiny_byte_level({{"a", "b"}, {"ab", "c"}}));
  std::string text;
  for (int i = 0; i < 500; ++i) text += "abc ab " + std::to_string(i) + " <think> ";
  const Ids expected = encode(*tokenizer, text);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10; ++i) {
        const auto ids = tokenizer->encode(text);
        if (!ids.ok() || *ids != expected || !tokenizer->decode(*ids).ok()) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace flashmoe
