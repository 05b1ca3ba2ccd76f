#ifndef FLASHMOE_KERNELS_FORMATS_Q5_K_H_
#define FLASHMOE_KERNELS_FORMATS_Q5_K_H_

#include <cstddef>

#include "kernels/formats/block_bytes.h"

namespace flashmoe::formats {

// Q5_K, 256 elements in 8 runs of 32:  w = d s q - e m
//
// byte 0      2       4               16              48                176
//      | d f16| e f16 | s, m: 12 bytes | h: 32 bytes   | q: 128 bytes    |
//
// s, m and the low four bits as in Q4_K; the fifth of element i of run r is bit r of byte i of h.
struct Q5K {
  static constexpr std::size_t kSize = 176;
  static constexpr std::size_t kRun = 32;
  static constexpr bool kHasBias = true;

  static void read(BlockBytes<kSize> b, BlockParts& parts) {
    read_k_scales(b, parts);
    for (std::size_t n = 0; n < 256; ++n) {
      const std::size_t run = n / 32;
      const std::size_t at = 48 + run / 2 * 32 + n % 32;
      const std::uint32_t four = run % 2 == 0 ? b.low(at) : b.high(at);
      const std::uint32_t fifth = b.u8(16 + n % 32) >> run & 1;
      parts.q[n] = quant(four | fifth << 4);
    }
  }
};

}  // namespace flashmoe::formats

#endif  // FLASHMOE_KERNELS_FORMATS_Q5_K_H_
