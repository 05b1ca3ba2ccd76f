#ifndef FLASHMOE_KERNELS_FORMATS_Q4_K_H_
#define FLASHMOE_KERNELS_FORMATS_Q4_K_H_

#include <cstddef>
#include <span>

#include "kernels/formats/block_bytes.h"

namespace flashmoe::formats {

// Q4_K, 256 elements in 8 runs of 32:  w = d s q - e m
//
// byte 0      2       4               16                144
//      | d f16| e f16 | s, m: 12 bytes | q: 128 bytes    |
//
// s and m: k_scale_and_min(). Runs 2 c and 2 c + 1 are the low and the high halves of bytes 32 c to
// 32 c + 31 of q.
inline constexpr std::size_t kQ4kBlock = 256;
inline constexpr std::size_t kQ4kSize = 144;

inline void dequantize_q4_k(BlockBytes<kQ4kSize> b, std::span<float, kQ4kBlock> w) {
  const float d = b.f16(0);
  const float e = b.f16(2);
  for (std::size_t n = 0; n < 256; ++n) {
    const std::size_t run = n / 32;
    const std::size_t at = 16 + run / 2 * 32 + n % 32;
    const ScaleAndMin k = k_scale_and_min(b, 4, run);
    w[n] = d * k.scale * quant(run % 2 == 0 ? b.low(at) : b.high(at)) - e * k.min;
  }
}

}  // namespace flashmoe::formats

#endif  // FLASHMOE_KERNELS_FORMATS_Q4_K_H_
