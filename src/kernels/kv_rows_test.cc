#include "kernels/kv_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/testing/op_inputs.h"

namespace flashmoe {
namespace {

using testing::Random;

/// What a cache keeps of a key or value.
std::vector<float> kept(KvPrecision precision, const std::vector<float>& values) {
  std::vector<std::byte> row(kv_row_bytes(precision, values.size()));
  store_kv_row(precision, values, row.data());
  std::vector<float> loaded(values.size());
  load_kv_row(precision, row.data(), loaded);
  return loaded;
}

float ulps_above_one(int steps) { return 1 + static_cast<float>(steps) * 0x1p-23f; }

TEST(KvRows, TakeWhatTheirPrecisionSays) {
  EXPECT_EQ(kv_row_bytes(KvPrecision::kF32, 128), 512u);
  EXPECT_EQ(kv_row_bytes(KvPrecision::kBF16, 128), 256u);
  EXPECT_EQ(kv_row_bytes(KvPrecision::kInt8, 128), 128u + 4 * 4);
  EXPECT_EQ(kv_row_bytes(KvPrecision::kInt8, 33), 33u + 2 * 4);
}

TEST(KvRows, FloatsStayAsTheyAre) {
  const std::vector<float> values = {0, -0.0f, 1e-40f, 3.25f, -1e38f};
  const std::vector<float> loaded = kept(KvPrecision::kF32, values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(loaded[i]), std::bit_cast<std::uint32_t>(values[i]));
  }
}

TEST(KvRows, Bfloat16TakesTheNearestAndHalvesToEven) {
  // A bfloat16 has 7 bits behind the point: 1, 1 + 2^-7, 1 + 2^-6.
  constexpr int kStep = 1 << 16;
  EXPECT_THAT(kept(KvPrecision::kBF16,
                   {ulps_above_one(kStep / 2 - 1), ulps_above_one(kStep / 2),
                    ulps_above_one(kStep / 2 + 1), ulps_above_one(kStep + kStep / 2), -0.0f}),
              ::testing::ElementsAre(1, 1, ulps_above_one(kStep), ulps_above_one(2 * kStep), 0));
  const float largest = std::numeric_limits<float>::max();
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_THAT(kept(KvPrecision::kBF16, {largest, infinity, -infinity}),
              ::testing::ElementsAre(infinity, infinity, -infinity));
  // A NaN whose upper half alone would be an infinity.
  EXPECT_TRUE(std::isnan(kept(KvPrecision::kBF16, {std::bit_cast<float>(0x7f800001u)})[0]));
}

TEST(KvRows, IntegersShareTheScaleOfTheirGroupAlone) {
  std::vector<float> values(2 * kKvGroup + 3, 1);
  values[0] = 127;   // so the scale is 1
  values[1] = 2.5f;  // halves to even
  values[2] = -3.5f;
  values[3] = 0.25f;
  values[kKvGroup] = -254;       // 2
  values[2 * kKvGroup] = 63.5f;  // 0.5
  const std::vector<float> loaded = kept(KvPrecision::kInt8, values);
  EXPECT_EQ(loaded[0], 127);
  EXPECT_EQ(loaded[1], 2);
  EXPECT_EQ(loaded[2], -4);
  EXPECT_EQ(loaded[3], 0);
  EXPECT_EQ(loaded[kKvGroup], -254);
  EXPECT_EQ(loaded[kKvGroup + 1], 0);  // 1 / 2, to even
  EXPECT_EQ(loaded[2 * kKvGroup + 1], 1);
}

TEST(KvRows, IntegersAreWithinHalfAStepOfAnySize) {
  Random random(3);
  for (const int exponent : {-90, -20, 0, 30, 120}) {
    std::vector<float> values(kKvGroup);
    float largest = 0;
    for (float& value : values) {
      value = std::ldexp(random.normal(), exponent);
      largest = std::max(largest, std::abs(value));
    }
    const std::vector<float> loaded = kept(KvPrecision::kInt8, values);
    for (std::size_t i = 0; i < values.size(); ++i) {
      EXPECT_NEAR(loaded[i] / largest, values[i] / largest, 0.5001 / 127);
    }
  }
  EXPECT_THAT(kept(KvPrecision::kInt8, std::vector<float>(5, 1e-39f)), ::testing::Each(0.0f));
}

TEST(KvRows, WhatIsNotFiniteIsNotHidden) {
  for (const float bad :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<float> values(2 * kKvGroup, 1);
    values[5] = bad;
    for (const KvPrecision precision : {KvPrecision::kBF16, KvPrecision::kInt8}) {
      const std::vector<float> loaded = kept(precision, values);
      EXPECT_FALSE(std::isfinite(loaded[5]));
      EXPECT_EQ(loaded[kKvGroup], 1);  // another group
    }
  }
}

}  // namespace
}  // namespace flashmoe
