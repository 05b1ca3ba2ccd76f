#ifndef FLASHMOE_KERNELS_REFERENCE_AFFINE_BITS_H_
#define FLASHMOE_KERNELS_REFERENCE_AFFINE_BITS_H_

#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "tensor/dtype.h"
#include "tensor/float_bits.h"

namespace flashmoe::reference {

/// An F32, BF16 or F16 at any address.
inline float load_float(const std::byte* address, DType dtype) {
  if (dtype == DType::kF32) return load_unaligned<float>(address);
  const auto bits = load_unaligned<std::uint16_t>(address);
  if (dtype == DType::kBF16) return float_from_bf16(bits);
  FM_CHECK(dtype == DType::kF16);
  return float_from_f16(bits);
}

/// Element `index` of `bits` bits. A packed row is one little-endian bit stream: element e is its
/// bits [e * bits, (e + 1) * bits), lowest first, and may straddle two bytes.
inline std::uint32_t load_bits(const std::byte* row, std::uint32_t bits, std::size_t index) {
  const std::size_t bit = index * bits;
  const std::size_t shift = bit % 8;
  auto word = std::to_integer<std::uint32_t>(row[bit / 8]);
  if (shift + bits > 8) word |= std::to_integer<std::uint32_t>(row[bit / 8 + 1]) << 8;
  return (word >> shift) & ((1u << bits) - 1);
}

}  // namespace flashmoe::reference

#endif  // FLASHMOE_KERNELS_REFERENCE_AFFINE_BITS_H_
