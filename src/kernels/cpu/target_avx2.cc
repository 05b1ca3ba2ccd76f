#define FLASHMOE_TARGET avx2
#define FLASHMOE_SIMD "kernels/cpu/simd_avx2.h"
#include "kernels/cpu/kernels-inl.h"

namespace flashmoe {

const KernelTable& kernels_avx2() {
  static constexpr KernelTable kTable = avx2::make_kernels("avx2");
  return kTable;
}

}  // namespace flashmoe
