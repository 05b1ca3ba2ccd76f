#ifndef FLASHMOE_KERNELS_FORMATS_IQ4_NL_H_
#define FLASHMOE_KERNELS_FORMATS_IQ4_NL_H_

#include <cstddef>

#include "kernels/formats/block_bytes.h"

namespace flashmoe::formats {

// IQ4_NL, 32 elements:  w = d K[q], K = kIq4Values
//
// byte 0      2                18
//      | d f16| q: 16 bytes     |
// Elements 0 to 15 are the low four bits of the 16 bytes, 16 to 31 the high ones.
struct Iq4Nl {
  static constexpr std::size_t kSize = 18;
  static constexpr std::size_t kRun = 32;
  static constexpr bool kHasBias = false;

  static void read(BlockBytes<kSize> b, BlockParts& parts) {
    parts.scale[0] = b.f16(0);
    for (std::size_t i = 0; i < 16; ++i) {
      parts.q[i] = kIq4Values[b.low(2 + i)];
      parts.q[i + 16] = kIq4Values[b.high(2 + i)];
    }
  }
};

}  // namespace flashmoe::formats

#endif  // FLASHMOE_KERNELS_FORMATS_IQ4_NL_H_
