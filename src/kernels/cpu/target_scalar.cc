#define FLASHMOE_TARGET scalar
#define FLASHMOE_SIMD "kernels/cpu/simd_scalar.h"
#include "kernels/cpu/kernels-inl.h"

namespace flashmoe {

const KernelTable& kernels_scalar() {
  static constexpr KernelTable kTable = scalar::make_kernels("scalar");
  return kTable;
}

}  // namespace flashmoe
