// The one source of all CPU kernels. A target_*.cc defines FLASHMOE_TARGET, the namespace of its
// kernels, and FLASHMOE_SIMD, the header with the vector types of its instruction set, and includes
// this file, once.
//
// Everything is in an unnamed namespace and uses C headers only: a function that the linker could
// share with another file would carry this file's instruction set there.

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/cpu/kernel_table.h"
#include FLASHMOE_SIMD

#if defined(__FAST_MATH__)
#error "-ffast-math changes the bits of the output (docs/numerics.md): build without it"
#endif

namespace flashmoe {
namespace FLASHMOE_TARGET {
namespace {

// Each uses those above it.
// clang-format off
#include "kernels/cpu/vector_math-inl.h"
#include "kernels/cpu/elementwise-inl.h"
#include "kernels/cpu/weights-inl.h"
#include "kernels/cpu/chain-inl.h"
#include "kernels/formats/affine-inl.h"
#include "kernels/cpu/blocks-inl.h"
#include "kernels/formats/q4_0-inl.h"
#include "kernels/formats/q4_1-inl.h"
#include "kernels/formats/q5_0-inl.h"
#include "kernels/formats/q5_1-inl.h"
#include "kernels/formats/q8_0-inl.h"
#include "kernels/formats/q2_k-inl.h"
#include "kernels/formats/q3_k-inl.h"
#include "kernels/formats/q4_k-inl.h"
#include "kernels/formats/q5_k-inl.h"
#include "kernels/formats/q6_k-inl.h"
#include "kernels/formats/iq4_nl-inl.h"
#include "kernels/formats/iq4_xs-inl.h"
#include "kernels/formats/mxfp4-inl.h"
#include "kernels/formats/packed_fp4-inl.h"
#include "kernels/formats/e4m3-inl.h"
#if defined(__AMX_INT8__)
#include "kernels/cpu/chain_amx-inl.h"
#endif
#include "kernels/cpu/linear-inl.h"
#include "kernels/cpu/attention-inl.h"
#include "kernels/cpu/delta-inl.h"
// clang-format on

constexpr KernelTable make_kernels(const char* name) {
  return {
      .name = name,
      .quantize_row = quantize_row,
      .linear_scratch_size = sizeof(LinearScratch),
      .linear = linear,
      .dequantize_row = dequantize_row,
      .rms_norm = rms_norm,
      .gated_rms_norm = gated_rms_norm,
      .l2_normalize = l2_normalize,
      .add = add,
      .add_scaled = add_scaled,
      .swiglu = swiglu,
      .geglu = geglu,
      .clamped_swiglu = clamped_swiglu,
      .dot = dot,
      .scale = scale,
      .soft_cap = soft_cap,
      .sigmoid_gate = sigmoid_gate,
      .sigmoid_scale = sigmoid_scale,
      .delta_gates = delta_gates,
      .rope = rope,
      .route_weights = route_weights,
      .conv_silu = conv_silu,
      .attention = attention,
      .delta_rule = delta_rule,
      .key_scores = key_scores,
  };
}

}  // namespace
}  // namespace FLASHMOE_TARGET
}  // namespace flashmoe
