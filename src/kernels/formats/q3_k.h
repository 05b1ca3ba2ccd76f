#ifndef FLASHMOE_KERNELS_FORMATS_Q3_K_H_
#define FLASHMOE_KERNELS_FORMATS_Q3_K_H_

#include <cstddef>

#include "kernels/formats/block_bytes.h"

namespace flashmoe::formats {

// Q3_K, 256 elements in 16 runs of 16:  w = d (s - 32) q
//
// byte 0              32               96               108     110
//      | h: 32 bytes   | q: 64 bytes    | s: 12 bytes    | d f16 |
//
// Each half of 128 elements has 32 bytes of q; its elements 32 j + i are bits 2 j and up of byte i,
// less 4 unless bit 4 half + j of byte i of h is set. Of the 6 bits of s, of run r, byte r % 8 has
// the lower four (its high half from run 8 on), and byte 8 + r % 4 the upper two, from bit 2 (r /
// 4) on.
struct Q3K {
  static constexpr std::size_t kSize = 110;
  static constexpr std::size_t kRun = 16;
  static constexpr bool kHasBias = false;

  static void read(BlockBytes<kSize> b, BlockParts& parts) {
    for (std::size_t run = 0; run < 16; ++run) {
      const std::uint32_t four = run < 8 ? b.low(96 + run) : b.high(96 + run % 8);
      const std::uint32_t s = four | (b.u8(104 + run % 4) >> (2 * (run / 4)) & 3) << 4;
      parts.scale[run] = b.f16(108) * (number(s) - 32);
    }
    for (std::size_t n = 0; n < 256; ++n) {
      const std::size_t half = n / 128;
      const std::size_t j = n % 128 / 32;
      const std::uint32_t low = b.u8(32 + half * 32 + n % 32) >> (2 * j) & 3;
      const bool has_high = (b.u8(n % 32) >> (4 * half + j) & 1) != 0;
      parts.q[n] = quant(low) - (has_high ? 0 : 4);
    }
  }
};

}  // namespace flashmoe::formats

#endif  // FLASHMOE_KERNELS_FORMATS_Q3_K_H_
