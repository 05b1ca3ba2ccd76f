#ifndef FLASHMOE_KERNELS_NUMERICS_H_
#define FLASHMOE_KERNELS_NUMERICS_H_

namespace flashmoe {

/// Version of docs/numerics.md: grows whenever the same model and prompt give other bits, so that
/// state kept from before is not continued with other arithmetic.
inline constexpr int kNumericsVersion = 2;

}  // namespace flashmoe

#endif  // FLASHMOE_KERNELS_NUMERICS_H_
