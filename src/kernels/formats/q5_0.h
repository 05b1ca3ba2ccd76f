#ifndef FLASHMOE_KERNELS_FORMATS_Q5_0_H_
#define FLASHMOE_KERNELS_FORMATS_Q5_0_H_

#include <cstddef>
#include <span>

#include "kernels/formats/block_bytes.h"

namespace flashmoe::formats {

// Q5_0, 32 elements:  w = d (q - 16)
//
// byte 0      2        6                22
//      | d f16| h: u32 | q: 16 bytes     |
// Elements 0 to 15 are the low four bits of the 16 bytes, 16 to 31 the high ones.
// Bit i of h is the fifth of element i.
inline constexpr std::size_t kQ50Block = 32;
inline constexpr std::size_t kQ50Size = 22;

inline void dequantize_q5_0(BlockBytes<kQ50Size> b, std::span<float, kQ50Block> w) {
  const float d = b.f16(0);
  const std::uint32_t h = b.u32(2);
  for (std::size_t i = 0; i < 16; ++i) {
    w[i] = d * (quant(b.low(6 + i) | (h >> i & 1) << 4) - 16);
    w[i + 16] = d * (quant(b.high(6 + i) | (h >> (i + 16) & 1) << 4) - 16);
  }
}

}  // namespace flashmoe::formats

#endif  // FLASHMOE_KERNELS_FORMATS_Q5_0_H_
