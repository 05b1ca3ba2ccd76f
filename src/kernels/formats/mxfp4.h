#ifndef FLASHMOE_KERNELS_FORMATS_MXFP4_H_
#define FLASHMOE_KERNELS_FORMATS_MXFP4_H_

#include <array>
#include <cmath>
#include <cstddef>

#include "kernels/formats/block_bytes.h"

namespace flashmoe::formats {

// MXFP4, 32 elements:  w = 2^(e - 127) F[q], F = 0 1/2 1 3/2 2 3 4 6 and their negatives
//
// byte 0      1                17
//      | e: u8| q: 16 bytes     |
// Elements 0 to 15 are the low four bits of the 16 bytes, 16 to 31 the high ones.
struct Mxfp4 {
  static constexpr std::size_t kSize = 17;
  static constexpr std::size_t kRun = 32;
  static constexpr bool kHasBias = false;

  static void read(BlockBytes<kSize> b, BlockParts& parts) {
    // Doubled; ggml's negative zero is a zero.
    constexpr std::array<std::int32_t, 16> kTwice = {0, 1,  2,  3,  4,  6,  8,  12,
                                                     0, -1, -2, -3, -4, -6, -8, -12};
    parts.scale[0] = std::ldexp(1.0f, static_cast<int>(b.u8(0)) - 128);
    for (std::size_t i = 0; i < 16; ++i) {
      parts.q[i] = kTwice[b.low(1 + i)];
      parts.q[i + 16] = kTwice[b.high(1 + i)];
    }
  }
};

}  // namespace flashmoe::formats

#endif  // FLASHMOE_KERNELS_FORMATS_MXFP4_H_
