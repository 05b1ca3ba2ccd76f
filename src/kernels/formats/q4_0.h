#ifndef FLASHMOE_KERNELS_FORMATS_Q4_0_H_
#define FLASHMOE_KERNELS_FORMATS_Q4_0_H_

#include <cstddef>
#include <span>

#include "kernels/formats/block_bytes.h"

namespace flashmoe::formats {

// Q4_0, 32 elements:  w = d (q - 8)
//
// byte 0      2                18
//      | d f16| q: 16 bytes     |
// Elements 0 to 15 are the low four bits of the 16 bytes, 16 to 31 the high ones.
inline constexpr std::size_t kQ40Block = 32;
inline constexpr std::size_t kQ40Size = 18;

inline void dequantize_q4_0(BlockBytes<kQ40Size> b, std::span<float, kQ40Block> w) {
  const float d = b.f16(0);
  for (std::size_t i = 0; i < 16; ++i) {
    w[i] = d * (quant(b.low(2 + i)) - 8);
    w[i + 16] = d * (quant(b.high(2 + i)) - 8);
  }
}

}  // namespace flashmoe::formats

#endif  // FLASHMOE_KERNELS_FORMATS_Q4_0_H_
