// What schemas allow: values one by one, and whatever comes of random walks through them.
#include "chat/json_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <random>

#include "chat/form_automaton.h"
#include "chat/testing/schema_checker.h"

namespace flashmoe {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

struct Compiled {
  Status status;
  std::vector<std::string> hints;
  std::shared_ptr<OutputForm> form = std::make_shared<OutputForm>();
};

Compiled compiled(const Json& schema, bool is_strict = false) {
  Compiled out;
  const Result<SchemaNode::Id> node =
      compile_schema(schema, {.is_strict = is_strict}, out.form->graph, out.hints);
  out.status = node.status();
  if (node.ok()) out.form->rules = {{{OutputForm::Value{*node}}}};
  return out;
}

bool accepts(const char* schema, std::string_view text) {
  const Compiled form = compiled(Json::parse(schema));
  EXPECT_TRUE(form.status.ok()) << form.status.message();
  if (!form.status.ok()) return false;
  FormAutomaton automaton(form.form, FormAutomaton::Options());
  return automaton.can_end(automaton.next(automaton.start(), text));
}

std::string complaint(const char* schema, bool is_strict = true) {
  return compiled(Json::parse(schema), is_strict).status.message();
}

std::vector<std::string> hints(const char* schema) {
  const Compiled form = compiled(Json::parse(schema));
  EXPECT_TRUE(form.status.ok()) << form.status.message();
  return form.hints;
}

struct Case {
  const char* schema;
  std::vector<const char*> good;
  std::vector<const char*> bad;
};

void expect(const Case& of) {
  for (const char* const text : of.good) EXPECT_TRUE(accepts(of.schema, text)) << of.schema << text;
  for (const char* const text : of.bad) EXPECT_FALSE(accepts(of.schema, text)) << of.schema << text;
}

TEST(JsonSchema, HasMembersInItsOrder) {
  expect({R"({"type": "object", "properties": {"why": {"type": "string"}, "n": {"type": "integer"},
              "ok": {"type": "boolean"}}, "required": ["ok", "why"]})",
          {R"({"why": "x", "ok": true})", R"({"why":"x","n":3,"ok":true})"},
          {R"({"ok": true, "why": "x"})", R"({"why": "x"})", R"({"why": "x", "ok": true, "n": 3})",
           R"({"why": "x", "why": "y", "ok": true})", R"({"why": "x", "ok": true, "z": 1})", "{}",
           R"({"why": "x", "ok": true,})", R"({,"why": "x", "ok": true})"}});
}

TEST(JsonSchema, TakesNullForNotSaid) {
  const char* const words[] = {"type",
                               "enum",
                               "properties",
                               "required",
                               "additionalProperties",
                               "patternProperties",
                               "propertyNames",
                               "minProperties",
                               "maxProperties",
                               "items",
                               "prefixItems",
                               "additionalItems",
                               "minItems",
                               "maxItems",
                               "uniqueItems",
                               "minLength",
                               "maxLength",
                               "pattern",
                               "format",
                               "minimum",
                               "maximum",
                               "exclusiveMinimum",
                               "exclusiveMaximum",
                               "multipleOf",
                               "anyOf",
                               "allOf",
                               "oneOf",
                               "not",
                               "if",
                               "then",
                               "else",
                               "$ref",
                               "$defs",
                               "definitions",
                               "nullable",
                               "contains",
                               "unevaluatedProperties",
                               "dependentRequired",
                               "title",
                               "description",
                               "default",
                               "$id",
                               "$anchor",
                               "$schema"};
  Json all = Json::object();
  for (const char* const word : words) {
    EXPECT_EQ(compiled(Json{{word, nullptr}}, /*is_strict=*/true).status.message(), "") << word;
    all[word] = nullptr;
  }
  Json text = all;
  text["type"] = "string";
  text["const"] = nullptr;
  all["type"] = "object";
  all["properties"] = {{"a", text}, {"b", nullptr}};
  all["required"] = {"a", "b"};
  const std::string schema = all.dump();
  expect({schema.c_str(),
          {R"({"a": "x", "b": 1})", R"({"a": "", "b": null})"},
          {R"({"a": null, "b": 1})", R"({"a": "x"})", "null"}});
  expect({R"({"const": null})", {"null"}, {"0"}});
  expect({R"({"enum": [null, 1], "default": null})", {"null", "1"}, {"0"}});
  expect({R"({"type": ["string", "null"], "const": null})", {"null"}, {R"("")"}});
}

