#ifndef FLASHMOE_KERNELS_FORMATS_Q4_K_H_
#define FLASHMOE_KERNELS_FORMATS_Q4_K_H_

#include <cstddef>

#include "kernels/formats/block_bytes.h"

namespace flashmoe::formats {

// Q4_K, 256 elements in 8 runs of 32:  w = d s q - e m
//
// byte 0      2       4               16                144
//      | d f16| e f16 | s, m: 12 bytes | q: 128 bytes    |
//
// s and m: read_k_scales(). Runs 2 c and 2 c + 1 are the low and the high halves of bytes 32 c to
// 32 c + 31 of q.
struct Q4K {
  static constexpr std::size_t kSize = 144;
  static constexpr std::size_t kRun = 32;
  static constexpr bool kHasBias = true;

  static void read(BlockBytes<kSize> b, BlockParts& parts) {
    read_k_scales(b, parts);
    for (std::size_t n = 0; n < 256; ++n) {
      const std::size_t run = n / 32;
      const std::size_t at = 16 + run / 2 * 32 + n % 32;
      parts.q[n] = quant(run % 2 == 0 ? b.low(at) : b.high(at));
    }
  }
};

}  // namespace flashmoe::formats

#endif  // FLASHMOE_KERNELS_FORMATS_Q4_K_H_
