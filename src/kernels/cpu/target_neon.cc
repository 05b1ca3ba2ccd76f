#define FLASHMOE_TARGET neon
#define FLASHMOE_SIMD "kernels/cpu/simd_neon.h"
#include "kernels/cpu/kernels-inl.h"

namespace flashmoe {

const KernelTable& kernels_neon() {
  static constexpr KernelTable kTable = neon::make_kernels("neon");
  return kTable;
}

}  // namespace flashmoe
