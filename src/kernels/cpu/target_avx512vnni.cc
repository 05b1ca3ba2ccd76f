#define FLASHMOE_TARGET avx512vnni
#define FLASHMOE_SIMD "kernels/cpu/simd_avx512.h"
#include "kernels/cpu/kernels-inl.h"

namespace flashmoe {

const KernelTable& kernels_avx512vnni() {
  static constexpr KernelTable kTable = avx512vnni::make_kernels("avx512vnni");
  return kTable;
}

}  // namespace flashmoe
