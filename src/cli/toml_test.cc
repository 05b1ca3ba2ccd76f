#include "cli/toml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/result.h"

namespace flashmoe::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(Toml, ReadsTablesAndValues) {
  const auto entries = parse_toml(
      "\xef\xbb\xbf# defaults\r\n"
      "model = '/models/a\\b'   # literal\r\n"
      "memory = \"12 GiB # not a comment\"\n"
      "context = 32_768\n"
      "\n"
      "[run]\n"
      "temperature = 0.7\n"
      "ignore-eos = true\n"
      "stop = [ \"\\n\\n\", # first\n"
      "         'END',\n"
      "       ]\n"
      "[ trace . \"replay\" ]\n"
      "chat.seed = 1\n",
      "f");
  ASSERT_TRUE(entries.ok()) << entries.status().message();
  ASSERT_EQ(entries->entries.size(), 7u);
  ASSERT_EQ(entries->tables.size(), 2u);
  EXPECT_THAT(entries->tables[1].name, ElementsAre("trace", "replay"));
  EXPECT_EQ(entries->tables[1].line, 12u);
  const auto& e = entries->entries;
  EXPECT_THAT(e[0].table, IsEmpty());
  EXPECT_EQ(e[0].key, "model");
  EXPECT_THAT(e[0].values, ElementsAre("/models/a\\b"));
  EXPECT_EQ(e[0].line, 2u);
  EXPECT_THAT(e[1].values, ElementsAre("12 GiB # not a comment"));
  EXPECT_THAT(e[2].values, ElementsAre("32768"));
  EXPECT_THAT(e[3].table, ElementsAre("run"));
  EXPECT_THAT(e[3].values, ElementsAre("0.7"));
  EXPECT_THAT(e[4].values, ElementsAre("true"));
  EXPECT_THAT(e[5].values, ElementsAre("\n\n", "END"));
  EXPECT_EQ(e[5].line, 9u);
  EXPECT_THAT(e[6].table, ElementsAre("trace", "replay", "chat"));
  EXPECT_EQ(e[6].key, "seed");
}

TEST(Toml, ReadsEscapes) {
  const auto document = parse_toml(R"(a = "caf\u00e9 \U0001F600\t\"x\\")", "f");
  ASSERT_TRUE(document.ok()) << document.status().message();
  EXPECT_THAT(document->entries[0].values, ElementsAre("caf\xc3\xa9 \xf0\x9f\x98\x80\t\"x\\"));
}

TEST(Toml, TakesAFileOfNothing) {
  for (const char* text : {"", "\n", "# only this", "[run]", "a = []"}) {
    EXPECT_TRUE(parse_toml(text, "f").ok()) << text;
  }
}

TEST(Toml, NamesTheLineAndWhatItExpected) {
  struct Case {
    const char* text;
    const char* part;
  };
  const Case cases[] = {
      {"a = 1\nmemory = 12GiB\n", "f, line 2: expected a number, true, false, or a text in quotes"},
      {"memory 12", "'=' after a key"},
      {"memory", "'=' after a key"},
      {"= 1", "a name"},
      {"[run", "']' after the name of a table"},
      {"[]", "a name"},
      {"a = \"x", "at the end of a text"},
      {"a = 'x\n'", "at the end of a text"},
      {"a = \"\\x\"", "after a backslash"},
      {"a = \"\\u00e\"", "a character's number"},
      {"a = \"\\ud800\"", "a character's number"},
      {"a = \"\\U00110000\"", "a character's number"},
      {"a = \"\\u-001\"", "a character's number"},
      {"a = \"\\u", "a character's number"},
      {"a = \"\"\"x\"\"\"", "a text in one line"},
      {"[[run]]", "one bracket, as [run]"},
      {"a = 1\n\na = 2", "f, line 3: a is there twice, first in line 1; remove one of them"},
      {"run.a = 1\n[run]\na = 2", "f, line 3: run.a is there twice, first in line 1"},
      {"[run]\na = 1\n[chat]\n[run]", "f, line 4: table run is there twice, first in line 1; make"},
      {"a = [\"x\", 1]", "expected a text in quotes in this array"},
      {"a = [1,\n true]", "f, line 2: expected a number in this array"},
      {"a = 1 2", "the end of the line and found '2'"},
      {"a = [1 2]", "',' or ']' in an array"},
      {"a = [1, ", "a number"},
      {"a =", "found the end of the line"},
      {"a = \033[2J", "found '\\x1b"},
  };
  for (const Case& c : cases) {
    const Status status = parse_toml(c.text, "f").status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << c.text;
    EXPECT_THAT(status.message(), HasSubstr(c.part)) << c.text;
    EXPECT_THAT(status.message(), ::testing::Not(HasSubstr("\033")));
  }
}

}  // namespace
}  // namespace flashmoe::cli
