#include "format/json_file.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/testing/temporary_folder.h"
#include "format/testing/expect_failure.h"

namespace flashmoe {
namespace {

TEST(ParseJson, BuildsWhatTheTextSays) {
  const auto value = parse_json(R"({"a": [1, -2, 2.5, true, null, "é"], "b": {"c": {}}})", "f");
  ASSERT_TRUE(value.ok()) << value.status().message();
  EXPECT_EQ(*value,
            nlohmann::json::parse(R"({"a": [1, -2, 2.5, true, null, "é"], "b": {"c": {}}})"));
  EXPECT_EQ(parse_json("17", "f").value(), 17);
}

TEST(ParseJson, ResolvesNumbersThatJsonCannotWrite) {
  const auto value = parse_json(
      R"({"a": [{"__float__": "Infinity"}, {"__float__": "-Infinity"}], "b": {"__float__": "NaN"}})",
      "f");
  ASSERT_TRUE(value.ok()) << value.status().message();
  EXPECT_EQ((*value)["a"][0].get<double>(), std::numeric_limits<double>::infinity());
  EXPECT_EQ((*value)["a"][1].get<double>(), -std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan((*value)["b"].get<double>()));
}

TEST(ParseJson, ReadsTheNumbersThatPythonWrites) {
  const auto value = parse_json(
      R"({"time_step_limit": [0.0, Infinity], "a": -Infinity, "b": NaN, "c": "NaN \"Infinity"})",
      "f");
  ASSERT_TRUE(value.ok()) << value.status().message();
  EXPECT_EQ((*value)["time_step_limit"][1].get<double>(), std::numeric_limits<double>::infinity());
  EXPECT_EQ((*value)["a"].get<double>(), -std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan((*value)["b"].get<double>()));
  EXPECT_EQ((*value)["c"], "NaN \"Infinity");
  for (const char* text : {"NaNa", "+Infinity", "[Infinity", "{Infinity: 1}", "\"NaN", "\"NaN\\"}) {
    EXPECT_FALSE(parse_json(text, "f").ok()) << text;
  }
}

TEST(ParseJson, SaysThatJsonHasNoComments) {
  for (const char* text : {"{\"a\": 1 // one\n}", "/* mine */ {\"a\": \"//\"}"}) {
    expect_failure(parse_json(text, "f").status(), StatusCode::kCorrupt, {"f", "remove them"});
  }
  EXPECT_EQ(parse_json(R"("// no /* comment")", "f").value(), "// no /* comment");
  expect_failure(parse_json("{\"a/b\": }", "f").status(), StatusCode::kCorrupt, {"download"});
}

TEST(ParseJson, KeepsAnObjectThatOnlyLooksLikeANumber) {
  const auto value = parse_json(R"([{"__float__": 1}, {"__float__": "Infinity", "x": 1}])", "f");
  ASSERT_TRUE(value.ok()) << value.status().message();
  EXPECT_TRUE((*value)[0].is_object());
  EXPECT_TRUE((*value)[1].is_object());
}

TEST(ParseJson, NamesFileLineAndColumnOfAnError) {
  expect_failure(parse_json("{\n  \"a\": ,\n}", "dir/config.json").status(), StatusCode::kCorrupt,
                 {"dir/config.json", "line 2, column 8", "download"});
}

TEST(ParseJson, RefusesWhatIsNotOneValue) {
  for (const char* text :
       {"", "{", "{}{}", "[1,]", "{\"a\"}", "nul", "\"\xff\"", "1e999", "\"a\nb\""}) {
    SCOPED_TRACE(text);
    expect_failure(parse_json(text, "f.json").status(), StatusCode::kCorrupt, {"f.json"});
  }
}

TEST(ParseJson, RefusesAKeySaidTwice) {
  expect_failure(parse_json(R"({"x": {"bits": 4, "bits": 8}})", "f.json").status(),
                 StatusCode::kCorrupt, {"f.json", "bits", "twice", "keep the one"});
}

TEST(ParseJson, RefusesWhatIsTooDeepOrTooLarge) {
  const JsonLimits limits{.size_bytes = 100, .depth = 3};
  EXPECT_TRUE(parse_json("[[[1]]]", "f.json", limits).ok());
  expect_failure(parse_json("[[[[1]]]]", "f.json", limits).status(), StatusCode::kCorrupt,
                 {"f.json", "3 deep"});
  expect_failure(parse_json(std::string(101, ' '), "f.json", limits).status(), StatusCode::kCorrupt,
                 {"f.json", "101 B"});
  expect_failure(parse_json(std::string(1 << 20, '['), "f.json").status(), StatusCode::kCorrupt,
                 {"64 deep"});
}

TEST(ParseJson, KeepsControlCharactersOutOfMessages) {
  const Status status = parse_json("{\"\\u001b[31m\": 1, \"\\u001b[31m\": 2}", "f").status();
  expect_failure(status, StatusCode::kCorrupt, {"\\x1b[31m"});
  EXPECT_EQ(status.message().find('\x1b'), std::string::npos);
}

TEST(LoadJsonFile, ReportsAFileThatIsAbsentOrTooLarge) {
  const TemporaryFolder folder;
  expect_failure(load_json_file(folder.path() / "config.json").status(), StatusCode::kNotFound,
                 {"config.json"});
  const auto path = folder.write("big.json", std::string(1000, ' ') + "1");
  EXPECT_EQ(load_json_file(path).value(), 1);
  expect_failure(load_json_file(path, {.size_bytes = 1000}).status(), StatusCode::kCorrupt,
                 {"big.json", "1001 B", "1000 B"});
}

}  // namespace
}  // namespace flashmoe
