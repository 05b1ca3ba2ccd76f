#include "format/config_reader.h"

#include <gtest/gtest.h>

#include "format/json_file.h"
#include "format/testing/expect_failure.h"

namespace flashmoe {
namespace {

using testing::ElementsAre;

class ConfigReaderTest : public testing::Test {
 protected:
  nlohmann::json config_ = parse_json(R"({
    "hidden_size": 2048, "negative": -1, "huge": 18446744073709551615, "eps": 1e-06, "theta": 5000000,
    "tied": false, "act": "silu", "eos": 7, "eos_list": [1, 2], "names": ["a", "b"],
    "mixed": ["a", 3], "nothing": null, "infinite": {"__float__": "Infinity"},
    "rope_parameters": {"rope_theta": 1e4, "type": "default", "factor": "four"}
  })",
                                      "config.json")
                               .value();
  ConfigReader reader_{config_, "m/config.json"};
};

TEST_F(ConfigReaderTest, ReadsFieldsOfTheRightTypeAndRange) {
  EXPECT_EQ(reader_.uint("hidden_size", 1, 1 << 20).value(), 2048u);
  EXPECT_EQ(reader_.uint("huge", 0, ~std::uint64_t{0}).value(), ~std::uint64_t{0});
  EXPECT_EQ(reader_.number("eps", 0, 1).value(), 1e-6);
  EXPECT_EQ(reader_.number("theta", 1, 1e12).value(), 5e6);
  EXPECT_EQ(reader_.boolean("tied").value(), false);
  EXPECT_EQ(reader_.string("act").value(), "silu");
  EXPECT_THAT(reader_.string_list("names").value(), ElementsAre("a", "b"));
}

TEST(ConfigReader, TakesWholeNumbersThatAreWrittenWithAPoint) {
  const nlohmann::json config =
      parse_json(R"({"experts": 24.0, "eos": [1.0, 2e0], "one": 2.0, "zero": -0.0,
      "half": 24.5, "below": -1.0, "large": 1e300, "vague": 18014398509481984.0})",
                 "config.json")
          .value();
  const ConfigReader reader(config, "config.json");
  EXPECT_EQ(reader.uint("experts", 1, 1024).value(), 24u);
  EXPECT_EQ(reader.uint("zero", 0, 1).value(), 0u);
  EXPECT_THAT(reader.uint_list("eos", 0, 9).value(), ElementsAre(1u, 2u));
  EXPECT_THAT(reader.uint_list("one", 0, 9).value(), ElementsAre(2u));
  for (const char* field : {"half", "below", "large", "vague"}) {
    expect_failure(reader.uint(field, 0, ~std::uint64_t{0}).status(), StatusCode::kCorrupt,
                   {field, "a whole number from 0"});
  }
  expect_failure(reader.uint("experts", 32, 1024).status(), StatusCode::kCorrupt, {"is 24"});
}

TEST_F(ConfigReaderTest, ReadsOneNumberOrAListOfThem) {
  EXPECT_THAT(reader_.uint_list("eos", 0, 100).value(), ElementsAre(7u));
  EXPECT_THAT(reader_.uint_list("eos_list", 0, 100).value(), ElementsAre(1u, 2u));
  expect_failure(reader_.uint_list("eos_list", 0, 1).status(), StatusCode::kCorrupt,
                 {"m/config.json", "eos_list[1]", "from 0 to 1"});
  expect_failure(reader_.uint_list("act", 0, 1).status(), StatusCode::kCorrupt, {"act"});
}

TEST_F(ConfigReaderTest, TakesTheFirstSpellingThatIsPresent) {
  EXPECT_EQ(reader_.number({"rope_theta", "rope_parameters.rope_theta"}, 1, 1e12).value(), 1e4);
  EXPECT_EQ(reader_.string({"rope_parameters.rope_type", "rope_parameters.type"}).value(),
            "default");
  EXPECT_EQ(reader_.number({"theta", "rope_parameters.rope_theta"}, 1, 1e12).value(), 5e6);
  expect_failure(reader_.string({"dtype", "torch_dtype"}).status(), StatusCode::kNotFound,
                 {"m/config.json", "dtype or torch_dtype", "absent"});
}

