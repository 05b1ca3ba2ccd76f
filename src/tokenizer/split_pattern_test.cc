#include "tokenizer/split_pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace flashmoe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kQwen[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// The stretches of `text`; what is no match is put in < >.
std::vector<std::string> split(const std::string& pattern, const std::string& text) {
  const auto compiled = SplitPattern::regex(pattern);
  EXPECT_TRUE(compiled.ok()) << compiled.status().message();
  PatternScratch scratch;
  std::vector<SplitPattern::Stretch> stretches;
  const Status status = compiled->split(text, scratch, stretches);
  EXPECT_TRUE(status.ok()) << status.message();
  std::vector<std::string> out;
  for (const auto& s : stretches) {
    const std::string piece = text.substr(s.begin, s.end - s.begin);
    out.push_back(s.is_match ? piece : "<" + piece + ">");
  }
  return out;
}

TEST(SplitPattern, CutsTextAsQwenDoes) {
  EXPECT_THAT(
      split(kQwen, "I'LL don't pay 42\n\n  ok!"),
      ElementsAre("I", "'LL", " don", "'t", " pay", " ", "4", "2", "\n\n", " ", " ok", "!"));
  EXPECT_THAT(split(kQwen, "a  \t b"), ElementsAre("a", "  \t", " b"));
  EXPECT_THAT(split(kQwen, "x   "), ElementsAre("x", "   "));
  EXPECT_THAT(split(kQwen, "'\u017F"), ElementsAre("'\u017F"));  // long s folds to s
}

TEST(SplitPattern, WhiteSpaceIsUnicodeWhiteSpace) {
  for (const char* space : {"\t", "\v", "\u0085", "\u00A0", "\u1680", "\u2000", "\u200A", "\u2028",
                            "\u202F", "\u205F", "\u3000"}) {
    EXPECT_THAT(split(R"(\s)", space), ElementsAre(space));
    EXPECT_THAT(split(R"([x\s])", space), ElementsAre(space));
    EXPECT_THAT(split(R"(\S)", space), ElementsAre("<" + std::string(space) + ">"));
  }
  for (const char* other : {"\u180E", "\u200B", "\uFEFF", "a"}) {
    EXPECT_THAT(split(R"(\S)", other), ElementsAre(other));
    EXPECT_THAT(split(R"([^\s])", other), ElementsAre(other));
  }
}

TEST(SplitPattern, KeepsWhatDoesNotMatch) {
  EXPECT_THAT(split(R"(\p{N}{1,3})", "ab12345c"), ElementsAre("<ab>", "123", "45", "<c>"));
  EXPECT_THAT(split("x*", "axxb"), ElementsAre("<a>", "xx", "<b>"));  // empty matches are none
  EXPECT_THAT(split("[]a]+", "x]a]"), ElementsAre("<x>", "]a]"));
  EXPECT_THAT(split("^b", "a\nb"), ElementsAre("<a\n>", "b"));  // ^ is the beginning of a line
}

TEST(SplitPattern, RefusesWhatTheTwoDialectsReadDifferently) {
  for (const char* pattern :
       {R"([\p{L}&&[^a]])", "[a[b]]", R"(\h)", R"(a\Kb)", R"(\p{N}{1,3}+)", R"(\R)"}) {
    const auto compiled = SplitPattern::regex(pattern);
    ASSERT_FALSE(compiled.ok()) << pattern;
    EXPECT_EQ(compiled.status().code(), StatusCode::kUnsupported);
    EXPECT_THAT(compiled.status().message(), HasSubstr(pattern));
  }
}

TEST(SplitPattern, RefusesWhatIsNoRegularExpression) {
  for (const char* pattern : {"(", "[a", R"(\p{Nonsense})", "a{2,1}", R"(\C)", "*"}) {
    const auto compiled = SplitPattern::regex(pattern);
    ASSERT_FALSE(compiled.ok()) << pattern;
    EXPECT_EQ(compiled.status().code(), StatusCode::kCorrupt) << pattern;
  }
  EXPECT_FALSE(SplitPattern::regex(std::string(100'000, 'a')).ok());
}

TEST(SplitPattern, GivesUpOnPatternsThatBacktrackWithoutEnd) {
  const auto compiled = SplitPattern::regex("(a+)+[bc]");
  ASSERT_TRUE(compiled.ok());
  PatternScratch scratch;
  std::vector<SplitPattern::Stretch> stretches;
  const Status status = compiled->split(std::string(5000, 'a'), scratch, stretches);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("backtracks"));
}

TEST(SplitPattern, TakesLongRunsInItsStride) {
  for (const char c : {' ', 'a', '1', '\n', '!'}) {
    const std::string run(2'000'000, c);
    std::string joined;
    for (const std::string& piece : split(kQwen, run + "x")) joined += piece;
    EXPECT_EQ(joined.size(), run.size() + 1);
  }
}

TEST(SplitPattern, LiteralsMatchThemselves) {
  const SplitPattern pattern = SplitPattern::literal("..");
  PatternScratch scratch;
  std::vector<SplitPattern::Stretch> stretches;
  ASSERT_TRUE(pattern.split("a...b", scratch, stretches).ok());
  ASSERT_EQ(stretches.size(), 3u);
  EXPECT_TRUE(stretches[1].is_match);
  EXPECT_EQ(stretches[1].begin, 1u);
  EXPECT_EQ(stretches[1].end, 3u);
}

}  // namespace
}  // namespace flashmoe
