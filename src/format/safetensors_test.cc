#include "format/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <span>
#include <string>

#include "base/testing/temporary_folder.h"
#include "format/safetensors_file.h"
#include "format/testing/expect_failure.h"
#include "format/testing/safetensors_bytes.h"

namespace flashmoe {
namespace {

Result<SafetensorsHeader> parse(const std::string& bytes) {
  return parse_safetensors_header(std::as_bytes(std::span(bytes)), bytes.size(), "m.safetensors");
}

Result<SafetensorsHeader> parse(std::string_view header, std::size_t data_size) {
  return parse(safetensors_bytes(header, data_size));
}

void expect_corrupt(std::string_view header, std::size_t data_size,
                    std::initializer_list<std::string_view> words) {
  SCOPED_TRACE(header);
  const Status status = parse(header, data_size).status();
  expect_failure(status, StatusCode::kCorrupt, {"m.safetensors", "download"});
  expect_failure(status, StatusCode::kCorrupt, words);
}

TEST(SafetensorsHeader, ListsTensorsByOffset) {
  const auto header = parse(R"({"__metadata__": {"format": "mlx"},
      "b": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [5, 17]},
      "a": {"shape": [5], "data_offsets": [0, 5], "dtype": "U8"},
      "scalar": {"dtype": "F32", "shape": [], "data_offsets": [17, 21]},
      "empty": {"dtype": "I64", "shape": [0, 7], "data_offsets": [21, 21]}})",
                            21);
  ASSERT_TRUE(header.ok()) << header.status().message();
  ASSERT_EQ(header->tensors.size(), 4u);
  const std::uint64_t data_begin = header->tensors[0].offset;
  EXPECT_EQ(header->tensors[0].name, "a");
  EXPECT_EQ(header->tensors[1].name, "b");
  EXPECT_EQ(header->tensors[1].dtype, DType::kBF16);
  EXPECT_THAT(header->tensors[1].shape, testing::ElementsAre(2u, 3u));
  EXPECT_EQ(header->tensors[1].offset, data_begin + 5);
  EXPECT_EQ(header->tensors[1].size, 12u);
  EXPECT_EQ(header->tensors[2].size, 4u);
  EXPECT_EQ(header->tensors[3].size, 0u);
  EXPECT_EQ(header->metadata.at("format"), "mlx");
}

TEST(SafetensorsHeader, AcceptsTheNullThatMlxWritesForNoMetadata) {
  const auto header = parse(
      R"({"__metadata__": null, "a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}})", 1);
  ASSERT_TRUE(header.ok()) << header.status().message();
  EXPECT_TRUE(header->metadata.empty());
  EXPECT_EQ(header->tensors.size(), 1u);
}

TEST(SafetensorsHeader, AllowsPaddingAndGaps) {
  const auto header =
      parse("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[3,4]}}      ", 9);
  ASSERT_TRUE(header.ok()) << header.status().message();
  EXPECT_TRUE(parse("{}", 0).ok());
}

TEST(SafetensorsHeader, RefusesAFileTooShortForIt) {
  expect_failure(parse(std::string()).status(), StatusCode::kCorrupt, {"0 bytes are too few"});
  expect_failure(parse(std::string(7, '\0')).status(), StatusCode::kCorrupt,
                 {"7 bytes are too few"});
}

TEST(SafetensorsHeader, RefusesAHeaderLongerThanTheFile) {
  std::string bytes = safetensors_bytes("{}", 0);
  bytes[7] = '\x10';  // 2^60 and two
  expect_failure(parse(bytes).status(), StatusCode::kCorrupt,
                 {"m.safetensors", "says it is 1.0 EiB long", "the file has 10 B", "download"});
  bytes.assign(8, '\xff');
  expect_failure(parse(bytes).status(), StatusCode::kCorrupt, {"16.0 EiB long"});
  bytes = safetensors_bytes("{}", 0);
  bytes[0] = 3;
  expect_failure(parse(bytes).status(), StatusCode::kCorrupt, {"3 B long"});
}

