#include "chat/json_reader.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <string>

namespace flashmoe {
namespace {

using Json = nlohmann::ordered_json;

bool reads(std::string_view text) {
  // White space behind a value is not of it.
  while (!text.empty() && (text.back() == ' ' || text.back() == '\n')) text.remove_suffix(1);
  JsonReader reader;
  return reader.push(text) && reader.can_end();
}

/// As another parser sees it: for which a number may also be too large.
bool is_json(const std::string& text) {
  try {
    return !Json::parse(text).is_discarded();
  } catch (const Json::out_of_range&) {
    return true;
  } catch (const Json::parse_error&) {
    return false;
  }
}

TEST(JsonReader, ReadsWhatAJsonParserReads) {
  std::mt19937 random(7);
  const std::string alphabet = "{}[]\",:0123456789.-+eE truefalsn\\u/abdD8cC\n";
  const std::string seeds[] = {R"({"a":[1,2.5e-3,true,null,"x\u00e9\n"],"b":{}})",
                               "[]",
                               "-0.5",
                               "12",
                               "\"\\\"\"",
                               "  {\"k\" : [ { } , [ ] ] }  ",
                               "1e5",
                               "01",
                               "[1,]",
                               "{\"a\":1,}",
                               "\"\\u12\"",
                               "\"\\ud83d\\ude00\"",
                               "tru",
                               "nulll",
                               "-",
                               "1.",
                               ".5"};
  for (const std::string& seed : seeds) {
    for (int i = 0; i < 2000; ++i) {
      std::string text = seed;
      for (int edits = i % 4; edits > 0 && !text.empty(); --edits) {
        const std::size_t at = random() % text.size();
        const char c = alphabet[random() % alphabet.size()];
        random() % 2 == 0 ? text.erase(at, 1) : text.insert(at, 1, c);
      }
      EXPECT_EQ(reads(text), is_json(text)) << text;
    }
  }
}

TEST(JsonReader, RefusesInvalidUtf8) {
  EXPECT_TRUE(reads("\"é漢😀\""));
  for (const char* bad : {"\"\xC3\"", "\"\x80\"", "\"\xED\xA0\x80\"", "\"\xE0\x80\x80\"",
                          "\"\xF4\x90\x80\x80\"", "\"\xC0\x80\""}) {
    EXPECT_FALSE(reads(bad)) << bad;
  }
}

TEST(JsonReader, KnowsWhereAValueEnds) {
  JsonReader number;
  EXPECT_TRUE(number.push("12"));
  EXPECT_TRUE(number.can_end());
  EXPECT_FALSE(number.must_end());
  EXPECT_FALSE(number.push('x'));
  EXPECT_TRUE(number.push('3'));
  JsonReader object;
  EXPECT_TRUE(object.push("{\"a\": [1, 2]"));
  EXPECT_FALSE(object.can_end());
  EXPECT_TRUE(object.push('}'));
  EXPECT_TRUE(object.must_end());
}

TEST(JsonReader, ReadsLongValuesInBoundedMemory) {
  JsonReader reader;
  EXPECT_TRUE(reader.push('['));
  for (int i = 0; i < 20'000; ++i) EXPECT_TRUE(reader.push("{\"k\": \"some text\", \"n\": 12}, "));
  EXPECT_TRUE(reader.push("0]"));
  EXPECT_TRUE(reader.must_end());
}

}  // namespace
}  // namespace flashmoe
