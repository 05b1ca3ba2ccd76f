#ifndef FLASHMOE_KERNELS_FORMATS_Q2_K_H_
#define FLASHMOE_KERNELS_FORMATS_Q2_K_H_

#include <cstddef>

#include "kernels/formats/block_bytes.h"

namespace flashmoe::formats {

// Q2_K, 256 elements in 16 runs of 16:  w = d s q - e m
//
// byte 0              16               80      82      84
//      | 16 runs: s, m | q: 64 bytes    | d f16 | e f16 |
//
// s is the low half of a run's byte, m the high one. Each half of 128 elements has 32 bytes of q;
// its elements 32 j + i are bits 2 j and up of byte i.
struct Q2K {
  static constexpr std::size_t kSize = 84;
  static constexpr std::size_t kRun = 16;
  static constexpr bool kHasBias = true;

  static void read(BlockBytes<kSize> b, BlockParts& parts) {
    for (std::size_t run = 0; run < 16; ++run) {
      parts.scale[run] = b.f16(80) * number(b.low(run));
      parts.bias[run] = (0.0f - b.f16(82)) * number(b.high(run));
    }
    for (std::size_t n = 0; n < 256; ++n) {
      parts.q[n] = quant(b.u8(16 + n / 128 * 32 + n % 32) >> (2 * (n % 128 / 32)) & 3);
    }
  }
};

}  // namespace flashmoe::formats

#endif  // FLASHMOE_KERNELS_FORMATS_Q2_K_H_
