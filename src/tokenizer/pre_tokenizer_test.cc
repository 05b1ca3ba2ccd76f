#include "tokenizer/pre_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace flashmoe {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> cut(const json& node, std::string_view text, bool is_text_start = true) {
  const auto pre_tokenizer = PreTokenizer::from_json(JsonNode(node, "pre_tokenizer"));
  EXPECT_TRUE(pre_tokenizer.ok()) << pre_tokenizer.status().message();
  PieceList list;
  list.text = text;
  PatternScratch scratch;
  EXPECT_TRUE(pre_tokenizer->apply(list, is_text_start, scratch).ok());
  std::vector<std::string> pieces;
  for (const auto& piece : list.pieces)
    pieces.emplace_back(list.text.substr(piece.begin, piece.size));
  return pieces;
}

json split_config(const char* behavior, bool invert = false) {
  return {{"type", "Split"},
          {"pattern", {{"String", "-"}}},
          {"behavior", behavior},
          {"invert", invert}};
}

TEST(PreTokenizer, SplitBehavesAsNamed) {
  EXPECT_THAT(cut(split_config("Isolated"), "a--b"), ElementsAre("a", "-", "-", "b"));
  EXPECT_THAT(cut(split_config("Removed"), "a--b"), ElementsAre("a", "b"));
  EXPECT_THAT(cut(split_config("MergedWithPrevious"), "a--b-"), ElementsAre("a-", "-", "b-"));
  EXPECT_THAT(cut(split_config("MergedWithNext"), "a--b-"), ElementsAre("a", "-", "-b", "-"));
  EXPECT_THAT(cut(split_config("Contiguous"), "a--b"), ElementsAre("a", "--", "b"));
  EXPECT_THAT(cut(split_config("Removed", true), "a--b"), ElementsAre("-", "-"));
  EXPECT_THAT(cut(split_config("Isolated"), ""), IsEmpty());
}

TEST(PreTokenizer, DigitsStandAloneOrTogether) {
  EXPECT_THAT(cut({{"type", "Digits"}, {"individual_digits", true}}, "a12½"),
              ElementsAre("a", "1", "2", "½"));
  EXPECT_THAT(cut({{"type", "Digits"}}, "a12b"), ElementsAre("a", "12", "b"));
}

TEST(PreTokenizer, ByteLevelAddsItsSpaceAndPattern) {
  EXPECT_THAT(cut({{"type", "ByteLevel"}}, "it's 12"), ElementsAre(" it", "'s", " 12"));
  EXPECT_THAT(
      cut({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}, "a b"),
      ElementsAre("a b"));
}

TEST(PreTokenizer, MetaspaceMarksSpaces) {
  const auto metaspace = [](const char* scheme, bool cuts) {
    return json{
        {"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", scheme}, {"split", cuts}};
  };
  EXPECT_THAT(cut(metaspace("always", true), "a b  c"), ElementsAre("▁a", "▁b", "▁", "▁c"));
  EXPECT_THAT(cut(metaspace("always", false), " a"), ElementsAre("▁a"));
  EXPECT_THAT(cut(metaspace("never", true), "a b"), ElementsAre("a", "▁b"));
  EXPECT_THAT(cut(metaspace("first", false), "a b"), ElementsAre("▁a▁b"));
  EXPECT_THAT(cut(metaspace("first", false), "a b", false), ElementsAre("a▁b"));
}

TEST(PreTokenizer, StepsOfASequenceCutWhatIsLeft) {
  const json steps = {split_config("Isolated"), {{"type", "Digits"}, {"individual_digits", true}}};
  EXPECT_THAT(cut({{"type", "Sequence"}, {"pretokenizers", steps}}, "a1-23"),
              ElementsAre("a", "1", "-", "2", "3"));
}

}  // namespace
}  // namespace flashmoe
