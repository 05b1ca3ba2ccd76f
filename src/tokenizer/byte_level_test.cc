#include "tokenizer/byte_level.h"

#include <gtest/gtest.h>

#include <string>

#include "tokenizer/testing/tiny_tokenizer.h"

namespace flashmoe {
namespace {

TEST(ByteLevel, SpellsEveryByteOnce) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string bytes(1, static_cast<char>(byte));
    std::string out = "x";
    ASSERT_TRUE(append_byte_level(testing::spell_bytes(bytes), out));
    EXPECT_EQ(out, "x" + bytes);
  }
  std::string out = "x";
  ASSERT_TRUE(append_byte_level("ĠtheĊ", out));
  EXPECT_EQ(out, "x the\n");
}

TEST(ByteLevel, LeavesTheOutputWhenACodePointSpellsNoByte) {
  std::string out = "x";
  EXPECT_FALSE(append_byte_level("ab｜", out));
  EXPECT_FALSE(append_byte_level("a b", out));     // a space is spelled Ġ
  EXPECT_FALSE(append_byte_level("\u0144", out));  // one behind the last
  EXPECT_EQ(out, "x");
}

}  // namespace
}  // namespace flashmoe
