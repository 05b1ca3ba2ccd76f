#include "base/portable_math.h"

#include <bit>
#include <cstdint>
#include <limits>

#if defined(__FAST_MATH__)
#error "-ffast-math changes the bits of the output (docs/numerics.md): build without it"
#endif

namespace flashmoe::portable {
namespace {

// ln 2 and pi/2 in parts whose first ones have trailing zero bits, so that n * part is exact.
constexpr double kLn2High = 6.93147180369123816490e-01;
constexpr double kLn2Low = 1.90821492927058770002e-10;
constexpr double kHalfPi1 = 1.57079632673412561417e+00;
constexpr double kHalfPi2 = 6.07710050630396597660e-11;
constexpr double kHalfPi3 = 2.02226624871116645580e-21;
constexpr double kHalfPi4 = 8.47842766036889956997e-32;

/// Nearest integer, halves to even, for |x| < 2^51: adding 1.5 * 2^52 leaves no fraction bits.
double round_to_even(double x) { return (x + 0x1.8p52) - 0x1.8p52; }

/// 2^n for n in [-1022, 1023].
double power_of_two(std::int64_t n) {
  return std::bit_cast<double>(static_cast<std::uint64_t>(n + 1023) << 52);
}

}  // namespace

// x = n ln 2 + r, |r| <= ln(2) / 2; e^r by its Taylor series up to r^13 / 13! (next term: 4e-18).
double exp(double x) {
  if (x != x) return x;
  if (x < -745.2) return 0;
  if (x > 709.8) return std::numeric_limits<double>::infinity();
  const double n = round_to_even(x * 1.44269504088896338700e+00);
  const double r = (x - n * kLn2High) - n * kLn2Low;
  double sum = 1.0 / 6227020800.0;
  constexpr double kInverseFactorials[] = {
      1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040,
      1.0 / 720,       1.0 / 120,      1.0 / 24,      1.0 / 6,      1.0 / 2,     1.0};
  for (const double coefficient : kInverseFactorials) sum = sum * r + coefficient;
  const double power = 1.0 + r * sum;
  const auto exponent = static_cast<std::int64_t>(n);
  const std::int64_t half = exponent / 2;  // 2^n itself may not be a normal number
  return power * power_of_two(half) * power_of_two(exponent - half);
}

// x = 2^e m, m in [sqrt(1/2), sqrt(2)); log m = 2 atanh s = 2 (s + s^3/3 + ...), s = (m-1)/(m+1),
// s^2 <= 0.0295.
double log(double x) {
  std::int64_t exponent = 0;
  if (x < std::numeric_limits<double>::min()) {
    x *= 0x1p54;
    exponent = -54;
  }
  const auto bits = std::bit_cast<std::uint64_t>(x);
  exponent += static_cast<std::int64_t>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0x000fffffffffffffu) | 0x3ff0000000000000u);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    exponent += 1;
  }
  const double s = (m - 1) / (m + 1);
  const double z = s * s;
  double sum = 0;
  for (int k = 12; k >= 1; --k) sum = sum * z + 1.0 / (2 * k + 1);
  const double e = static_cast<double>(exponent);
  return e * kLn2High + (2 * s + (2 * s * (z * sum) + e * kLn2Low));
}

double pow(double x, double y) { return exp(y * log(x)); }

// x = n pi/2 + r, |r| <= pi/4; Taylor series up to r^17 and r^18 (next terms below 1e-19).
SinCos sin_cos(double x) {
  const double n = round_to_even(x * 6.36619772367581382433e-01);
  const double r = (((x - n * kHalfPi1) - n * kHalfPi2) - n * kHalfPi3) - n * kHalfPi4;
  const double z = r * r;
  double sine = 0;
  double cosine = 0;
  for (int k = 17; k >= 3; k -= 2) {
    sine = (sine + 1) * (-z / (k * (k - 1)));
    cosine = (cosine + 1) * (-z / (k * (k + 1)));
  }
  const double s = r + r * sine;
  const double c = 1 - (z / 2) * (1 + cosine);
  switch (static_cast<std::int64_t>(n) & 3) {
    case 0:
      return {s, c};
    case 1:
      return {c, -s};
    case 2:
      return {-s, -c};
    default:
      return {-c, s};
  }
}

}  // namespace flashmoe::portable
