#define FLASHMOE_TARGET neondot
#define FLASHMOE_SIMD "kernels/cpu/simd_neon.h"
#include "kernels/cpu/kernels-inl.h"

namespace flashmoe {

const KernelTable& kernels_neondot() {
  static constexpr KernelTable kTable = neondot::make_kernels("neondot");
  return kTable;
}

}  // namespace flashmoe
