#ifndef FLASHMOE_KERNELS_FORMATS_Q2_K_H_
#define FLASHMOE_KERNELS_FORMATS_Q2_K_H_

#include <cstddef>
#include <span>

#include "kernels/formats/block_bytes.h"

namespace flashmoe::formats {

// Q2_K, 256 elements in 16 runs of 16:  w = d s q - e m
//
// byte 0              16               80      82      84
//      | 16 runs: s, m | q: 64 bytes    | d f16 | e f16 |
//
// s is the low half of a run's byte, m the high one. Each half of 128 elements has 32 bytes of q;
// its elements 32 j + i are bits 2 j and up of byte i.
inline constexpr std::size_t kQ2kBlock = 256;
inline constexpr std::size_t kQ2kSize = 84;

inline void dequantize_q2_k(BlockBytes<kQ2kSize> b, std::span<float, kQ2kBlock> w) {
  const float d = b.f16(80);
  const float e = b.f16(82);
  for (std::size_t n = 0; n < 256; ++n) {
    const std::size_t in_half = n % 128;
    const std::uint32_t q = b.u8(16 + n / 128 * 32 + n % 32) >> (2 * (in_half / 32)) & 3;
    const std::size_t run = n / 16;
    w[n] = d * quant(b.low(run)) * quant(q) - e * quant(b.high(run));
  }
}

}  // namespace flashmoe::formats

#endif  // FLASHMOE_KERNELS_FORMATS_Q2_K_H_
