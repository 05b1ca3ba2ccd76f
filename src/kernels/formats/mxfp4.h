#ifndef FLASHMOE_KERNELS_FORMATS_MXFP4_H_
#define FLASHMOE_KERNELS_FORMATS_MXFP4_H_

#include <array>
#include <cmath>
#include <cstddef>
#include <span>

#include "kernels/formats/block_bytes.h"

namespace flashmoe::formats {

// MXFP4, 32 elements:  w = 2^(e - 127) F[q], F = 0 1/2 1 3/2 2 3 4 6 and their negatives
//
// byte 0      1                17
//      | e: u8| q: 16 bytes     |
// Elements 0 to 15 are the low four bits of the 16 bytes, 16 to 31 the high ones.
inline constexpr std::size_t kMxfp4Block = 32;
inline constexpr std::size_t kMxfp4Size = 17;

inline void dequantize_mxfp4(BlockBytes<kMxfp4Size> b, std::span<float, kMxfp4Block> w) {
  // Doubled; ggml's negative zero is a zero.
  constexpr std::array<float, 16> kTwice = {0, 1,  2,  3,  4,  6,  8,  12,
                                            0, -1, -2, -3, -4, -6, -8, -12};
  const int exponent = static_cast<int>(b.u8(0)) - 128;
  const auto value = [&](std::uint32_t q) { return std::ldexp(kTwice[q], exponent); };
  for (std::size_t i = 0; i < 16; ++i) {
    w[i] = value(b.low(1 + i));
    w[i + 16] = value(b.high(1 + i));
  }
}

}  // namespace flashmoe::formats

#endif  // FLASHMOE_KERNELS_FORMATS_MXFP4_H_
