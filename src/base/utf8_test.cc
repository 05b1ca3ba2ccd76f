#include "base/utf8.h"

#include <gtest/gtest.h>

namespace flashmoe {
namespace {

TEST(Utf8, FindsTheFirstByteThatIsNoUtf8) {
  EXPECT_EQ(find_invalid_utf8("plain"), std::string_view::npos);
  EXPECT_EQ(find_invalid_utf8("é漢🙂\xF4\x8F\xBF\xBF"), std::string_view::npos);
  EXPECT_EQ(find_invalid_utf8("0123456789\xFF"), 10u);
  EXPECT_EQ(find_invalid_utf8("a\xC0\x80"), 1u);         // overlong
  EXPECT_EQ(find_invalid_utf8("ab\xED\xA0\x80"), 2u);    // surrogate
  EXPECT_EQ(find_invalid_utf8("\xF4\x90\x80\x80"), 0u);  // above U+10FFFF
  EXPECT_EQ(find_invalid_utf8("ok \xE6\xBC"), 3u);       // cut off
  EXPECT_EQ(find_invalid_utf8("12345678\x80"), 8u);      // continuation alone
}

TEST(Utf8, CodePointsRoundTrip) {
  for (char32_t c = 0; c <= 0x10FFFF; c += 7) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    append_utf8(c, text);
    ASSERT_EQ(find_invalid_utf8(text), std::string_view::npos) << std::uint32_t{c};
    std::size_t offset = 0;
    ASSERT_EQ(next_code_point(text, offset), c);
    ASSERT_EQ(offset, text.size());
    ASSERT_EQ(previous_offset(text, text.size()), 0u);
  }
}

TEST(Utf8, QuotesWhatAMessageCannotCarry) {
  EXPECT_EQ(quote_bytes("a\"\n\xFF"), "\"a\\x22\\x0A\\xFF\"");
  EXPECT_EQ(quote_bytes(std::string(100, 'x')), "\"" + std::string(60, 'x') + "\"...");
}

std::string repair(std::initializer_list<std::string_view> parts) {
  Utf8Repairer repairer;
  std::string out;
  for (const std::string_view part : parts) repairer.push(part, out);
  repairer.flush(out);
  return out;
}

TEST(Utf8Repairer, HoldsBackOnlyWhatMayBecomeACodePoint) {
  Utf8Repairer repairer;
  std::string out;
  repairer.push("a\xE6\xBC", out);
  EXPECT_EQ(out, "a");
  repairer.push("\xA2", out);
  EXPECT_EQ(out, "a漢");
  repairer.push("\xF0\x9F", out);
  EXPECT_EQ(out, "a漢");
  repairer.push("b", out);
  EXPECT_EQ(out, "a漢\uFFFDb");
}

// The examples of Unicode 15.0, section 3.9, "U+FFFD substitution of maximal subparts".
TEST(Utf8Repairer, ReplacesEachMaximalSubpart) {
  EXPECT_EQ(repair({"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"}),
            "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\x41");
  EXPECT_EQ(repair({"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"}),
            "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\x41");
  EXPECT_EQ(repair({"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"}), "\uFFFD\uFFFD\uFFFD\uFFFD\x41");
  EXPECT_EQ(repair({"\xE1\x80", "\xE2", "\xF0\x91", "\x92\xF1\xBF", "\x41"}),
            "\uFFFD\uFFFD\uFFFD\uFFFD\x41");
  EXPECT_EQ(repair({"\xF0\x9F\x99"}), "\uFFFD");
}

}  // namespace
}  // namespace flashmoe
