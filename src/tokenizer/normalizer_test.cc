#include "tokenizer/normalizer.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include <cstdlib>
#include <random>

#include "base/utf8.h"

namespace flashmoe {
namespace {

using nlohmann::json;

std::string normalize(const json& node, std::string_view text) {
  const auto normalizer = Normalizer::from_json(JsonNode(node, "normalizer"));
  EXPECT_TRUE(normalizer.ok()) << normalizer.status().message();
  std::string buffer;
  PatternScratch scratch;
  std::vector<TextSpan> no_spans;
  const auto normalized = normalizer->apply(text, buffer, scratch, no_spans);
  EXPECT_TRUE(normalized.ok());
  return std::string(*normalized);
}

// All of `text` through utf8proc at once.
std::string nfc_by_utf8proc(const std::string& text) {
  utf8proc_uint8_t* mapped = nullptr;
  const auto size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  EXPECT_GE(size, 0);
  std::string out(reinterpret_cast<const char*>(mapped), static_cast<std::size_t>(size));
  std::free(mapped);
  return out;
}

TEST(NormalizeNfc, ComposesAndReorders) {
  std::string out;
  ASSERT_TRUE(normalize_nfc("caf\u0065\u0301 \u212B\u1100\u1161\u11A8 \u304B\u3099", out).ok());
  EXPECT_EQ(out, "caf\u00E9 \u00C5\uAC01 \u304C");
  out.clear();
  ASSERT_TRUE(normalize_nfc("q\u0307\u0323", out).ok());
  EXPECT_EQ(out, "q\u0323\u0307");
}

TEST(NormalizeNfc, CodePointsAloneAreAsUtf8procMakesThem) {
  for (char32_t c = 1; c < 0x30000; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    append_utf8(c, text);
    std::string out;
    ASSERT_TRUE(normalize_nfc(text, out).ok());
    ASSERT_EQ(out, nfc_by_utf8proc(text)) << std::uint32_t{c};
  }
}

TEST(NormalizeNfc, RandomTextIsAsUtf8procMakesIt) {
  constexpr unsigned kSeed = 7;
  SCOPED_TRACE(kSeed);
  std::mt19937 random(kSeed);
  // Blocks where things compose, next to those that are copied.
  const char32_t blocks[] = {0x41,   0xC0,   0x300,  0x323,  0x400,  0x3041, 0x3099, 0x1100,
                             0x1161, 0x11A8, 0xAC00, 0x0915, 0x093C, 0x09C7, 0x4E00, 0x2190};
  for (int round = 0; round < 20'000; ++round) {
    std::string text;
    for (std::size_t i = random() % 12; i > 0; --i) {
      append_utf8(blocks[random() % std::size(blocks)] + random() % 24, text);
    }
    std::string out;
    ASSERT_TRUE(normalize_nfc(text, out).ok());
    ASSERT_EQ(out, nfc_by_utf8proc(text)) << text;
  }
}

// utf8proc alone would need an hour for this, and the test's time limit.
TEST(NormalizeNfc, OrdersAMegabyteOfMarks) {
  constexpr std::size_t kPairs = 250'000;
  std::string text = "a";
  std::string expected = "\u00E0";  // a with the first grave
  for (std::size_t i = 0; i < kPairs; ++i) text += "\u0315\u0300";
  for (std::size_t i = 1; i < kPairs; ++i) expected += "\u0300";
  for (std::size_t i = 0; i < kPairs; ++i) expected += "\u0315";
  std::string out;
  ASSERT_TRUE(normalize_nfc(text, out).ok());
  EXPECT_TRUE(out == expected);
}

TEST(Normalizer, EachStepDoesItsWork) {
  EXPECT_EQ(normalize(nullptr, "e\u0301"), "e\u0301");
  EXPECT_EQ(normalize({{"type", "NFKC"}}, "\uFB01 \uFF21"), "fi A");
  EXPECT_EQ(normalize({{"type", "NFD"}}, "\u00E9"), "e\u0301");
  EXPECT_EQ(normalize({{"type", "NFKD"}}, "\uFB01\u00E9"), "fie\u0301");
  EXPECT_EQ(normalize({{"type", "Lowercase"}}, "ÀB\u0130"), "àbi\u0307");
  EXPECT_EQ(normalize({{"type", "Prepend"}, {"prepend", "▁"}}, "a"), "▁a");
  EXPECT_EQ(normalize({{"type", "Prepend"}, {"prepend", "▁"}}, ""), "");
  EXPECT_EQ(normalize({{"type", "Strip"}}, " \u3000a b\n"), "a b");
  EXPECT_EQ(normalize({{"type", "Strip"}, {"strip_left", false}}, " a "), " a");
  EXPECT_EQ(
      normalize({{"type", "Replace"}, {"pattern", {{"Regex", " +"}}}, {"content", "_"}}, "a   b c"),
      "a_b_c");
  const json steps = {{{"type", "Prepend"}, {"prepend", "A"}}, {{"type", "Lowercase"}}};
  EXPECT_EQ(normalize({{"type", "Sequence"}, {"normalizers", steps}}, "B"), "ab");
}

}  // namespace
}  // namespace flashmoe