TEST(JsonSchema, HasNoKeyTwice) {
  expect(
      {R"({"type": "object", "minProperties": 2, "additionalProperties": {"type": "integer"}})",
       {R"({"a": 1, "b": 2})", R"({"a": 1, "ab": 2, "": 3})", R"({"\u0061": 1, "b": 2, "c": 3})"},
       {R"({"a": 1, "a": 2})", R"({"a": 1, "b": 2, "a": 3})", R"({"a": 1, "\u0061": 2})",
        R"({"\u0061": 1, "a": 2})", R"({"": 1, "": 2})", R"({"/": 1, "\/": 2})", R"({"a": 1})"}});
  expect({R"({"type": "object", "minProperties": 2, "propertyNames": {"enum": ["c", "a", "b"]}})",
          {R"({"c": 1, "a": 2})", R"({"a": 1, "b": 2})", R"({"c": 1, "a": 2, "b": 3})"},
          {R"({"c": 1, "c": 2})", R"({"b": 1})", R"({"b": 1, "b": 2})", R"({"c": 1, "d": 2})"}});
  expect({R"({"type": "object", "patternProperties": {"^x-": {"type": "integer"},
              "^[pq]$": {"type": "string"}}, "additionalProperties": false, "minProperties": 3})",
          {R"({"p": "1", "q": "2", "x-": 3})", R"({"x-a": 1, "x-b": 2, "x-c": 3})"},
          {R"({"x-a": 1, "x-b": 2, "x-a": 3})", R"({"p": "", "p": "", "q": ""})"}});
  expect({R"({"type": "object"})",
          {R"({"a": {"a": 1}, "b": {"a": 2}})", R"({"a": [{"a": 1}, {"a": 1}]})"},
          {R"({"a": {"a": 1, "a": 2}})", R"({"b": {"a": 2}, "b": 1})"}});
  // All names that there are, and no more.
  expect({R"({"type": "object", "propertyNames": {"pattern": "^[ab]$"}, "minProperties": 2})",
          {R"({"a": 1, "b": 2})"},
          {R"({"a": 1})"}});
  EXPECT_THAT(complaint(R"({"type": "object", "propertyNames": {"enum": ["a", "b"]},
                            "minProperties": 3})"),
              HasSubstr("allows no value at all"));
}

TEST(JsonSchema, HasOneBlankAtEachPlaceAtMost) {
  expect(
      {R"({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "null"}}}})",
       {R"( { "a" : [ null , null ] })", R"({"a":[null,null]})", "{ }"},
       {R"({  "a": []})", R"({"a":  []})", "{\n}", R"({"a": []} )", R"({"a": [null,  null]})"}});
}

TEST(JsonSchema, CombinesWhatStandsBesideAlternatives) {
  expect({R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
              "anyOf": [{"required": ["a"]}, {"required": ["b"]}]})",
          {R"({"a": 1})", R"({"b": 1})", R"({"a": 1, "b": 2})"},
          {"{}", R"({"a": "x"})"}});
  expect({R"({"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}},
              "required": ["a"]}, {"properties": {"a": {"minimum": 3}, "b": {"type": "string"}},
              "required": ["b"]}]})",
          {R"({"a": 3, "b": ""})"},
          {R"({"a": 2, "b": ""})", R"({"a": 3})"}});
  expect({R"({"$ref": "#/$defs/n", "maximum": 5, "$defs": {"n": {"type": "integer",
              "minimum": 1}}})",
          {"1", "5"},
          {"0", "6"}});
  expect({R"({"enum": ["a", "bb", 3, null], "type": "string", "minLength": 2})",
          {"\"bb\""},
          {"\"a\"", "3", "null"}});
}

