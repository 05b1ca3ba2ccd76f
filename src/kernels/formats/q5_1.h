#ifndef FLASHMOE_KERNELS_FORMATS_Q5_1_H_
#define FLASHMOE_KERNELS_FORMATS_Q5_1_H_

#include <cstddef>
#include <span>

#include "kernels/formats/block_bytes.h"

namespace flashmoe::formats {

// Q5_1, 32 elements:  w = d q + m
//
// byte 0      2       4        8                24
//      | d f16| m f16 | h: u32 | q: 16 bytes     |
// Elements 0 to 15 are the low four bits of the 16 bytes, 16 to 31 the high ones.
// Bit i of h is the fifth of element i.
inline constexpr std::size_t kQ51Block = 32;
inline constexpr std::size_t kQ51Size = 24;

inline void dequantize_q5_1(BlockBytes<kQ51Size> b, std::span<float, kQ51Block> w) {
  const float d = b.f16(0);
  const float m = b.f16(2);
  const std::uint32_t h = b.u32(4);
  for (std::size_t i = 0; i < 16; ++i) {
    w[i] = d * quant(b.low(8 + i) | (h >> i & 1) << 4) + m;
    w[i + 16] = d * quant(b.high(8 + i) | (h >> (i + 16) & 1) << 4) + m;
  }
}

}  // namespace flashmoe::formats

#endif  // FLASHMOE_KERNELS_FORMATS_Q5_1_H_
