#ifndef FLASHMOE_MODEL_LAYERS_CONNECTION_H_
#define FLASHMOE_MODEL_LAYERS_CONNECTION_H_

#include <cstddef>

#include "base/result.h"
#include "kernels/ops.h"
#include "model/scratch.h"
#include "model/weight_source.h"
#include "tensor/matrix_view.h"

namespace flashmoe {

/// How one half of a layer hangs on the residual stream: what it gets of it, and how what it gives
/// is added. Each row on its own.
class Connection {
 public:
  virtual ~Connection() = default;

  /// Asks for its tensors. Afterwards it must not move until they are loaded.
  virtual Status declare(LayerTensors& tensors) = 0;

  /// Floats of a row that take() leaves for give().
  virtual std::size_t carried_size() const { return 0; }

  /// Scratch memory that take() needs for up to `rows` rows.
  virtual ScratchSize scratch_size(std::size_t /*rows*/) const { return {}; }

  /// input = what the half computes with, of x. x: [rows, streams * hidden]; input: [rows, hidden];
  /// carried: [rows, carried_size()].
  virtual void take(Ops& ops, Scratch& scratch, MatrixView<const float> x, MatrixView<float> input,
                    MatrixView<float> carried) const = 0;

  /// Adds what the half gave, y [rows, hidden], to x. y is then unspecified.
  virtual void give(Ops& ops, MatrixView<float> y, MatrixView<const float> carried,
                    MatrixView<float> x) const = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_LAYERS_CONNECTION_H_
