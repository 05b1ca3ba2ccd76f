#define FLASHMOE_TARGET avxvnni
#define FLASHMOE_SIMD "kernels/cpu/simd_avx2.h"
#include "kernels/cpu/kernels-inl.h"

namespace flashmoe {

const KernelTable& kernels_avxvnni() {
  static constexpr KernelTable kTable = avxvnni::make_kernels("avxvnni");
  return kTable;
}

}  // namespace flashmoe
