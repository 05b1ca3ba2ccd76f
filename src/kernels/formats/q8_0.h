#ifndef FLASHMOE_KERNELS_FORMATS_Q8_0_H_
#define FLASHMOE_KERNELS_FORMATS_Q8_0_H_

#include <cstddef>

#include "kernels/formats/block_bytes.h"

namespace flashmoe::formats {

// Q8_0, 32 elements:  w = d q
//
// byte 0      2                34
//      | d f16| q: 32 x i8      |
struct Q80 {
  static constexpr std::size_t kSize = 34;
  static constexpr std::size_t kRun = 32;
  static constexpr bool kHasBias = false;

  static void read(BlockBytes<kSize> b, BlockParts& parts) {
    parts.scale[0] = b.f16(0);
    for (std::size_t i = 0; i < 32; ++i) parts.q[i] = b.i8(2 + i);
  }
};

}  // namespace flashmoe::formats

#endif  // FLASHMOE_KERNELS_FORMATS_Q8_0_H_
