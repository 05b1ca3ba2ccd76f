#ifndef FLASHMOE_KERNELS_FORMATS_Q4_1_H_
#define FLASHMOE_KERNELS_FORMATS_Q4_1_H_

#include <cstddef>
#include <span>

#include "kernels/formats/block_bytes.h"

namespace flashmoe::formats {

// Q4_1, 32 elements:  w = d q + m
//
// byte 0      2       4                20
//      | d f16| m f16 | q: 16 bytes     |
// Elements 0 to 15 are the low four bits of the 16 bytes, 16 to 31 the high ones.
inline constexpr std::size_t kQ41Block = 32;
inline constexpr std::size_t kQ41Size = 20;

inline void dequantize_q4_1(BlockBytes<kQ41Size> b, std::span<float, kQ41Block> w) {
  const float d = b.f16(0);
  const float m = b.f16(2);
  for (std::size_t i = 0; i < 16; ++i) {
    w[i] = d * quant(b.low(4 + i)) + m;
    w[i + 16] = d * quant(b.high(4 + i)) + m;
  }
}

}  // namespace flashmoe::formats

#endif  // FLASHMOE_KERNELS_FORMATS_Q4_1_H_