TEST(JsonSchema, BoundsNumbers) {
  expect({R"({"type": "integer", "minimum": 5, "maximum": 120})",
          {"5", "99", "100", "120"},
          {"4", "121", "1200", "-5", "05", "5.0"}});
  expect({R"({"type": "integer", "exclusiveMinimum": -3, "exclusiveMaximum": 0})",
          {"-1", "-2"},
          {"-3", "0", "1", "-0"}});
  expect({R"({"type": "number", "minimum": -1.5, "maximum": 2.25})",
          {"-1.5", "0", "2.25", "2.2", "-1", "1.999", "0.0"},
          {"-1.51", "2.26", "3", "1e5"}});
  expect({R"({"type": "integer", "multipleOf": 7, "minimum": 10})",
          {"14", "21", "700"},
          {"7", "15", "0"}});
  expect({R"({"type": "number", "multipleOf": 0.25, "minimum": 0})",
          {"0", "0.25", "1.5", "3.750"},
          {"0.3", "1.55"}});
  expect({R"({"type": "integer", "minimum": 12345678901234567890})",
          {"12345678901234567890"},
          {"12345678901234567889"}});
  EXPECT_THAT(complaint(R"({"type": "integer", "minimum": 3, "maximum": 2})", false),
              HasSubstr("no value"));
  EXPECT_THAT(
      complaint(R"({"type": "integer", "minimum": 8, "maximum": 13, "multipleOf": 7})", false),
      HasSubstr("no value"));
  // A beginning from which no number within the bounds can come is no beginning.
  const Compiled form = compiled(Json::parse(R"({"type": "integer", "minimum": 10000,
                                                 "maximum": 20000})"));
  FormAutomaton automaton(form.form, FormAutomaton::Options());
  EXPECT_NE(automaton.next(automaton.start(), "1"), FormAutomaton::kDead);
  EXPECT_EQ(automaton.next(automaton.start(), "3"), FormAutomaton::kDead);
}

TEST(JsonSchema, HoldsStringsToLengthsPatternsAndFormats) {
  expect({R"({"type": "string", "minLength": 2, "maxLength": 3})",
          {R"("漢字")", R"("a\nb")", R"("\ud83d\ude00x")", R"("\\\"")"},
          {R"("漢")", R"("abcd")", R"("\u0041")", R"("\ud83d\ude00")", R"("\ud83dxx")",
           R"("\ude00x")"}});
  expect({R"({"type": "string", "pattern": "^[A-Z]{2}-\\d+$"})",
          {R"("AB-12")", R"("\u0041B-1")"},
          {R"("AB-")", R"("aB-1")", R"("漢")", R"("\u0061B-1")"}});
  expect({R"({"type": "string", "pattern": "b"})", {R"("abc")"}, {R"("ac")"}});
  expect({R"({"type": "string", "pattern": "^a*$", "minLength": 2, "maxLength": 3})",
          {R"("aa")"},
          {R"("a")", R"("aaaa")", R"("ab")"}});
  expect({R"({"type": "string", "format": "date"})", {R"("2024-02-29")"}, {R"("2024-02-30")"}});
  EXPECT_THAT(complaint(R"({"type": "string", "pattern": "^a$", "minLength": 2})", false),
              HasSubstr("no value"));
}