TEST(SafetensorsHeader, RefusesAHeaderAboveTheLimitWithoutReadingIt) {
  std::string bytes(8, '\0');
  const std::uint64_t size = kSafetensorsHeaderSizeMax + 1;
  std::memcpy(bytes.data(), &size, 8);
  expect_failure(parse_safetensors_header(std::as_bytes(std::span(bytes)), size + 8, "m").status(),
                 StatusCode::kCorrupt, {"95.4 MiB long, more than the 95.4 MiB"});
}

TEST(SafetensorsHeader, RefusesWhatIsNotJson) {
  for (const char* header : {"", "{", "{\"a\":", "{}x", "{\"\xff\":1}", "\x80\x02}q"}) {
    expect_corrupt(header, 0, {"parse error", "column"});
  }
}

TEST(SafetensorsHeader, RefusesOtherJsonThanTensorsByName) {
  for (const char* header : {"[]", "1", "null", "\"a\"", "true", "1.5", "-1"}) {
    expect_corrupt(header, 0, {"instead of an object of tensors by name"});
  }
  expect_corrupt(R"({"a": 1})", 0, {"tensor a", "dtype, shape and data_offsets"});
  expect_corrupt(R"({"a": [1]})", 0, {"tensor a", "a list"});
  expect_corrupt(R"({"": {}})", 0, {"empty name"});
  expect_corrupt(R"({"__metadata__": "x"})", 0, {"__metadata__", "an object of strings"});
  expect_corrupt(R"({"__metadata__": {"a": 1}})", 0, {"__metadata__", "a number"});
  expect_corrupt(R"({"__metadata__": {"a": {}}})", 0, {"__metadata__", "an object"});
  expect_corrupt(R"({"__metadata__": {"a": "", "a": ""}})", 0, {"__metadata__", "twice"});
  expect_corrupt(R"({"__metadata__": {}, "__metadata__": {}})", 0, {"__metadata__", "twice"});
}

TEST(SafetensorsHeader, RefusesAFieldThatIsAbsentOrWrong) {
  expect_corrupt(R"({"a": {"shape": [1], "data_offsets": [0, 1]}})", 1, {"tensor a", "dtype"});
  expect_corrupt(R"({"a": {"dtype": "U8", "data_offsets": [0, 1]}})", 1, {"tensor a", "shape"});
  expect_corrupt(R"({"a": {"dtype": "U8", "shape": [1]}})", 1, {"tensor a", "data_offsets"});
  expect_corrupt(R"({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1], "x": 1}})", 1,
                 {"tensor a", "\"x\""});
  expect_corrupt(R"({"a": {"dtype": "U8", "dtype": "U8"}})", 1, {"tensor a", "dtype", "twice"});
  expect_corrupt(R"({"a": {"dtype": 8}})", 0, {"tensor a", "field dtype", "a number"});
  expect_corrupt(R"({"a": {"shape": 8}})", 0, {"tensor a", "field shape", "a number"});
  expect_corrupt(R"({"a": {"shape": [-1]}})", 0, {"field shape", "a negative number"});
  expect_corrupt(R"({"a": {"shape": [1.5]}})", 0, {"field shape", "not whole"});
  expect_corrupt(R"({"a": {"shape": [18446744073709551616]}})", 0, {"field shape", "too large"});
  expect_corrupt(R"({"a": {"shape": [[1]]}})", 0, {"field shape", "a list"});
  expect_corrupt(R"({"a": {"shape": ["1"]}})", 0, {"field shape", "a string"});
  expect_corrupt(R"({"a": {"shape": [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}})", 0,
                 {"field shape", "16 dimensions"});
  expect_corrupt(R"({"a": {"data_offsets": [0]}})", 0, {"data_offsets", "fewer than two"});
  expect_corrupt(R"({"a": {"data_offsets": [0, 1, 2]}})", 0, {"data_offsets", "more than two"});
  expect_corrupt(R"({"a": {"data_offsets": {"begin": 0}}})", 0, {"data_offsets", "an object"});
  expect_corrupt(R"({"a": {"data_offsets": null}})", 0, {"data_offsets", "null"});
}

