#ifndef FLASHMOE_KERNELS_FORMATS_Q4_1_H_
#define FLASHMOE_KERNELS_FORMATS_Q4_1_H_

#include <cstddef>

#include "kernels/formats/block_bytes.h"

namespace flashmoe::formats {

// Q4_1, 32 elements:  w = d q + m
//
// byte 0      2       4                20
//      | d f16| m f16 | q: 16 bytes     |
// Elements 0 to 15 are the low four bits of the 16 bytes, 16 to 31 the high ones.
struct Q41 {
  static constexpr std::size_t kSize = 20;
  static constexpr std::size_t kRun = 32;
  static constexpr bool kHasBias = true;

  static void read(BlockBytes<kSize> b, BlockParts& parts) {
    parts.scale[0] = b.f16(0);
    parts.bias[0] = b.f16(2);
    for (std::size_t i = 0; i < 16; ++i) {
      parts.q[i] = quant(b.low(4 + i));
      parts.q[i + 16] = quant(b.high(4 + i));
    }
  }
};

}  // namespace flashmoe::formats

#endif  // FLASHMOE_KERNELS_FORMATS_Q4_1_H_
