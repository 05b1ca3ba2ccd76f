#include "tokenizer/jinja/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace flashmoe::jinja {
namespace {

TEST(Text, DecodesWhatIsValidAndStepsOverTheRestByteByByte) {
  EXPECT_EQ(decode("é").value, U'\u00e9');
  EXPECT_EQ(decode("👋").size, 4U);
  for (const char* broken : {"\xFF", "\xC3", "\xC3(", "\xE4\xBD", "\xED\xA0\x80", "\xC0\x80",
                             "\xF4\x90\x80\x80", "\xF0\x80\x80\x80", "\x80"}) {
    EXPECT_EQ(decode(broken).value, 0xFFFDU) << broken;
    EXPECT_EQ(decode(broken).size, 1U) << broken;
  }
  EXPECT_EQ(decode_last("a你").size, 3U);
  EXPECT_EQ(decode_last("a\x80").size, 1U);
  EXPECT_EQ(decode_last("\x80\x80\x80\x80\x80").size, 1U);
}

TEST(Text, CountsAndFindsCodePoints) {
  EXPECT_EQ(count_code_points("aé你👋"), 4U);
  EXPECT_EQ(offset_of("aé你👋", 2), 3U);
  EXPECT_EQ(offset_of("aé", 9), 3U);
}

TEST(Text, StripsUnicodeSpaceOrTheGivenCharacters) {
  EXPECT_EQ(strip(" \u00a0a\u3000\n", Side::kBoth), "a");
  EXPECT_EQ(strip("xxaxx", Side::kLeft, "x"), "axx");
  EXPECT_EQ(strip("éaé", Side::kRight, "é"), "éa");
  EXPECT_EQ(strip("  ", Side::kBoth), "");
  EXPECT_EQ(strip(" a ", Side::kBoth, ""), " a ");
}

TEST(Text, MapsCaseBeyondAscii) {
  EXPECT_EQ(map_characters("aé\xFF", upper_character), "AÉ\xFF");
  EXPECT_EQ(map_characters("ÀB", lower_character), "àb");
  EXPECT_EQ(map_characters("éCOLE", capitalize_character), "École");
  EXPECT_EQ(map_characters("it's a tEST", title_character), "It'S A Test");
}

TEST(Text, ReadsNumbersAsPythonDoes) {
  EXPECT_EQ(parse_real("1.5"), 1.5);
  EXPECT_EQ(parse_real("-2"), -2.0);
  EXPECT_EQ(parse_real("+.5E1"), 5.0);
  EXPECT_EQ(parse_real("1.e-3"), 0.001);
  EXPECT_EQ(parse_real("0.1"), 0.1);
  EXPECT_EQ(parse_real("1.7976931348623157e308"), std::numeric_limits<double>::max());
  EXPECT_EQ(parse_real("-1e400"), -std::numeric_limits<double>::infinity());
  EXPECT_EQ(parse_real("1e-400"), 0.0);
  EXPECT_EQ(parse_real("Infinity"), std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(parse_real("-nan").value_or(0)));
  for (const char* wrong :
       {"", ".", "e5", "1e", "1e+", "--1", "+-1", "1.2.3", "0x1p3", "1 ", "1,5"}) {
    EXPECT_FALSE(parse_real(wrong).has_value()) << wrong;
  }
}

TEST(Text, SplitsAtEveryLineEndOfPython) {
  EXPECT_THAT(split_lines("a\nb\r\nc\rd\u2028e\n"),
              ::testing::ElementsAre("a", "b", "c", "d", "e"));
  EXPECT_THAT(split_lines("\n"), ::testing::ElementsAre(""));
  EXPECT_TRUE(split_lines("").empty());
}

}  // namespace
}  // namespace flashmoe::jinja
