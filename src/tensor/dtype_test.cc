#include "tensor/dtype.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tensor/float_bits.h"

namespace flashmoe {
namespace {

TEST(DType, NamesRoundTripAndUnknownNamesAreNone) {
  for (int i = 0; i <= static_cast<int>(DType::kF8E5M2); ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(parse_dtype(to_string(dtype)), dtype);
  }
  EXPECT_EQ(parse_dtype("F4"), std::nullopt);
  EXPECT_EQ(parse_dtype("bf16"), std::nullopt);
  EXPECT_EQ(size_of(DType::kBF16), 2u);
  EXPECT_EQ(size_of(DType::kU32), 4u);
}

TEST(FloatBits, HalvesConvertExactly) {
  EXPECT_EQ(float_from_f16(0x3c00), 1.0f);
  EXPECT_EQ(float_from_f16(0xc000), -2.0f);
  EXPECT_EQ(float_from_f16(0x7bff), 65504.0f);
  EXPECT_EQ(float_from_f16(0x0001), 0x1p-24f);
  EXPECT_EQ(float_from_f16(0x8001), -0x1p-24f);
  EXPECT_EQ(float_from_f16(0x03ff), 1023 * 0x1p-24f);
  EXPECT_EQ(float_from_f16(0x0400), 0x1p-14f);
  EXPECT_TRUE(std::signbit(float_from_f16(0x8000)));
  EXPECT_TRUE(std::isinf(float_from_f16(0x7c00)));
  EXPECT_TRUE(std::isnan(float_from_f16(0x7e00)));
  // Every finite pattern against the definition of binary16; not every compiler has _Float16.
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const int exponent = static_cast<int>(bits >> 10 & 0x1f);
    const double fraction = static_cast<double>(bits & 0x3ff) / 1024;
    if (exponent == 31) continue;
    const double magnitude =
        exponent == 0 ? std::ldexp(fraction, -14) : std::ldexp(1 + fraction, exponent - 15);
    const auto expected = static_cast<float>(bits & 0x8000 ? -magnitude : magnitude);
    const float got = float_from_f16(static_cast<std::uint16_t>(bits));
    EXPECT_EQ(std::bit_cast<std::uint32_t>(got), std::bit_cast<std::uint32_t>(expected)) << bits;
  }
}

TEST(DType, NumbersAtAnyAddressAreWidenedExactly) {
  const unsigned char bytes[] = {0, 0x80, 0x3f, 0x40, 0xc0, 0, 0x3c, 0, 0, 0x80, 0x3f};
  const auto* const begin = reinterpret_cast<const std::byte*>(bytes) + 1;
  std::vector<float> out(2);
  widen(DType::kBF16, begin, out);
  EXPECT_EQ(out, (std::vector<float>{1, -3}));
  out.resize(1);
  widen(DType::kF16, begin + 4, out);
  EXPECT_EQ(out[0], 1);
  widen(DType::kF32, begin + 6, out);
  EXPECT_EQ(out[0], 1);
}

TEST(FloatBits, Bfloat16IsTheUpperHalfOfAFloat) {
  EXPECT_EQ(float_from_bf16(0x3f80), 1.0f);
  EXPECT_EQ(float_from_bf16(0xc040), -3.0f);
}

}  // namespace
}  // namespace flashmoe
