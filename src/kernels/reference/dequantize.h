#ifndef FLASHMOE_KERNELS_REFERENCE_DEQUANTIZE_H_
#define FLASHMOE_KERNELS_REFERENCE_DEQUANTIZE_H_

#include <cstddef>
#include <span>

#include "tensor/weight_view.h"

namespace flashmoe::reference {

/// Row `row` of `weight` as floats; out: [weight.cols]. Float elements are widened exactly. Affine
/// elements are scale * q, rounded, plus bias, rounded: bit for bit what mx.dequantize gives in
/// float32. Scales may be negative. ggml's
/// blocks: what ggml makes of them.
void dequantize_row(const WeightView& weight, std::size_t row, std::span<float> out);

}  // namespace flashmoe::reference

#endif  // FLASHMOE_KERNELS_REFERENCE_DEQUANTIZE_H_
