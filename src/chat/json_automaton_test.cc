#include "chat/json_automaton.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace flashmoe {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

bool accepts(const SchemaNode& root, std::string_view text) {
  JsonAutomaton automaton(root);
  return automaton.push(text) && automaton.can_end();
}

bool accepts(const char* schema, std::string_view text) {
  const Result<JsonSchema> compiled = JsonSchema::compile(Json::parse(schema), true);
  EXPECT_TRUE(compiled.ok()) << compiled.status().message();
  return accepts(compiled->root(), text);
}

/// As another parser sees it: for which a number may also be too large.
bool is_json(const std::string& text) {
  try {
    const Json parsed = Json::parse(text);
    return true;
  } catch (const Json::out_of_range&) {
    return true;
  } catch (const Json::parse_error&) {
    return false;
  }
}

std::string complaint(const char* schema) {
  return JsonSchema::compile(Json::parse(schema), true).status().message();
}

TEST(JsonAutomaton, AcceptsWhatAJsonParserAccepts) {
  std::mt19937 random(7);
  const std::string alphabet = "{}[]\",:0123456789.-+eE truefalsn\\u/ab\n";
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
                               "tru",
                               "nulll",
                               "-",
                               "1.",
                               ".5"};
  for (const std::string& seed : seeds) {
    for (int i = 0; i < 3000; ++i) {
      std::string text = seed;
      for (int edits = i % 4; edits > 0 && !text.empty(); --edits) {
        const std::size_t at = random() % text.size();
        const char c = alphabet[random() % alphabet.size()];
        random() % 2 == 0 ? text.erase(at, 1) : text.insert(at, 1, c);
      }
      EXPECT_EQ(accepts(JsonSchema::any(), text), is_json(text)) << text;
    }
  }
}

TEST(JsonAutomaton, RefusesInvalidUtf8) {
  EXPECT_TRUE(accepts(JsonSchema::any(), "\"é漢😀\""));
  EXPECT_FALSE(accepts(JsonSchema::any(), "\"\xC3\""));
  EXPECT_FALSE(accepts(JsonSchema::any(), "\"\x80\""));
}

TEST(JsonAutomaton, HoldsObjectsToTheirProperties) {
  const char* const schema = R"({"type": "object", "properties": {
      "name": {"type": "string"}, "age": {"type": "integer"}, "tags": {"type": "array",
      "items": {"enum": ["a", "ab", 3]}, "minItems": 1, "maxItems": 2}}, "required": ["name"]})";
  EXPECT_TRUE(accepts(schema, R"({"name": "x"})"));
  EXPECT_TRUE(accepts(schema, R"({"age": 3, "name": "x", "tags": ["ab", 3]})"));
  for (const char* bad :
       {"{}", R"({"age": 3})", R"({"name": 3})", R"({"name": "x", "name": "y"})", R"({"nam": "x"})",
        R"({"name": "x", "other": 1})", R"({"name": "x", "age": 1.5})",
        R"({"name": "x", "tags": []})", R"({"name": "x", "tags": ["a", "a", "a"]})",
        R"({"name": "x", "tags": ["abc"]})", R"({"name": "x",})", R"([])"}) {
    EXPECT_FALSE(accepts(schema, bad)) << bad;
  }
}

TEST(JsonAutomaton, FollowsAllAlternatives) {
  const char* const schema = R"({"anyOf": [{"type": "integer"}, {"type": "object",
      "properties": {"kind": {"const": "one"}, "x": {"type": "number"}}, "required": ["kind"]},
      {"type": "object", "properties": {"kind": {"const": "other"}, "y": {"type": ["null", "string"]}},
      "required": ["kind", "y"]}]})";
  EXPECT_TRUE(accepts(schema, "17"));
  EXPECT_TRUE(accepts(schema, R"({"kind": "one", "x": 1.5})"));
  EXPECT_TRUE(accepts(schema, R"({"kind": "other", "y": null})"));
  EXPECT_FALSE(accepts(schema, R"({"kind": "other", "x": 1})"));
  EXPECT_FALSE(accepts(schema, R"({"kind": "other"})"));
  EXPECT_FALSE(accepts(schema, "1.5"));
}

TEST(JsonAutomaton, FollowsReferencesInCircles) {
  const char* const schema = R"({"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "object",
      "properties": {"value": {"type": "number"}, "children": {"type": "array", "items":
      {"$ref": "#/$defs/tree"}}}, "required": ["value"]}}})";
  EXPECT_TRUE(accepts(schema, R"({"value": 1, "children": [{"value": 2}, {"value": 3,
      "children": []}]})"));
  EXPECT_FALSE(accepts(schema, R"({"value": 1, "children": [{"children": []}]})"));
}

TEST(JsonAutomaton, EndsNumbersAndEnumsWhereTheyMayEnd) {
  EXPECT_TRUE(accepts(R"({"enum": [1, 12]})", "1"));
  EXPECT_TRUE(accepts(R"({"enum": [1, 12]})", "12"));
  EXPECT_FALSE(accepts(R"({"enum": [1, 12]})", "121"));
  EXPECT_TRUE(accepts(R"({"type": "array", "items": {"enum": [1, 12]}})", "[1,12 , 1]"));
  JsonAutomaton automaton(JsonSchema::any());
  EXPECT_TRUE(automaton.push("12"));
  EXPECT_TRUE(automaton.can_end());
  EXPECT_FALSE(automaton.must_end());
  EXPECT_FALSE(automaton.push("x"));
}

TEST(JsonAutomaton, CountsCharactersAndBoundsSpace) {
  EXPECT_TRUE(accepts(R"({"type": "string", "minLength": 2, "maxLength": 3})", "\"漢字\""));
  EXPECT_FALSE(accepts(R"({"type": "string", "minLength": 2, "maxLength": 3})", "\"漢\""));
  EXPECT_FALSE(accepts(R"({"type": "string", "minLength": 2, "maxLength": 3})", "\"abcd\""));
  JsonAutomaton automaton(JsonSchema::any(), {.space_max = 2});
  EXPECT_TRUE(automaton.push("{  \"a    b\":  "));
  EXPECT_FALSE(automaton.push(' '));
}

TEST(JsonSchema, SaysWhatItDoesNotUnderstand) {
  EXPECT_THAT(complaint(R"({"properties": {"a": {"pattern": "x"}}})"),
              HasSubstr("#/properties/a: pattern"));
  EXPECT_THAT(complaint(R"({"type": "thing"})"), HasSubstr("thing"));
  EXPECT_THAT(complaint(R"({"$ref": "#/nowhere"})"), HasSubstr("nowhere"));
  EXPECT_THAT(complaint(R"({"$ref": "#"})"), HasSubstr("itself"));
  EXPECT_THAT(complaint(R"({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}},
                           "$ref": "#/$defs/a"})"),
              HasSubstr("itself"));
  EXPECT_THAT(complaint("[]"), HasSubstr("object"));
  EXPECT_THAT(complaint(R"({"enum": []})"), HasSubstr("enum"));
  EXPECT_THAT(complaint(R"({"type": "array", "minItems": 3, "maxItems": 2})"),
              HasSubstr("minItems"));
  std::string deep = "{}";
  for (int i = 0; i < 100; ++i) deep = R"({"items": )" + deep + "}";
  EXPECT_THAT(complaint(deep.c_str()), HasSubstr("deep"));
}

}  // namespace
}  // namespace flashmoe
