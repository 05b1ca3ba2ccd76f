#ifndef FLASHMOE_MODEL_LAYERS_BIAS_H_
#define FLASHMOE_MODEL_LAYERS_BIAS_H_

#include <span>

#include "kernels/ops.h"
#include "tensor/matrix_view.h"

namespace flashmoe {

/// Every row of x += bias, which is empty where a projection has none.
inline void add_bias(Ops& ops, std::span<const float> bias, MatrixView<float> x) {
  if (!bias.empty()) ops.add(x, {bias.data(), x.rows, x.cols, /*stride_in=*/0});
}

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_LAYERS_BIAS_H_
