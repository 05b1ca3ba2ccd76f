#ifndef FLASHMOE_MODEL_LAYERS_STREAMS_H_
#define FLASHMOE_MODEL_LAYERS_STREAMS_H_

#include <cstddef>
#include <vector>

#include "kernels/ops.h"
#include "tensor/matrix_view.h"

namespace flashmoe {

// Rows of several streams of `hidden` elements, one after the other.

/// Stream `index` of every row.
template <typename T>
MatrixView<T> stream_of(MatrixView<T> x, std::size_t hidden, std::size_t index) {
  return {x.data + index * hidden, x.rows, hidden, x.stride};
}

/// y_s = RMSNorm(x_s) for each stream, with weights of its own: [streams, hidden].
inline void norm_streams(Ops& ops, MatrixView<const float> x, const std::vector<float>& weights,
                         std::size_t hidden, float eps, MatrixView<float> y) {
  for (std::size_t s = 0; s * hidden < weights.size(); ++s) {
    ops.rms_norm(stream_of(x, hidden, s), weights.data() + s * hidden, eps,
                 stream_of(y, hidden, s));
  }
}

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_LAYERS_STREAMS_H_
