#include "tokenizer/stop_matcher.h"

#include <gtest/gtest.h>

#include <random>

namespace flashmoe {
namespace {

StopMatcher make(std::vector<std::string> stops) {
  auto matcher = StopMatcher::create(std::move(stops));
  EXPECT_TRUE(matcher.ok());
  return std::move(matcher).value();
}

TEST(StopMatcher, HoldsBackWhatMayBecomeAStopString) {
  StopMatcher matcher = make({"\nUser:"});
  std::string out;
  matcher.push("hello\nUs", out);
  EXPECT_EQ(out, "hello");
  matcher.push("ual", out);
  EXPECT_EQ(out, "hello\nUsual");
  matcher.push("\nUser: more", out);
  EXPECT_EQ(out, "hello\nUsual");
  EXPECT_EQ(matcher.match(), 0u);
  matcher.push("more", out);
  matcher.finish(out);
  EXPECT_EQ(out, "hello\nUsual");
}

TEST(StopMatcher, ReleasesTheRestAtTheEnd) {
  StopMatcher matcher = make({"abab", "c"});
  std::string out;
  matcher.push("xaba", out);
  EXPECT_EQ(out, "x");
  matcher.finish(out);
  EXPECT_EQ(out, "xaba");
  EXPECT_EQ(matcher.match(), std::nullopt);
}

TEST(StopMatcher, TheFirstToBeCompleteCounts) {
  StopMatcher matcher = make({"abc", "b"});
  std::string out;
  matcher.push("abc", out);
  EXPECT_EQ(matcher.match(), 1u);
  EXPECT_EQ(out, "a");

  StopMatcher together = make({"b", "ab"});
  out.clear();
  together.push("xab", out);
  EXPECT_EQ(together.match(), 1u);
  EXPECT_EQ(out, "x");
}

TEST(StopMatcher, FindsAStopStringThatBeginsInsideAFalseStart) {
  StopMatcher matcher = make({"aab"});
  std::string out;
  matcher.push("aaa", out);
  EXPECT_EQ(out, "a");
  matcher.push("b", out);
  EXPECT_EQ(matcher.match(), 0u);
  EXPECT_EQ(out, "a");
}

TEST(StopMatcher, LooksAtNothingWithinAPassage) {
  struct Case {
    std::string text;
    std::string shown;
    std::optional<std::size_t> match;
  };
  const std::vector<std::string> stops = {"call", "\n", "x<tool"};
  const std::vector<StopMatcher::Passage> passages = {{"<tool_call>", "</tool_call>"},
                                                      {"<function=", "</function>"}};
  for (const Case& each : {
           Case{"a <tool_call>\ncall</tool_call> b\nc", "a <tool_call>\ncall</tool_call> b", 1},
           Case{"<function=call>\n</function>call", "<function=call>\n</function>", 0},
           Case{"x<tool_call>call", "x<tool_call>call", std::nullopt},
           Case{"<tool_call<tool_call>\n", "<tool_", 0},
           Case{"x<toolbox", "", 2},
           Case{"x<tool", "", 2},
           Case{"<tool_call", "<tool_", 0},
           Case{"<tool_call>call</tool_call", "<tool_call>call</tool_call", std::nullopt},
           Case{"recall <tool_call>", "re", 0},
           Case{"call<tool_call>", "", 0},
       }) {
    for (std::size_t size = 1; size <= each.text.size(); ++size) {
      StopMatcher matcher = StopMatcher::create(stops, passages).value();
      std::string shown;
      for (std::size_t at = 0; at < each.text.size(); at += size) {
        matcher.push(std::string_view(each.text).substr(at, size), shown);
      }
      matcher.finish(shown);
      EXPECT_EQ(shown, each.shown) << each.text << " by " << size;
      EXPECT_EQ(matcher.match(), each.match) << each.text << " by " << size;
    }
  }
}

TEST(StopMatcher, AnEmptyStopStringIsAnError) { EXPECT_FALSE(StopMatcher::create({"a", ""}).ok()); }

TEST(StopMatcher, TheOutcomeDoesNotDependOnTheCuts) {
  std::mt19937 random(20260601);
  const auto word = [&](int size_max) {
    std::string text(random() % static_cast<unsigned>(size_max) + 1, 'a');
    for (char& c : text) c = static_cast<char>('a' + random() % 2);
    return text;
  };
  for (int round = 0; round < 2000; ++round) {
    const std::vector<std::string> stops = {word(5), word(8)};
    const std::string text = word(30);
    StopMatcher whole = make(stops);
    std::string expected;
    whole.push(text, expected);
    whole.finish(expected);
    StopMatcher cut = make(stops);
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t size = random() % 4 + 1;
      cut.push(std::string_view(text).substr(at, size), out);
      ASSERT_TRUE(expected.starts_with(out));
      at += size;
    }
    cut.finish(out);
    ASSERT_EQ(out, expected) << text;
    ASSERT_EQ(cut.match(), whole.match());
    // What is released holds no stop string, and is the text up to the first that is complete.
    std::size_t end = std::string::npos;
    for (const std::string& stop : stops) {
      ASSERT_EQ(out.find(stop), std::string::npos);
      const std::size_t at = text.find(stop);
      if (at != std::string::npos) end = std::min(end, at + stop.size());
    }
    if (end == std::string::npos) {
      ASSERT_EQ(out, text);
    } else {
      ASSERT_EQ(out.size() + stops[*cut.match()].size(), end);
    }
  }
}

TEST(StopMatcher, SeesHiddenTextAndShowsNoneOfIt) {
  StopMatcher matcher = StopMatcher::create({"b<end>c", "<end><end>"}).value();
  std::string out;
  matcher.push("ab", out);
  matcher.push_hidden("<end>", out);
  EXPECT_EQ(out, "a");
  matcher.push("d", out);
  EXPECT_EQ(out, "abd");
  matcher.push_hidden("<en", out);
  matcher.finish(out);
  EXPECT_EQ(out, "abd");
  matcher.push("e", out);
  matcher.push_hidden("<end><end>", out);
  EXPECT_EQ(out, "abde");
  EXPECT_EQ(matcher.match(), 1U);
}

}  // namespace
}  // namespace flashmoe
