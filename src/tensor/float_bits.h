#ifndef FLASHMOE_TENSOR_FLOAT_BITS_H_
#define FLASHMOE_TENSOR_FLOAT_BITS_H_

#include <bit>
#include <cstdint>
#include <cstring>

namespace flashmoe {

/// The value of an unaligned little-endian T. Checkpoints put tensors at any address.
template <typename T>
inline T load_unaligned(const void* address) {
  T value;
  std::memcpy(&value, address, sizeof(T));
  return value;
}

/// Exact: bfloat16 is the upper half of a float.
inline float float_from_bf16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

/// Exact: every IEEE half, subnormals, infinities and NaN included, is a float.
inline float float_from_f16(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  const std::uint32_t magnitude = bits & 0x7fffu;
  if (magnitude >= 0x7c00u) {  // infinity, NaN
    return std::bit_cast<float>(sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13));
  }
  if (magnitude < 0x0400u) {  // zero, subnormal: a multiple of 2^-24
    const float value = static_cast<float>(magnitude) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) | sign);
  }
  return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000u));
}

}  // namespace flashmoe

#endif  // FLASHMOE_TENSOR_FLOAT_BITS_H_
