#ifndef FLASHMOE_MODEL_LAYERS_FEED_FORWARD_H_
#define FLASHMOE_MODEL_LAYERS_FEED_FORWARD_H_

#include <cstddef>

#include "base/result.h"
#include "kernels/activations.h"
#include "model/scratch.h"
#include "model/weight_source.h"
#include "tensor/matrix_view.h"

namespace flashmoe {

struct StepContext;
class Router;

/// The half of a layer that every row passes on its own: what it asks of the checkpoint and of the
/// scratch memory, and its equation. It owns its weights' views; their bytes are the loader's.
class FeedForward {
 public:
  virtual ~FeedForward() = default;

  /// Asks for its tensors, routed experts excepted. Afterwards it must not move until they are
  /// loaded.
  virtual Status declare(LayerTensors& tensors) = 0;

  /// Scratch memory for steps of up to `rows` rows.
  virtual ScratchSize scratch_size(std::size_t rows) const = 0;

  /// y = FeedForward(x) for every row. x: prepared [rows, hidden]; y: [rows, hidden]. Errors: those
  /// of ExpertCache::acquire and ExpertLease::wait, and of StepContext::check; y is then
  /// unspecified.
  virtual Status forward(StepContext& context, Scratch& scratch, const Activations& x,
                         MatrixView<float> y) = 0;

  /// Picks the block's routed experts; null where it has none.
  virtual const Router* router() const { return nullptr; }
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_LAYERS_FEED_FORWARD_H_
