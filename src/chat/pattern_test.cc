// Patterns against std::regex, which reads ECMA-262 as well, if slower.
#include "chat/pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <regex>

#include "chat/characters.h"

namespace flashmoe {
namespace {

using ::testing::HasSubstr;

bool finds(const char* pattern, std::string_view text) {
  RegularLanguage language;
  const Result<RegularLanguage::Term> term = compile_pattern(pattern, language);
  EXPECT_TRUE(term.ok()) << pattern << ": " << term.status().message();
  return term.ok() && language.accepts(*term, characters_of(text).value());
}

std::string pattern_complaint(std::string_view pattern) {
  RegularLanguage language;
  return compile_pattern(pattern, language).status().message();
}

TEST(Pattern, FindsWhatAnotherEngineFinds) {
  const char* const patterns[] = {"a",
                                  "^a",
                                  "a$",
                                  "^a$",
                                  "^(a|bc)*$",
                                  "ab+c?",
                                  "^a{2,3}b{2}$",
                                  "(^|b)a",
                                  "a(b|$)",
                                  "^$",
                                  "",
                                  "^a|b$",
                                  "(^a|b)c",
                                  "^(?:a|b){0,2}c{1,}$",
                                  "[^a]b",
                                  "[a-b]c|\\d\\w",
                                  "^\\S+\\s\\S*$",
                                  "^.b.$",
                                  "(a*)*b",
                                  "^(a?){3}$",
                                  "^(a|ab)(c|bcd)?$",
                                  "a{0}b",
                                  "^[\\w-]+$",
                                  "x*$",
                                  "(a|^b)+c",
                                  "^a*?b+?$",
                                  "^(?!ab)(?=.*c)a",
                                  "^(?!^[ab]*$)(?=a|b).{2,4}$",
                                  "^(?!.*cc)(?!a)"};
  std::mt19937 random(11);
  for (const char* const pattern : patterns) {
    const std::regex other(pattern);
    for (int i = 0; i < 400; ++i) {
      std::string text;
      for (std::size_t length = random() % 6; text.size() < length;) {
        text += "aabbccd1 -"[random() % 10];
      }
      EXPECT_EQ(finds(pattern, text), std::regex_search(text, other)) << pattern << " in " << text;
    }
  }
}

TEST(Pattern, CountsCharactersNotBytes) {
  EXPECT_TRUE(finds("^.{2}$", "漢😀"));
  EXPECT_TRUE(finds("^[\\u4e00-\\u9fff]+$", "漢字"));
  EXPECT_FALSE(finds("^[\\u4e00-\\u9fff]+$", "漢a"));
  EXPECT_TRUE(finds("^\\ud83d\\ude00$", "😀"));
  EXPECT_TRUE(finds("^\\u{1F600}$", "😀"));
  EXPECT_TRUE(finds("\\Aa\\Z", "a"));
  EXPECT_TRUE(finds("^\\x41\\u0042\\t\\.$", "AB\t."));
}

TEST(Pattern, RepeatsAsOftenAsBoundsSayAtNoCost) {
  EXPECT_TRUE(finds("^a{0,1000000000}$", std::string(500, 'a')));
  EXPECT_FALSE(finds("^a{1000000000}$", "aaa"));
  EXPECT_TRUE(finds("^((a{1,9999}){1,9999}){1,9999}$", "aaaa"));
}

TEST(Pattern, SaysWhatNoAutomatonHolds) {
  EXPECT_THAT(pattern_complaint("a(?=b)"), HasSubstr("lookaround"));
  EXPECT_THAT(pattern_complaint("(?<!a)b"), HasSubstr("lookaround"));
  EXPECT_THAT(pattern_complaint("(a)\\1"), HasSubstr("back reference"));
  EXPECT_THAT(pattern_complaint("\\bword\\b"), HasSubstr("word boundary"));
  EXPECT_THAT(pattern_complaint("\\p{L}"), HasSubstr("Unicode property"));
  for (const char* bad : {"(", ")", "[", "a)", "*", "a{2,1}", "\\", "[b-a]", "(?x)", "\\q"}) {
    EXPECT_NE(pattern_complaint(bad), "") << bad;
  }
  EXPECT_THAT(pattern_complaint(std::string(100'000, 'a')), HasSubstr("bytes"));
  EXPECT_THAT(pattern_complaint(std::string(5'000, '(')), HasSubstr("deep"));
}

TEST(Pattern, KnowsFormats) {
  struct Case {
    const char* format;
    const char* text;
    bool is_it;
  };
  for (const Case& each : {Case{"date", "2024-02-29", true},
                           {"date", "2023-02-29", false},
                           {"date", "1900-02-29", false},
                           {"date", "2000-02-29", true},
                           {"date", "2024-04-31", false},
                           {"date", "0000-01-01", false},
                           {"time", "23:59:59Z", true},
                           {"time", "24:00:00Z", false},
                           {"date-time", "2024-12-31T10:00:00.5+02:00", true},
                           {"date-time", "2024-12-31", false},
                           {"uuid", "123e4567-e89b-12d3-a456-426614174000", true},
                           {"uuid", "123e4567-e89b-12d3-a456-42661417400", false},
                           {"email", "a.b+c@example.org", true},
                           {"email", "a@b", false},
                           {"ipv4", "192.168.1.255", true},
                           {"ipv4", "192.168.1.256", false},
                           {"ipv6", "2001:db8::1", true},
                           {"ipv6", "::", true},
                           {"ipv6", "1:2:3", false},
                           {"uri", "https://example.org:8080/a/b?x=1#y", true},
                           {"uri", "example", false},
                           {"duration", "P1DT2H", true},
                           {"duration", "P", false},
                           {"hostname", "a-b.example", true}}) {
    const std::string pattern(format_pattern(each.format));
    EXPECT_EQ(finds(pattern.c_str(), each.text), each.is_it) << each.format << " " << each.text;
  }
  EXPECT_EQ(format_pattern("colour"), "");
}

}  // namespace
}  // namespace flashmoe
