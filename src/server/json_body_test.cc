#include "server/json_body.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

namespace flashmoe::server {
namespace {

using ::testing::HasSubstr;

unsigned status_of(const std::string& body, std::size_t memory_max = ~std::size_t{0}) {
  const ApiResult<Json> parsed = parse_body(body, memory_max);
  return parsed.ok() ? 200 : parsed.error().status;
}

bool is_too_large(const std::string& body, std::size_t memory_max) {
  const ApiResult<Json> parsed = parse_body(body, memory_max);
  return !parsed.ok() && parsed.error().code == kBodyTooLarge;
}

std::string many(const std::string& before, const std::string& item, std::size_t count,
                 const std::string& after) {
  std::string text = before + item;
  for (std::size_t i = 1; i < count; ++i) text += "," + item;
  return text + after;
}

/// A random value as text: with escapes, numbers of all kinds, members that come twice.
std::string random_json(std::mt19937& random, int depth) {
  switch (std::uniform_int_distribution<>(0, depth > 0 ? 9 : 7)(random)) {
    case 0:
      return "null";
    case 1:
      return "true";
    case 2:
      return std::to_string(static_cast<int>(random()));
    case 3:
      return std::to_string(random()) + "." + std::to_string(random()) + "e-3";
    case 4:
      return "18446744073709551615";
    case 5:
      return R"("a\u00e9\n\ud83d\ude00\\\"")";
    case 6:
      return "\"\u6c34 plain\"";
    case 7:
      return "-0.0";
    case 8: {
      std::string list = "[";
      for (unsigned i = random() % 4; i > 0; --i) {
        list += random_json(random, depth - 1) + (i > 1 ? " ,\t" : "");
      }
      return list + "]";
    }
    default: {
      std::string object = "{ ";
      for (unsigned i = random() % 4; i > 0; --i) {
        object += "\"k" + std::to_string(random() % 3) + "\":" + random_json(random, depth - 1) +
                  (i > 1 ? "," : "");
      }
      return object + "}";
    }
  }
}

TEST(ParseBody, ReadsWhatTheLibraryReads) {
  std::mt19937 random(3);
  for (int i = 0; i < 2000; ++i) {
    const std::string text = R"({"a":)" + random_json(random, 6) + "}";
    ApiResult<Json> parsed = parse_body(text);
    ASSERT_TRUE(parsed.ok()) << text;
    EXPECT_EQ(parsed->dump(), Json::parse(text).dump()) << text;
    const std::string cut = text.substr(0, random() % text.size());
    EXPECT_EQ(status_of(cut), 400u) << cut;
  }
}

TEST(ParseBody, BoundsDepth) {
  EXPECT_EQ(status_of(R"({"a": [[[1]]]})"), 200u);
  std::string deep = "{\"a\": ";
  for (int i = 0; i < 100'000; ++i) deep += '[';
  EXPECT_THAT(parse_body(deep).error().message, HasSubstr("nested too deeply"));
  EXPECT_EQ(status_of("[]"), 400u);
  EXPECT_EQ(status_of(""), 400u);
  EXPECT_EQ(status_of("{} x"), 400u);
}

TEST(ParseBody, BoundsMembersOfAnObject) {
  std::string members;
  for (int i = 0; i < 10'000; ++i) members += fmt::format("\"{}\":0,", i);
  EXPECT_EQ(status_of(fmt::format("{{{}}}", members.substr(0, members.size() - 1))), 200u);
  EXPECT_THAT(parse_body(fmt::format("{{{}\"x\":0}}", members)).error().message,
              HasSubstr("10000 members"));
}

TEST(ParseBody, CountsWhatNodesTakeNotWhatTheyAreWrittenWith) {
  const std::size_t size = 1u << 20;
  // 100,000 nodes of one or two bytes each.
  for (const char* item : {"1", "[]", "{}", "\"\"", "null"}) {
    EXPECT_TRUE(is_too_large(many("{\"x\":[", item, 100'000, "]}"), size)) << item;
    EXPECT_EQ(status_of(many("{\"x\":[", item, 1000, "]}"), size), 200u) << item;
  }
  const auto with_text = [](const std::string& text) { return "{\"x\":\"" + text + "\"}"; };
  EXPECT_EQ(status_of(with_text(std::string(size - 1000, 'x')), size), 200u);
  EXPECT_TRUE(is_too_large(with_text(std::string(size, 'x')), size));
  // As JSON once more these would be longer.
  std::string escaped;
  for (int i = 0; i < 200'000; ++i) escaped += "\\u0001";
  EXPECT_TRUE(is_too_large(with_text(escaped), size));
  EXPECT_THAT(parse_body(with_text(escaped), size).error().message, HasSubstr("--memory"));
}

TEST(ParseBody, CutsPicturesAndSounds) {
  const std::string data(8000, 'A');
  const auto size_at = [&](const std::string& body, const char* pointer) {
    ApiResult<Json> parsed = parse_body(body);
    return parsed.ok() ? parsed->at(Json::json_pointer(pointer)).get<std::string>().size() : 0;
  };
  const auto in = [](const std::string& before, const std::string& text, const std::string& after) {
    return before + "\"" + text + "\"" + after;
  };
  const std::string url = "data:image/png;base64," + data;
  EXPECT_EQ(size_at(in(R"({"a":[{"type":"image","source":{"type":"base64","data":)", data, "}}]}"),
                    "/a/0/source/data"),
            64u);
  EXPECT_EQ(size_at(in(R"({"a":[{"image_url":{"url":)", url, "}}]}"), "/a/0/image_url/url"), 64u);
  EXPECT_EQ(size_at(in(R"({"input":[{"content":[{"image_url":)", url, "}]}]}"),
                    "/input/0/content/0/image_url"),
            64u);
  EXPECT_EQ(size_at(in(R"({"images":["x",)", data, "]}"), "/images/1"), 64u);
  EXPECT_EQ(size_at(in(R"({"input_audio":{"data":)", data, "}}"), "/input_audio/data"), 64u);
  EXPECT_EQ(size_at(in(R"({"file":{"file_data":)", url, "}}"), "/file/file_data"), 64u);
}

TEST(ParseBody, LeavesTextsThatOnlyLookLikePictures) {
  const std::string data(8000, 'A');
  const std::string url = "data:image/png;base64," + data;
  for (const std::string& body :
       {R"({"content":")" + url + R"("})", R"({"text":")" + data + R"("})",
        R"({"input":{"source":{"data":")" + data + R"("}}})",
        R"({"arguments":{"url":")" + url + R"("}})", R"({"data":")" + data + R"("})",
        R"({"parameters":{"properties":{"images":[")" + data + R"("]}}})",
        R"({"source":{"type":"text","data":"with blanks )" + data + R"("}})",
        R"({"image_url":"https://a.example/)" + data + R"("})"}) {
    ApiResult<Json> parsed = parse_body(body);
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(*parsed, Json::parse(body)) << body.substr(0, 60);
  }
}

}  // namespace
}  // namespace flashmoe::server