TEST(JsonSchema, TakesAlternativesThatReferToEachOther) {
  expect({R"({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}, {"const": 1}]},
              "b": {"anyOf": [{"$ref": "#/$defs/a"}, {"const": 2}]}}, "$ref": "#/$defs/a"})",
          {"1", "2"},
          {"3", "12"}});
  expect({R"({"oneOf": [{"$ref": "#"}, {"type": "boolean"}]})", {"true"}, {"1"}});
}

TEST(JsonSchema, BoundsArrays) {
  expect({R"({"type": "array", "items": {"enum": ["a", "ab", 3]}, "minItems": 1, "maxItems": 2})",
          {R"(["a"])", R"(["ab", 3])"},
          {"[]", R"(["a", "a", "a"])", R"(["abc"])"}});
  expect({R"({"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": true,
              "minItems": 2})",
          {R"(["a", "b"])", R"(["c","a","b"])"},
          {R"(["a"])", R"(["a", "a"])", R"(["a", "b", "c", "a"])"}});
  expect({R"({"type": "array", "items": {"enum": [1, 1.0, 2]}, "uniqueItems": true})",
          {"[1, 2]", "[2]"},
          {"[1, 1.0]", "[1, 1]"}});
  expect({R"({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}],
              "minItems": 2})",
          {R"([1, "x"])"},
          {"[1]", R"(["x", 1])", R"([1, "x", 2])"}});
  expect({R"({"type": "array", "items": [{"type": "integer"}], "additionalItems":
              {"type": "boolean"}})",
          {"[1]", "[1, true, false]", "[]"},
          {"[true]", "[1, 2]"}});
  EXPECT_THAT(complaint(R"({"type": "array", "items": {"enum": [1, 2]}, "uniqueItems": true,
                            "minItems": 3})",
                        false),
              HasSubstr("no value"));
}

TEST(JsonSchema, KnowsPropertiesWithoutNames) {
  expect({R"({"type": "object", "additionalProperties": {"type": "integer"}})",
          {"{}", R"({"x": 1, "y": 2})"},
          {R"({"x": "1"})"}});
  expect({R"({"type": "object", "properties": {"a": {"type": "null"}}, "additionalProperties":
              {"type": "integer"}, "required": ["a"]})",
          {R"({"a": null, "b": 3})"},
          {R"({"a": 3})", R"({"a": null, "a": 3})", R"({"b": 3, "a": null})"}});
  expect({R"({"type": "object", "patternProperties": {"^n_": {"type": "integer"}, "_s$":
              {"type": "string"}}, "additionalProperties": false})",
          {R"({"n_x": 1, "x_s": "y"})"},
          {R"({"n_x": "y"})", R"({"z": 1})", R"({"n_s": 1})", R"({"n_s": "y"})"}});
  expect({R"({"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}})",
          {R"({"abc": 1})"},
          {R"({"A": 1})"}});
  expect({R"({"type": "object", "propertyNames": {"enum": ["x", "y"]}, "additionalProperties":
              {"type": "integer"}, "minProperties": 1})",
          {R"({"y": 1})"},
          {"{}", R"({"z": 1})"}});
  expect({R"({"type": "object", "properties": {"a": true, "b": true, "c": true}, "required": ["c"],
              "minProperties": 2, "maxProperties": 2})",
          {R"({"a": 1, "c": 1})", R"({"b": 1, "c": 1})"},
          {R"({"c": 1})", R"({"a": 1, "b": 1, "c": 1})"}});
}

