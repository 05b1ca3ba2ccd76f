#define FLASHMOE_TARGET amx
#define FLASHMOE_SIMD "kernels/cpu/simd_avx512.h"
#include "kernels/cpu/kernels-inl.h"

namespace flashmoe {

const KernelTable& kernels_amx() {
  static constexpr KernelTable kTable = amx::make_kernels("amx");
  return kTable;
}

}  // namespace flashmoe
