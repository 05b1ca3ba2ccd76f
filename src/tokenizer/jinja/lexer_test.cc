#include "tokenizer/jinja/lexer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace flashmoe::jinja {
namespace {

// The data tokens of a template, joined by '|'.
std::string data_of(std::string_view source) {
  const auto tokens = tokenize(source);
  if (!tokens.ok()) return "error: " + tokens.status().message();
  std::string out;
  for (const Token& token : *tokens) {
    if (token.kind == TokenKind::kData) out += (out.empty() ? "" : "|") + token.text;
  }
  return out;
}

TEST(Lexer, ABlockAloneOnItsLineLeavesNoTrace) {
  EXPECT_EQ(data_of("a\n  {% x %}\nb"), "a\n|b");
  EXPECT_EQ(data_of("a\n  {# x #}\nb"), "a\n|b");
  EXPECT_EQ(data_of("  {% x %}\n\nb"), "\nb");
}

TEST(Lexer, OutputKeepsTheBlanksAroundIt) {
  EXPECT_EQ(data_of("a\n  {{ x }}\nb"), "a\n  |\nb");
  EXPECT_EQ(data_of("a  {% x %}b"), "a  |b");
}

TEST(Lexer, SignsOverrideTheTrimming) {
  EXPECT_EQ(data_of("a \n {%- x -%} \n b"), "a|b");
  EXPECT_EQ(data_of("a\n  {%+ x +%}\nb"), "a\n  |\nb");
  EXPECT_EQ(data_of("a {{- x -}} b"), "a|b");
  EXPECT_EQ(data_of("a {#- x -#} b"), "a|b");
}

TEST(Lexer, RawBlocksAreData) {
  EXPECT_EQ(data_of("{% raw %}{{ a }}{% b %}{% endraw %}c"), "{{ a }}{% b %}|c");
  EXPECT_EQ(data_of("{% raw %}{{ a }}"), "error: line 1: raw block without 'endraw'");
}

TEST(Lexer, NewlinesAreUnifiedAndTheLastOneDropped) {
  EXPECT_EQ(data_of("a\r\nb\rc\n"), "a\nb\nc");
  EXPECT_EQ(data_of("a\n\n"), "a\n");
  EXPECT_EQ(data_of("\n"), "");
}

TEST(Lexer, ClosingBracketsInsideATagDoNotEndIt) {
  const auto tokens = tokenize("{{ {'a': {}} }}x");
  ASSERT_TRUE(tokens.ok()) << tokens.status().message();
  EXPECT_EQ(tokens->back().kind, TokenKind::kEnd);
  EXPECT_EQ((*tokens)[tokens->size() - 2].text, "x");
  EXPECT_EQ(tokenize("{{ (] }}").status().message(), "line 1: ']' where ')' should be");
}

TEST(Lexer, TokensKnowTheirLines) {
  const auto tokens = tokenize("a\n{{ x\n + 'b\nc' }}\n{{ y }}");
  ASSERT_TRUE(tokens.ok());
  std::string lines;
  for (const Token& token : *tokens) {
    if (token.kind == TokenKind::kName || token.kind == TokenKind::kString) {
      lines += token.text.substr(0, 1) + std::to_string(token.line) + " ";
    }
  }
  EXPECT_EQ(lines, "x2 b3 y5 ");
}

TEST(Lexer, StringsResolvePythonsEscapes) {
  const auto text_of = [](std::string_view source) {
    const auto tokens = tokenize(source);
    return tokens.ok() ? (*tokens)[1].text : tokens.status().message();
  };
  EXPECT_EQ(text_of(R"({{ 'a\n\t\'\"\\\x41\u00e9\101\z' }})"), "a\n\t'\"\\A\u00e9A\\z");
  EXPECT_THAT(text_of(R"({{ '\x4' }})"), ::testing::HasSubstr("hexadecimal digits"));
  EXPECT_THAT(text_of(R"({{ '\ud800' }})"), ::testing::HasSubstr("not a character"));
}

TEST(Lexer, ANumberBehindADotIsNoFloat) {
  const auto tokens = tokenize("{{ a.0.1 }}");
  ASSERT_TRUE(tokens.ok());
  EXPECT_EQ((*tokens)[3].text, "0");
  EXPECT_EQ((*tokens)[5].text, "1");
}

TEST(Lexer, UnknownCharactersAndOpenTagsAreErrors) {
  EXPECT_EQ(tokenize("{{ $ }}").status().message(), "line 1: unexpected character '$'");
  EXPECT_EQ(tokenize("\n{{ a").status().message(), "line 2: tag without its end '}}'");
  EXPECT_EQ(tokenize("{% a").status().message(), "line 1: tag without its end '%}'");
}

}  // namespace
}  // namespace flashmoe::jinja
