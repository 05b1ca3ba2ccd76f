#ifndef FLASHMOE_KERNELS_FORMATS_IQ4_XS_H_
#define FLASHMOE_KERNELS_FORMATS_IQ4_XS_H_

#include <cstddef>

#include "kernels/formats/block_bytes.h"

namespace flashmoe::formats {

// IQ4_XS, 256 elements in 8 runs of 32:  w = d (s - 32) K[q], K = kIq4Values
//
// byte 0      2        4              8                136
//      | d f16| h: u16 | l: 4 bytes    | q: 128 bytes    |
//
// Run r has the 16 bytes of q from 16 r on, its elements 0 to 15 in their low halves, 16 to 31 in
// the high ones. The low four bits of its s are half r % 2 of byte r / 2 of l, the upper two are
// bits 2 r and up of h.
struct Iq4Xs {
  static constexpr std::size_t kSize = 136;
  static constexpr std::size_t kRun = 32;
  static constexpr bool kHasBias = false;

  static void read(BlockBytes<kSize> b, BlockParts& parts) {
    const std::uint32_t h = b.u16(2);
    for (std::size_t run = 0; run < 8; ++run) {
      const std::uint32_t four = run % 2 == 0 ? b.low(4 + run / 2) : b.high(4 + run / 2);
      parts.scale[run] = b.f16(0) * (number(four | (h >> (2 * run) & 3) << 4) - 32);
      for (std::size_t i = 0; i < 16; ++i) {
        parts.q[run * 32 + i] = kIq4Values[b.low(8 + run * 16 + i)];
        parts.q[run * 32 + i + 16] = kIq4Values[b.high(8 + run * 16 + i)];
      }
    }
  }
};

}  // namespace flashmoe::formats

#endif  // FLASHMOE_KERNELS_FORMATS_IQ4_XS_H_