TEST(SafetensorsHeader, RefusesAnElementTypeItDoesNotKnow) {
  const auto header = parse(R"({"a": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}})", 1);
  expect_failure(header.status(), StatusCode::kUnsupported,
                 {"m.safetensors", "tensor a", "dtype", "F4", "checkpoint"});
}

TEST(SafetensorsHeader, RefusesASizeThatShapeAndDtypeContradict) {
  expect_corrupt(R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 7]}})", 8,
                 {"tensor a", "F32 make 8 bytes", "span 7"});
  expect_corrupt(R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}})", 8,
                 {"tensor a", "after its end"});
  expect_corrupt(
      R"({"a": {"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 0]}})", 8,
      {"tensor a", "shape", "overflows"});
  expect_corrupt(
      R"({"a": {"dtype": "F64", "shape": [2305843009213693952], "data_offsets": [0, 0]}})", 8,
      {"tensor a", "shape", "overflows"});
}

TEST(SafetensorsHeader, RefusesATensorBeyondTheEndOfTheFile) {
  expect_corrupt(R"({"a": {"dtype": "U8", "shape": [9], "data_offsets": [0, 9]}})", 8,
                 {"tensor a ends 1 B behind that", "holds 8 B", "cut short"});
  expect_corrupt(
      R"({"a": {"dtype": "U8", "shape": [0],
                "data_offsets": [18446744073709551615, 18446744073709551615]}})",
      8, {"tensor a ends 16.0 EiB behind that"});
}

TEST(SafetensorsHeader, RefusesTensorsThatOverlap) {
  expect_corrupt(R"({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},
                     "b": {"dtype": "U8", "shape": [4], "data_offsets": [3, 7]}})",
                 8, {"tensors a and b overlap"});
  expect_corrupt(R"({"a": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]},
                     "e": {"dtype": "U8", "shape": [0], "data_offsets": [2, 2]},
                     "b": {"dtype": "U8", "shape": [1], "data_offsets": [2, 3]}})",
                 8, {"tensors a and b overlap"});
}

TEST(SafetensorsHeader, RefusesANameSaidTwice) {
  expect_corrupt(R"({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},
                     "a": {"dtype": "U8", "shape": [4], "data_offsets": [4, 8]}})",
                 8, {"tensor a", "twice"});
}

TEST(SafetensorsHeader, RefusesEveryTruncationOfAFile) {
  const std::string whole =
      safetensors_bytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  ASSERT_TRUE(parse(whole).ok());
  const TemporaryFolder folder;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto path = folder.write("cut.safetensors", whole.substr(0, size));
    expect_failure(SafetensorsFile::open(path).status(), StatusCode::kCorrupt, {"cut.safetensors"});
  }
}

TEST(SafetensorsFile, ReadsTensorsAtOddAddresses) {
  const std::string_view header =
      R"({"f":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"i":{"dtype":"I16","shape":[1],"data_offsets":[4,6]}})";
  ASSERT_EQ(header.size() % 2, 1u);
  std::string bytes = safetensors_bytes(header, 0) + std::string("\x00\x3c\x00\xc0\xfe\xff", 6);
  const TemporaryFolder folder;
  const auto file = SafetensorsFile::open(folder.write("odd.safetensors", bytes));
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_THAT(file->read_floats("f").value(), testing::ElementsAre(1.0f, -2.0f));
  EXPECT_THAT(file->read_integers("i").value(), testing::ElementsAre(-2));
  expect_failure(file->read_floats("i").status(), StatusCode::kInvalidArgument,
                 {"tensor i", "I16"});
  expect_failure(file->read_integers("f").status(), StatusCode::kInvalidArgument, {"F16"});
  expect_failure(file->read("g").status(), StatusCode::kNotFound, {"odd.safetensors", "tensor g"});
}

}  // namespace
}  // namespace flashmoe
