#include "base/portable_math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace flashmoe::portable {
namespace {

double relative_error(double value, long double exact) {
  return static_cast<double>(std::fabs(value / exact - 1));
}

TEST(PortableMath, ExpIsWithinTwoUlp) {
  for (double x = -708; x < 709; x += 0.0837) {
    ASSERT_LT(relative_error(exp(x), std::exp(static_cast<long double>(x))), 4.5e-16) << x;
  }
  EXPECT_EQ(exp(0), 1);
  EXPECT_EQ(exp(-0.0), 1);
}

TEST(PortableMath, ExpEndsInZeroAndInfinity) {
  EXPECT_EQ(exp(-std::numeric_limits<double>::infinity()), 0);
  EXPECT_EQ(exp(-746), 0);
  EXPECT_EQ(exp(-744), std::exp(-744.0));  // subnormal
  EXPECT_EQ(exp(710), std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(exp(std::nan(""))));
}

TEST(PortableMath, LogIsWithinTwoUlp) {
  for (double x = 1e-310; x < 1e308; x *= 1.237) {
    ASSERT_LT(relative_error(log(x), std::log(static_cast<long double>(x))), 4.5e-16) << x;
  }
  for (double x = 0.5; x < 2; x += 0.00137) {
    ASSERT_LT(relative_error(log(x), std::log(static_cast<long double>(x))), 4.5e-16) << x;
  }
  EXPECT_EQ(log(1), 0);
}

TEST(PortableMath, PowGivesRotaryFrequencies) {
  for (double theta = 1e2; theta < 2e8; theta *= 3.16) {
    for (double y = 0; y > -1; y -= 1.0 / 128) {
      const long double exact = std::pow(static_cast<long double>(theta), y);
      ASSERT_LT(relative_error(pow(theta, y), exact), 1e-14) << theta << "^" << y;
    }
  }
}

TEST(PortableMath, SineAndCosineHoldForAnglesOfLongContexts) {
  for (double x = -1e6; x < 1e6; x += 7.713) {
    const SinCos value = sin_cos(x);
    ASSERT_NEAR(value.sin, static_cast<double>(std::sin(static_cast<long double>(x))), 2.3e-16)
        << x;
    ASSERT_NEAR(value.cos, static_cast<double>(std::cos(static_cast<long double>(x))), 2.3e-16)
        << x;
  }
  EXPECT_EQ(sin_cos(0).sin, 0);
  EXPECT_EQ(sin_cos(0).cos, 1);
}

// The same on every machine: AArch64's long double would hide a difference, these bits would not.
TEST(PortableMath, HasTheseBits) {
  EXPECT_EQ(exp(1.5), 0x1.1ed3fe64fc541p+2);
  EXPECT_EQ(log(10), 0x1.26bb1bbb55516p+1);
  EXPECT_EQ(pow(5e6, -0.40625), 0x1.f1d5272ad3d97p-10);
  EXPECT_EQ(sin_cos(262143).sin, 0x1.960a26db13c6ep-1);
  EXPECT_EQ(sin_cos(262143).cos, -0x1.37e403cff462dp-1);
}

}  // namespace
}  // namespace flashmoe::portable
