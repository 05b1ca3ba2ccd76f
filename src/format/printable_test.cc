#include "format/printable.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace flashmoe {
namespace {

TEST(Printable, KeepsTextOfAnyScript) {
  const std::string text = "model.layers.0 – żółć 模型 \U0001F600 \u00a0";
  EXPECT_EQ(printable(text), text);
  EXPECT_EQ(printable(""), "");
}

TEST(Printable, EscapesControlCharacters) {
  EXPECT_EQ(printable("a\x1b[31m\n\x7f"), "a\\x1b[31m\\x0a\\x7f");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "\\xc2\\x9b31m");  // one of the C1 set
}

TEST(Printable, EscapesWhatIsNotUtf8) {
  EXPECT_EQ(printable("\xff"), "\\xff");
  EXPECT_EQ(printable("a\x80z"), "a\\x80z");
  EXPECT_EQ(printable("\xc0\x80"), "\\xc0\\x80");                    // overlong
  EXPECT_EQ(printable("\xe0\x80\x80"), "\\xe0\\x80\\x80");           // overlong
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // a surrogate
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // beyond U+10FFFF
  EXPECT_EQ(printable("\xe6\xa8"), "\\xe6\\xa8");                    // cut off
  EXPECT_EQ(printable("\xe6"
                      "ab"),
            "\\xe6"
            "ab");
}

TEST(Printable, CutsLongTextBetweenCharacters) {
  EXPECT_EQ(printable(std::string(200, 'x')), std::string(200, 'x'));
  EXPECT_EQ(printable(std::string(201, 'x')), fmt::format("{:x<200}...", ""));
  EXPECT_EQ(printable(fmt::format("{:x<199}é", "")), fmt::format("{:x<199}...", ""));
  EXPECT_LT(printable(std::string(100000, '\x01')).size(), 210u);
}

}  // namespace
}  // namespace flashmoe
