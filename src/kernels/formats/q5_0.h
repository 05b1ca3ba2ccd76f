#ifndef FLASHMOE_KERNELS_FORMATS_Q5_0_H_
#define FLASHMOE_KERNELS_FORMATS_Q5_0_H_

#include <cstddef>

#include "kernels/formats/block_bytes.h"

namespace flashmoe::formats {

// Q5_0, 32 elements:  w = d (q - 16)
//
// byte 0      2        6                22
//      | d f16| h: u32 | q: 16 bytes     |
// Elements 0 to 15 are the low four bits of the 16 bytes, 16 to 31 the high ones.
// Bit i of h is the fifth of element i.
struct Q50 {
  static constexpr std::size_t kSize = 22;
  static constexpr std::size_t kRun = 32;
  static constexpr bool kHasBias = false;

  static void read(BlockBytes<kSize> b, BlockParts& parts) {
    const std::uint32_t h = b.u32(2);
    parts.scale[0] = b.f16(0);
    for (std::size_t i = 0; i < 16; ++i) {
      parts.q[i] = quant(b.low(6 + i) | (h >> i & 1) << 4) - 16;
      parts.q[i + 16] = quant(b.high(6 + i) | (h >> (i + 16) & 1) << 4) - 16;
    }
  }
};

}  // namespace flashmoe::formats

#endif  // FLASHMOE_KERNELS_FORMATS_Q5_0_H_
