#ifndef FLASHMOE_KERNELS_CPU_ORDER_KEY_H_
#define FLASHMOE_KERNELS_CPU_ORDER_KEY_H_

#include <bit>
#include <cstdint>

namespace flashmoe {

/// Larger for larger values; zeros of both signs equal, NaN below everything.
inline std::uint32_t order_key(float value) {
  if (value != value) return 0;
  const auto bits = std::bit_cast<std::uint32_t>(value + 0.0f);
  return (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
}

}  // namespace flashmoe

#endif  // FLASHMOE_KERNELS_CPU_ORDER_KEY_H_
