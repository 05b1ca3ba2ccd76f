// Random texts and ids, on the shipped tokenizer and tiny ones.
#include <gtest/gtest.h>

#include <random>

#include "base/testing/repository.h"
#include "base/utf8.h"
#include "tokenizer/detokenizer.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/testing/tiny_tokenizer.h"
#include "tokenizer/tokenizer.h"

namespace flashmoe {
namespace {

constexpr unsigned kSeed = 20260601;

// Words, spaces, Han, combining marks, emoji, control tokens: what stands next to each other
// matters.
std::string random_text(std::mt19937& random, std::size_t part_count) {
  static const char* const kParts[] = {
      "the", " of",     "  ",     "\n",           "don't",      "12",      "漢字",
      "が",  "e\u0301", "\u3099", "🙂",         "<|im_end|>", "<think>", "<|im",
      "\t",  "ÀÉ",      "한글",   "\u1100\u1161", "x_1",        "!!",      "\u00A0"};
  std::string text;
  for (std::size_t i = 0; i < part_count; ++i) {
    if (random() % 4 == 0) {
      char32_t c = random() % 0x11000;
      if (c >= 0xD800 && c <= 0xDFFF) c = 'x';
      append_utf8(c, text);
    } else {
      text += kParts[random() % std::size(kParts)];
    }
  }
  return text;
}

std::unique_ptr<Tokenizer> load_sprout() {
  auto loaded = Tokenizer::load(source_folder() / "models/sprout-89m-4bit");
  EXPECT_TRUE(loaded.ok()) << loaded.status().message();
  return std::move(loaded).value();
}

TEST(TokenizerProperty, DecodingGivesBackTheNormalisedText) {
  SCOPED_TRACE(kSeed);
  std::mt19937 random(kSeed);
  const auto tokenizer = load_sprout();
  for (int round = 0; round < 1000; ++round) {
    const std::string text = random_text(random, random() % 40);
    std::string expected;
    ASSERT_TRUE(normalize_nfc(text, expected).ok());
    const auto ids = tokenizer->encode(text);
    ASSERT_TRUE(ids.ok());
    ASSERT_EQ(tokenizer->decode(*ids).value(), expected);
    const auto plain = tokenizer->encode(text, {.added_tokens = EncodeOptions::AddedTokens::kNone});
    ASSERT_EQ(tokenizer->decode(*plain).value(), expected);
    for (const TokenId id : *plain) ASSERT_FALSE(tokenizer->is_special(id));
  }
}

TEST(TokenizerProperty, StreamingGivesTheTextOfDecodingAtOnce) {
  SCOPED_TRACE(kSeed);
  std::mt19937 random(kSeed);
  const auto sprout = load_sprout();
  const auto bytes = testing::load_tiny(testing::tiny_byte_level({{"\xE6", "\xBC"}}));
  const auto pieces = testing::load_tiny(testing::tiny_sentence_piece());
  for (const Tokenizer* tokenizer : {sprout.get(), bytes.get(), pieces.get()}) {
    for (const bool skip : {false, true}) {
      for (int round = 0; round < 500; ++round) {
        std::vector<TokenId> ids(random() % 30);
        for (TokenId& id : ids) id = static_cast<TokenId>(random() % tokenizer->vocab_size());
        Detokenizer detokenizer(*tokenizer, {.skip_special_tokens = skip});
        std::string streamed;
        for (const TokenId id : ids) {
          std::string part;
          ASSERT_TRUE(detokenizer.push(id, part).ok());
          ASSERT_EQ(find_invalid_utf8(part), std::string_view::npos);
          streamed += part;
        }
        std::string rest;
        detokenizer.finish(rest);
        ASSERT_EQ(find_invalid_utf8(rest), std::string_view::npos);
        streamed += rest;
        ASSERT_EQ(streamed, tokenizer->decode(ids, {.skip_special_tokens = skip}).value());
      }
    }
  }
}

// Byte-pair encoding as its definition says it, on strings.
std::vector<std::string> merge_by_definition(
    const std::string& piece, const std::vector<std::pair<std::string, std::string>>& merges) {
  std::vector<std::string> symbols;
  for (const char c : piece) symbols.emplace_back(1, c);
  for (bool merged = true; merged;) {
    merged = false;
    for (const auto& [left, right] : merges) {
      for (std::size_t i = 0; i + 1 < symbols.size() && !merged; ++i) {
        if (symbols[i] != left || symbols[i + 1] != right) continue;
        symbols[i] += right;
        symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(i) + 1);
        merged = true;
      }
      if (merged) break;
    }
  }
  return symbols;
}

TEST(TokenizerProperty, MergesFollowTheDefinition) {
  SCOPED_TRACE(kSeed);
  std::mt19937 random(kSeed);
  for (int round = 0; round < 60; ++round) {
    // Each merge joins two tokens that exist already.
    std::vector<std::string> tokens = {"a", "b", "c"};
    std::vector<std::pair<std::string, std::string>> merges;
    while (merges.size() < 20) {
      const std::string left = tokens[random() % tokens.size()];
      const std::string right = tokens[random() % tokens.size()];
      if (std::find(tokens.begin(), tokens.end(), left + right) != tokens.end()) continue;
      tokens.push_back(left + right);
      merges.emplace_back(left, right);
    }
    const auto tokenizer = testing::load_tiny(testing::tiny_byte_level(merges));
    for (const std::size_t size : {1u, 5u, 20u, 47u, 48u, 49u, 50u, 300u}) {
      std::string piece(size, 'a');
      for (char& c : piece) c = static_cast<char>('a' + random() % 3);
      const auto ids = tokenizer->encode(piece);
      ASSERT_TRUE(ids.ok());
      std::vector<std::string> symbols;
      for (const TokenId id : *ids) symbols.push_back(tokenizer->id_to_bytes(id).value());
      ASSERT_EQ(symbols, merge_by_definition(piece, merges)) << piece;
    }
  }
}

}  // namespace
}  // namespace flashmoe
