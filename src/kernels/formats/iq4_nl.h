#ifndef FLASHMOE_KERNELS_FORMATS_IQ4_NL_H_
#define FLASHMOE_KERNELS_FORMATS_IQ4_NL_H_

#include <cstddef>
#include <span>

#include "kernels/formats/block_bytes.h"

namespace flashmoe::formats {

// IQ4_NL, 32 elements:  w = d K[q], K = kIq4Values
//
// byte 0      2                18
//      | d f16| q: 16 bytes     |
// Elements 0 to 15 are the low four bits of the 16 bytes, 16 to 31 the high ones.
inline constexpr std::size_t kIq4NlBlock = 32;
inline constexpr std::size_t kIq4NlSize = 18;

inline void dequantize_iq4_nl(BlockBytes<kIq4NlSize> b, std::span<float, kIq4NlBlock> w) {
  const float d = b.f16(0);
  for (std::size_t i = 0; i < 16; ++i) {
    w[i] = d * quant(kIq4Values[b.low(2 + i)]);
    w[i + 16] = d * quant(kIq4Values[b.high(2 + i)]);
  }
}

}  // namespace flashmoe::formats

#endif  // FLASHMOE_KERNELS_FORMATS_IQ4_NL_H_