TEST(JsonSchema, FollowsReferences) {
  expect({R"({"$ref": "#/$defs/a%20tree", "$defs": {"a tree": {"type": "object", "properties":
              {"value": {"type": "number"}, "children": {"type": "array", "items":
              {"$ref": "#/$defs/a%20tree"}}}, "required": ["value"]}}})",
          {R"({"value": 1, "children": [{"value": 2}, {"value": 3, "children": []}]})"},
          {R"({"value": 1, "children": [{"children": []}]})"}});
  expect({R"({"$ref": "#here", "$defs": {"a~b/c": {"$anchor": "here", "type": "integer"}}})",
          {"1"},
          {"null"}});
  expect({R"({"$id": "https://example.org/s", "$ref": "https://example.org/s#/definitions/x%25",
              "definitions": {"x%": {"type": "null"}}})",
          {"null"},
          {"1"}});
  expect(
      {R"({"$ref": "item", "$defs": {"i": {"$id": "item", "type": "boolean"}}})", {"true"}, {"1"}});
  expect({R"({"properties": {"a~b": {"type": "integer"}, "c": {"$ref": "#/properties/a~0b"}}})",
          {R"({"c": 1})"},
          {R"({"c": true})"}});
}

TEST(JsonSchema, FollowsAllAlternatives) {
  expect({R"({"anyOf": [{"type": "integer"}, {"type": "object", "properties": {"kind":
              {"const": "one"}, "x": {"type": "number"}}, "required": ["kind"]},
              {"type": "object", "properties": {"kind": {"const": "other"}, "y":
              {"type": ["null", "string"]}}, "required": ["kind", "y"]}]})",
          {"17", R"({"kind": "one", "x": 1.5})", R"({"kind": "other", "y": null})"},
          {R"({"kind": "other", "x": 1})", R"({"kind": "other"})", "1.5"}});
  expect({R"({"const": {"a": [1, null], "b": "x"}})",
          {R"({"a": [1, null], "b": "x"})"},
          {R"({"a": [1], "b": "x"})", R"({"b": "x", "a": [1, null]})"}});
  expect({R"({"type": "string", "nullable": true})", {"null", "\"\""}, {"1"}});
  expect({R"({"enum": [1, 12, "a", true]})", {"1", "12", "\"a\"", "true"}, {"121", "false"}});
  expect({R"({"type": "array", "items": {"enum": [1, 12]}})", {"[1,12 , 1]"}, {"[121]"}});
}

TEST(JsonSchema, LeavesOutWhatCanNeverBe) {
  expect({R"({"type": "object", "properties": {"a": false, "b": {"type": "integer"}}})",
          {R"({"b": 1})", "{}"},
          {R"({"a": 1})"}});
  // A tree without end is none.
  expect({R"({"$defs": {"t": {"type": "object", "properties": {"t": {"$ref": "#/$defs/t"}},
              "required": ["t"]}}, "anyOf": [{"$ref": "#/$defs/t"}, {"type": "null"}]})",
          {"null"},
          {R"({"t": null})", "{"}});
  EXPECT_THAT(complaint(R"({"type": "object", "properties": {"t": {"$ref": "#"}},
                            "required": ["t"]})",
                        false),
              HasSubstr("no value"));
  EXPECT_THAT(complaint(R"({"allOf": [{"type": "string"}, {"type": "integer"}]})", false),
              HasSubstr("no value"));
  EXPECT_THAT(complaint("false", false), HasSubstr("no value"));
}

TEST(JsonSchema, SaysWhatItDoesNotHoldTo) {
  EXPECT_THAT(complaint(R"j({"properties": {"a": {"pattern": "(?=x)"}}})j"),
              HasSubstr("#/properties/a: pattern"));
  EXPECT_THAT(hints(R"j({"properties": {"a": {"pattern": "(?=x)"}}})j"),
              ElementsAre(HasSubstr("#/properties/a")));
  EXPECT_THAT(complaint(R"({"type": "array", "items": {"type": "string"}, "uniqueItems": true})"),
              HasSubstr("uniqueItems"));
  EXPECT_THAT(complaint(R"({"type": "array", "items": {"enum": [[1], [2]]}, "uniqueItems": true})"),
              HasSubstr("texts, numbers, booleans and null"));
  EXPECT_THAT(complaint(R"({"type": "string", "format": "colour"})"), HasSubstr("colour"));
  EXPECT_THAT(complaint(R"({"not": {"type": "null"}})"), HasSubstr("not"));
  EXPECT_THAT(complaint(R"({"type": "thing"})"), HasSubstr("thing"));
  EXPECT_THAT(complaint(R"({"$ref": "https://example.org/x"})"), HasSubstr("another document"));
  // Alternatives of oneOf that a property tells apart are exclusive by themselves.
  EXPECT_EQ(complaint(R"({"oneOf": [{"type": "string"}, {"type": "object", "properties": {"k":
                          {"const": "a"}}, "required": ["k"]}, {"type": "object", "properties":
                          {"k": {"enum": ["b", "c"]}}, "required": ["k"]}]})"),
            "");
  EXPECT_THAT(complaint(R"({"oneOf": [{"type": "number"}, {"type": "integer"}]})"),
              HasSubstr("oneOf"));
  EXPECT_EQ(complaint(R"({"type": "integer", "title": "t", "description": "d", "default": 1,
                          "examples": [2], "x-order": 3, "deprecated": true})"),
            "");
}