TEST_F(ConfigReaderTest, TakesTheDefaultOnlyForAnAbsentField) {
  EXPECT_EQ(reader_.uint_or("interval", 4, 1, 100).value(), 4u);
  EXPECT_EQ(reader_.uint_or("nothing", 4, 1, 100).value(), 4u);  // null is absent
  EXPECT_EQ(reader_.uint_or("eos", 4, 1, 100).value(), 7u);
  EXPECT_EQ(reader_.number_or("factor", 0.25, 0, 1).value(), 0.25);
  EXPECT_EQ(reader_.boolean_or("tied", true).value(), false);
  EXPECT_EQ(reader_.boolean_or("absent", true).value(), true);
  EXPECT_EQ(reader_.string_or("act", "gelu").value(), "silu");
  EXPECT_EQ(reader_.string_or("absent", "gelu").value(), "gelu");
  expect_failure(reader_.uint_or("act", 4, 1, 100).status(), StatusCode::kCorrupt, {"act"});
  expect_failure(reader_.boolean_or("eos", true).status(), StatusCode::kCorrupt, {"eos"});
}

TEST_F(ConfigReaderTest, NamesFileFieldAndExpectationOfAnAbsentField) {
  expect_failure(reader_.uint("num_experts", 1, 4096).status(), StatusCode::kNotFound,
                 {"m/config.json", "num_experts", "from 1 to 4096", "download"});
  expect_failure(reader_.boolean("nothing").status(), StatusCode::kNotFound, {"nothing"});
  expect_failure(reader_.object("absent").status(), StatusCode::kNotFound, {"an object"});
}

TEST_F(ConfigReaderTest, NamesFileFieldAndValueOfAWrongField) {
  expect_failure(reader_.uint("hidden_size", 1, 1024).status(), StatusCode::kCorrupt,
                 {"m/config.json", "hidden_size is 2048", "from 1 to 1024"});
  expect_failure(reader_.uint("negative", 0, 9).status(), StatusCode::kCorrupt, {"is -1"});
  expect_failure(reader_.uint("eps", 0, 9).status(), StatusCode::kCorrupt, {"is 1e-06"});
  expect_failure(reader_.uint("act", 0, 9).status(), StatusCode::kCorrupt, {"is \"silu\""});
  expect_failure(reader_.uint("names", 0, 9).status(), StatusCode::kCorrupt, {"a list of 2"});
  expect_failure(reader_.number("infinite", 0, 9).status(), StatusCode::kCorrupt, {"is inf"});
  expect_failure(reader_.number("tied", 0, 9).status(), StatusCode::kCorrupt, {"is false"});
  expect_failure(reader_.string("tied").status(), StatusCode::kCorrupt, {"a string"});
  expect_failure(reader_.string_list("act").status(), StatusCode::kCorrupt, {"a list of strings"});
  expect_failure(reader_.string_list("mixed").status(), StatusCode::kCorrupt, {"mixed[1] is 3"});
}

TEST_F(ConfigReaderTest, NamesThePathOfAFieldInsideAnObject) {
  const ConfigReader rope = reader_.object("rope_parameters").value();
  EXPECT_EQ(rope.number("rope_theta", 1, 1e12).value(), 1e4);
  expect_failure(rope.number("factor", 1, 64).status(), StatusCode::kCorrupt,
                 {"m/config.json", "rope_parameters.factor is \"four\""});
  expect_failure(reader_.object("act").status(), StatusCode::kCorrupt, {"act", "an object"});
}

TEST_F(ConfigReaderTest, RejectsAFieldForAReasonOfTheCaller) {
  expect_failure(reader_.reject(StatusCode::kUnsupported, {"hidden_act", "act"}, "no such unit"),
                 StatusCode::kUnsupported, {"m/config.json: field act: no such unit"});
}

TEST(ConfigReader, AcceptsNumbersThatCodeMade) {
  const nlohmann::json config = {{"count", 5},
                                 {"below", -5}};  // signed, unlike what a parser yields
  const ConfigReader reader(config, "c");
  EXPECT_EQ(reader.uint("count", 0, 9).value(), 5u);
  EXPECT_FALSE(reader.uint("below", 0, 9).ok());
}

}  // namespace
}  // namespace flashmoe
