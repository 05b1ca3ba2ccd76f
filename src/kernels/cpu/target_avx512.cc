#define FLASHMOE_TARGET avx512
#define FLASHMOE_SIMD "kernels/cpu/simd_avx512.h"
#include "kernels/cpu/kernels-inl.h"

namespace flashmoe {

const KernelTable& kernels_avx512() {
  static constexpr KernelTable kTable = avx512::make_kernels("avx512");
  return kTable;
}

}  // namespace flashmoe
