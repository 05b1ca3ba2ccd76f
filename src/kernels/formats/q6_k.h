#ifndef FLASHMOE_KERNELS_FORMATS_Q6_K_H_
#define FLASHMOE_KERNELS_FORMATS_Q6_K_H_

#include <cstddef>

#include "kernels/formats/block_bytes.h"

namespace flashmoe::formats {

// Q6_K, 256 elements in 16 runs of 16:  w = d s (q - 32)
//
// byte 0               128             192              208     210
//      | q: 128 bytes   | h: 64 bytes   | s: 16 x i8     | d f16 |
//
// Each half of 128 elements has 64 bytes of q and 32 of h. Its elements 32 j + i have their low
// four bits in byte 32 (j % 2) + i of q (its high half from j = 2 on), and bits 2 j and up of byte
// i of h above them.
struct Q6K {
  static constexpr std::size_t kSize = 210;
  static constexpr std::size_t kRun = 16;
  static constexpr bool kHasBias = false;

  static void read(BlockBytes<kSize> b, BlockParts& parts) {
    for (std::size_t run = 0; run < 16; ++run) {
      parts.scale[run] = b.f16(208) * number(b.i8(192 + run));
    }
    for (std::size_t n = 0; n < 256; ++n) {
      const std::size_t half = n / 128;
      const std::size_t j = n % 128 / 32;
      const std::size_t at = half * 64 + j % 2 * 32 + n % 32;
      const std::uint32_t four = j < 2 ? b.low(at) : b.high(at);
      const std::uint32_t upper = b.u8(128 + half * 32 + n % 32) >> (2 * j) & 3;
      parts.q[n] = quant(four | upper << 4) - 32;
    }
  }
};

}  // namespace flashmoe::formats

#endif  // FLASHMOE_KERNELS_FORMATS_Q6_K_H_