TEST(JsonSchema, RefusesWhatIsMalformed) {
  EXPECT_THAT(complaint(R"({"$ref": "#/nowhere"})", false), HasSubstr("nowhere"));
  EXPECT_THAT(complaint(R"({"$ref": "#"})", false), HasSubstr("itself"));
  EXPECT_THAT(complaint(R"({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]},
                           "b": {"$ref": "#/$defs/b"}}, "$ref": "#/$defs/a"})",
                        false),
              HasSubstr("itself"));
  EXPECT_THAT(complaint(R"({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}},
                           "$ref": "#/$defs/a"})",
                        false),
              HasSubstr("itself"));
  EXPECT_THAT(complaint("[]", false), HasSubstr("object"));
  EXPECT_THAT(complaint(R"({"enum": []})", false), HasSubstr("enum"));
  EXPECT_THAT(complaint(R"({"type": "integer", "multipleOf": 0})", false), HasSubstr("multipleOf"));
  EXPECT_THAT(complaint(R"({"type": "number", "multipleOf": -0.5})", false), HasSubstr("above 0"));
  EXPECT_THAT(complaint(R"({"type": "string", "minLength": -1})", false), HasSubstr("minLength"));
  EXPECT_THAT(complaint(R"({"properties": []})", false), HasSubstr("properties"));
  EXPECT_THAT(complaint(R"({"required": [3]})", false), HasSubstr("required"));
}

TEST(JsonSchema, NamesTheLargestMultipleThatItHoldsTo) {
  for (const char* multiple : {"10000", "99.99", "0.0001", "1e4", "0.00000000001"}) {
    const std::string schema = fmt::format(R"({{"type": "number", "multipleOf": {}}})", multiple);
    EXPECT_EQ(complaint(schema.c_str(), true), "") << multiple;
  }
  for (const char* multiple : {"10001", "100.01", "1e5", "18446744073709551617", "1e300"}) {
    const std::string schema = fmt::format(R"({{"type": "number", "multipleOf": {}}})", multiple);
    EXPECT_THAT(complaint(schema.c_str(), true),
                AllOf(HasSubstr("multipleOf"), HasSubstr("at most 10000"), HasSubstr("strict")))
        << multiple;
    EXPECT_EQ(complaint(schema.c_str(), false), "") << multiple;
  }
}

