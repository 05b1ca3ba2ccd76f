#ifndef FLASHMOE_KERNELS_FORMATS_BLOCK_BYTES_H_
#define FLASHMOE_KERNELS_FORMATS_BLOCK_BYTES_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "tensor/float_bits.h"

namespace flashmoe::formats {

/// The bytes of one block of `Size`, at any address. Offsets are those of the drawings above each
/// format; "f16" is an IEEE half, numbers are little-endian.
template <std::size_t Size>
class BlockBytes {
 public:
  explicit BlockBytes(const std::byte* bytes) : bytes_(bytes) {}

  std::uint32_t u8(std::size_t at) const { return std::to_integer<std::uint32_t>(bytes_[at]); }
  std::int32_t i8(std::size_t at) const { return load_unaligned<std::int8_t>(bytes_ + at); }
  std::uint32_t u16(std::size_t at) const { return load_unaligned<std::uint16_t>(bytes_ + at); }
  std::uint32_t u32(std::size_t at) const { return load_unaligned<std::uint32_t>(bytes_ + at); }
  float f16(std::size_t at) const {
    return float_from_f16(load_unaligned<std::uint16_t>(bytes_ + at));
  }
  /// Four bits of byte `at`: the low ones, or the high ones.
  std::uint32_t low(std::size_t at) const { return u8(at) & 15; }
  std::uint32_t high(std::size_t at) const { return u8(at) >> 4; }

 private:
  const std::byte* bytes_;
};

/// What a block says of its columns: w = scale q + bias, the product rounded, then the sum, with a
/// scale, and a bias where the format has any, for every run of columns.
struct BlockParts {
  std::array<std::int32_t, 256> q;
  std::array<float, 16> scale;
  std::array<float, 16> bias;
};

/// A number of quantised bits, and the same as a float, exactly.
template <typename Integer>
std::int32_t quant(Integer q) {
  return static_cast<std::int32_t>(q);
}
template <typename Integer>
float number(Integer q) {
  return static_cast<float>(quant(q));
}

/// What the four bits of IQ4_NL and IQ4_XS stand for.
inline constexpr std::array<std::int32_t, 16> kIq4Values = {
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/// The scales and biases of Q4_K and Q5_K: d, e, and of 8 runs a 6-bit scale s and minimum m in 12
/// bytes; d s and -e m.
template <std::size_t Size>
void read_k_scales(BlockBytes<Size> b, BlockParts& parts) {
  constexpr std::size_t kAt = 4;
  for (std::size_t j = 0; j < 8; ++j) {
    std::uint32_t s = b.u8(kAt + j) & 63;
    std::uint32_t m = b.u8(kAt + j + 4) & 63;
    if (j >= 4) {
      s = b.low(kAt + j + 4) | (b.u8(kAt + j - 4) >> 6 << 4);
      m = b.high(kAt + j + 4) | (b.u8(kAt + j) >> 6 << 4);
    }
    parts.scale[j] = b.f16(0) * number(s);
    parts.bias[j] = (0.0f - b.f16(2)) * number(m);
  }
}

}  // namespace flashmoe::formats

#endif  // FLASHMOE_KERNELS_FORMATS_BLOCK_BYTES_H_
