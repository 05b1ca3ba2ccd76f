#include "chat/argument_values.h"

#include <gtest/gtest.h>

namespace flashmoe {
namespace {

using Schema = nlohmann::ordered_json;

Schema of_type(const char* name) { return {{"type", name}}; }

TEST(ArgumentJson, FollowsTheSchemasType) {
  EXPECT_EQ(argument_json("12", of_type("string")), "\"12\"");
  EXPECT_EQ(argument_json("12", of_type("integer")), "12");
  EXPECT_EQ(argument_json("12.0", of_type("integer")), "12");
  EXPECT_EQ(argument_json("twelve", of_type("integer")), "\"twelve\"");
  EXPECT_EQ(argument_json("1.5", of_type("integer")), "\"1.5\"");
  EXPECT_EQ(argument_json("1.5", of_type("number")), "1.5");
  EXPECT_EQ(argument_json("3.0", of_type("number")), "3");
  EXPECT_EQ(argument_json("1e400", of_type("number")), "\"1e400\"");
  EXPECT_EQ(argument_json("True", of_type("boolean")), "true");
  EXPECT_EQ(argument_json("no", of_type("boolean")), "false");
  EXPECT_EQ(argument_json("[1, {\"a\": 2}]", of_type("array")), "[1,{\"a\":2}]");
  EXPECT_EQ(argument_json("{'a': True, 'b': None, 'c': 'it\\'s \"x\"'}", of_type("object")),
            R"({"a":true,"b":null,"c":"it's \"x\""})");
  EXPECT_EQ(argument_json("{broken", of_type("object")), "\"{broken\"");
  EXPECT_EQ(argument_json("a\nb\"", Schema()), R"("a\nb\"")");
}

TEST(ArgumentJson, DoesNotEndAtANulByte) {
  using namespace std::string_view_literals;
  EXPECT_EQ(argument_json("12\0 and more"sv, of_type("integer")), R"("12\u0000 and more")");
  EXPECT_EQ(argument_json("[1]\0]"sv, of_type("array")), R"("[1]\u0000]")");
  EXPECT_TRUE(whole_json("12\0"sv).is_discarded());
}

TEST(ArgumentJson, TakesNullWhereItMayBe) {
  EXPECT_EQ(argument_json("null", of_type("string")), "\"null\"");
  EXPECT_EQ(argument_json("null", of_type("integer")), "null");
  EXPECT_EQ(argument_json("None", {{"type", {"string", "null"}}}), "null");
  EXPECT_EQ(argument_json("5", {{"anyOf", {{{"type", "null"}}, {{"type", "integer"}}}}}), "5");
  EXPECT_FALSE(takes_text({{"type", {"string", "null"}}}));
  EXPECT_TRUE(takes_text(of_type("string")));
  EXPECT_TRUE(takes_text(Schema()));
}

TEST(ArgumentJson, TakesTheTypeOfTheValuesThatThereMayBe) {
  EXPECT_EQ(argument_json("2", nlohmann::ordered_json::parse(R"({"enum": [1, 2]})")), "2");
  EXPECT_EQ(argument_json("2", nlohmann::ordered_json::parse(R"({"enum": ["1", "2"]})")), "\"2\"");
  EXPECT_EQ(argument_json("true", nlohmann::ordered_json::parse(R"({"const": true})")), "true");
}

}  // namespace
}  // namespace flashmoe