/// Each of these once took time, memory or the process, here or elsewhere.
TEST(JsonSchema, BoundsWhatHostileSchemasTake) {
  std::string deep = "{}";
  for (int i = 0; i < 100; ++i) deep = R"({"items": )" + deep + "}";
  EXPECT_THAT(complaint(deep.c_str(), false), HasSubstr("deep"));
  // 3^12 alternatives.
  Json wide = {{"allOf", Json::array()}};
  for (int i = 0; i < 12; ++i) {
    Json any = Json::array();
    for (int k = 0; k < 3; ++k)
      any.push_back({{"required", Json::array({fmt::format("{}{}", i, k)})}});
    wide["allOf"].push_back({{"anyOf", any}});
  }
  EXPECT_THAT(compiled(wide).status.message(), HasSubstr("alternatives"));
  // Each level refers to the next twice.
  Json doubling;
  for (int i = 0; i < 60; ++i) {
    const std::string next = fmt::format("#/$defs/d{}", i + 1);
    doubling["$defs"][fmt::format("d{}", i)]["allOf"] = {{{"$ref", next}}, {{"$ref", next}}};
  }
  doubling["$defs"]["d60"] = {{"type", "null"}};
  doubling["$ref"] = "#/$defs/d0";
  static_cast<void>(compiled(doubling));
  for (const char* const pattern :
       {"^(a{1,1000000000}){1,1000000000}$", "(a|a|a|aa)*b{999999}", "^(a?){5000}a{5000}$",
        ".*a.{1000000}", "((((a*)*)*)*)*b", "^(.*a){50}.*(b.*){50}$", "(x+x+)+y"}) {
    static_cast<void>(compiled({{"type", "string"}, {"pattern", pattern}}));
    static_cast<void>(compiled({{"type", "string"}, {"pattern", pattern}, {"minLength", 99999}}));
  }
  std::string optional = "^";
  for (int i = 0; i < 4000; ++i) optional += "a?";
  static_cast<void>(compiled({{"type", "string"}, {"pattern", optional}}));
  // Many properties, many values.
  Json large = {{"type", "object"}};
  for (int i = 0; i < 5000; ++i) {
    large["properties"][fmt::format("property_{}", i)] = {{"type", "string"}, {"maxLength", i}};
  }
  EXPECT_TRUE(compiled(large).status.ok());
  Json values = Json::array();
  for (int i = 0; i < 20'000; ++i) values.push_back(fmt::format("value {}", i));
  EXPECT_TRUE(compiled({{"enum", values}}).status.ok());
}

/// Byte by byte, whatever may come, and to the end where that is possible.
std::string random_walk(const std::shared_ptr<const OutputForm>& form, std::mt19937& random) {
  FormAutomaton automaton(form, FormAutomaton::Options());
  FormAutomaton::State state = automaton.start();
  std::string text;
  while (text.size() < 20'000) {
    const bool can_end = automaton.can_end(state);
    if (automaton.must_end(state) || (can_end && random() % 2 == 0)) return text;
    std::string possible;
    for (int byte = 0; byte < 256; ++byte) {
      if (automaton.next(state, static_cast<unsigned char>(byte)) != FormAutomaton::kDead) {
        possible += static_cast<char>(byte);
      }
    }
    if (possible.empty()) return can_end ? text : "stuck: " + text;
    char c = possible[random() % possible.size()];
    // Quotes and brackets end things: without a push they would seldom come.
    for (const char end : {'"', '}', ']'}) {
      if (random() % 4 == 0 && possible.find(end) != std::string::npos) c = end;
    }
    state = automaton.next(state, static_cast<unsigned char>(c));
    text += c;
  }
  return "endless: " + text;
}

TEST(JsonSchema, YieldsValidJsonWhateverIsPicked) {
  // As pydantic, zod and people write them.
  const char* const schemas[] = {
      R"({"$defs": {"Address": {"properties": {"street": {"title": "Street", "type": "string"},
          "zip": {"maxLength": 5, "minLength": 5, "pattern": "^[0-9]+$", "type": "string"}},
          "required": ["street", "zip"], "title": "Address", "type": "object"}, "Colour": {"enum":
          ["red", "green"], "title": "Colour", "type": "string"}}, "properties": {"age": {"maximum":
          150, "minimum": 0, "type": "integer"}, "score": {"exclusiveMaximum": 1.0,
          "exclusiveMinimum": 0.0, "type": "number"}, "nick": {"anyOf": [{"type": "string"},
          {"type": "null"}], "default": null}, "kind": {"const": "user", "type": "string"},
          "colours": {"items": {"$ref": "#/$defs/Colour"}, "type": "array", "uniqueItems": true},
          "address": {"$ref": "#/$defs/Address"}, "tags": {"additionalProperties": {"type":
          "integer"}, "type": "object"}, "pair": {"maxItems": 2, "minItems": 2, "prefixItems":
          [{"type": "integer"}, {"type": "string"}], "type": "array"}}, "required": ["age", "score",
          "kind", "colours", "address", "pair"], "title": "User", "type": "object"})",
      R"j({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "properties":
          {"id": {"type": "string", "format": "uuid", "pattern": "^([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-)"},
          "level": {"anyOf": [{"type": "string", "enum": ["low", "high"]}, {"type": "integer",
          "minimum": -5, "maximum": 5}]}, "items": {"minItems": 1, "maxItems": 3, "type": "array",
          "items": {"oneOf": [{"type": "object", "properties": {"t": {"type": "string", "const":
          "a"}, "n": {"type": "number", "multipleOf": 0.5}}, "required": ["t", "n"],
          "additionalProperties": false}, {"type": "object", "properties": {"t": {"type": "string",
          "const": "b"}, "s": {"type": "string", "maxLength": 4}}, "required": ["t"],
          "additionalProperties": false}]}}}, "required": ["id", "level", "items"],
          "additionalProperties": false})j",
      R"({"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
          "n": {"type": "integer", "multipleOf": 3, "minimum": -9, "maximum": 300}},
          "required": ["n"], "additionalProperties": false})",
      R"({"type": "object", "patternProperties": {"^[a-z]{1,3}$": {"type": "integer", "minimum": 1},
          "^[0-9]": {"type": ["string", "null"], "maxLength": 2}}, "additionalProperties": false,
          "minProperties": 1})",
      R"({"allOf": [{"type": "object", "properties": {"a": {"type": "string", "minLength": 1}},
          "required": ["a"]}, {"type": "object", "properties": {"a": {"pattern": "^x.*y$"}, "b":
          {"enum": [1, 2.5, "three", null, [1, {"k": []}]]}}, "anyOf": [{"required": ["b"]},
          {"properties": {"a": {"maxLength": 4}}}]}]})",
      R"({"type": "array", "items": {"type": "array", "items": {"type": "number", "minimum": -0.05,
          "maximum": 1000}, "maxItems": 2}, "minItems": 2})",
      R"({"type": ["object", "array", "string", "integer"], "properties": {"x": {"type": "boolean"}},
          "minProperties": 1, "items": {"type": "boolean"}, "maxItems": 2, "maxLength": 1,
          "minimum": 7})",
      R"({"type": "string", "pattern": "^(\\([0-9]{3}\\))?[0-9]{3}-[0-9]{4}$"})",
      R"({"type": "string", "pattern": "[^\\x00-\\x7f]|abc", "maxLength": 6})"};
  std::mt19937 random(29);
  int long_texts = 0;
  for (const char* const text : schemas) {
    const Json schema = Json::parse(text);
    const Compiled form = compiled(schema);
    ASSERT_TRUE(form.status.ok()) << form.status.message();
    EXPECT_EQ(form.hints.size(), 0u) << form.hints.front();
    for (int i = 0; i < 60; ++i) {
      const std::string json = random_walk(form.form, random);
      if (json.starts_with("endless")) continue;
      const Json value = Json::parse(json, nullptr, false);
      ASSERT_FALSE(value.is_discarded()) << text << "\n" << json;
      EXPECT_EQ(testing::fault_by_schema(value, schema, schema), "") << text << "\n" << json;
      long_texts += json.size() > 40 ? 1 : 0;
    }
  }
  EXPECT_GT(long_texts, 100);
}

}  // namespace
}  // namespace flashmoe
