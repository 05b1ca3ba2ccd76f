#ifndef FLASHMOE_KERNELS_FORMATS_Q8_0_H_
#define FLASHMOE_KERNELS_FORMATS_Q8_0_H_

#include <cstddef>
#include <span>

#include "kernels/formats/block_bytes.h"

namespace flashmoe::formats {

// Q8_0, 32 elements:  w = d q
//
// byte 0      2                34
//      | d f16| q: 32 x i8      |
inline constexpr std::size_t kQ80Block = 32;
inline constexpr std::size_t kQ80Size = 34;

inline void dequantize_q8_0(BlockBytes<kQ80Size> b, std::span<float, kQ80Block> w) {
  const float d = b.f16(0);
  for (std::size_t i = 0; i < 32; ++i) w[i] = d * quant(b.i8(2 + i));
}

}  // namespace flashmoe::formats

#endif  // FLASHMOE_KERNELS_FORMATS_Q8_0_H_
