#ifndef FLASHMOE_KERNELS_FORMATS_SMALL_FLOATS_H_
#define FLASHMOE_KERNELS_FORMATS_SMALL_FLOATS_H_

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>

namespace flashmoe::formats {

/// Floats of the OCP's micro-scaling formats, exactly.

/// E2M1, four bits.
inline constexpr std::array<float, 16> kE2m1 = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,
                                                4.0f,  6.0f,  -0.0f, -0.5f, -1.0f, -1.5f,
                                                -2.0f, -3.0f, -4.0f, -6.0f};

/// A scale of eight bits of exponent: 2^(code - 127), down to a subnormal; NaN for 255.
inline float float_from_e8m0(std::uint32_t code) {
  return code == 255 ? std::numeric_limits<float>::quiet_NaN()
                     : std::ldexp(1.0f, static_cast<int>(code) - 127);
}

/// E4M3 without infinities: a sign, four bits of exponent and three of mantissa.
///
///   exponent 0: m 2^-9     else: (8 + m) 2^(exponent - 10)     exponent and m all ones: NaN
inline float float_from_e4m3(std::uint32_t code) {
  const auto mantissa = static_cast<float>(code & 7);
  const int exponent = static_cast<int>(code >> 3 & 15);
  float value =
      exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8.0f + mantissa, exponent - 10);
  if ((code & 127) == 127) value = std::numeric_limits<float>::quiet_NaN();
  return (code & 128) != 0 ? -value : value;
}

}  // namespace flashmoe::formats

#endif  // FLASHMOE_KERNELS_FORMATS_SMALL_FLOATS_H_
