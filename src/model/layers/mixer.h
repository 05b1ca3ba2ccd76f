#ifndef FLASHMOE_MODEL_LAYERS_MIXER_H_
#define FLASHMOE_MODEL_LAYERS_MIXER_H_

#include <cstddef>
#include <cstdint>

#include "base/result.h"
#include "kernels/activations.h"
#include "model/scratch.h"
#include "model/state/state_layout.h"
#include "model/weight_source.h"
#include "tensor/matrix_view.h"

namespace flashmoe {

struct StepContext;

/// The half of a layer that mixes tokens: what it asks of the checkpoint, of each sequence and of
/// the scratch memory, and its equation. It owns its weights' views; their bytes are the loader's.
class Mixer {
 public:
  virtual ~Mixer() = default;

  /// Asks for its tensors. Afterwards it must not move until they are loaded.
  virtual Status declare(LayerTensors& tensors) = 0;

  /// After loading: makes what it needs beside the weights as stored, of derived_bytes(), which are
  /// known once it has declared them.
  virtual void finish() {}
  virtual std::uint64_t derived_bytes() const { return 0; }

  /// What it remembers of a sequence.
  virtual StateNeeds state() const = 0;

  /// Scratch memory for steps of up to `rows` rows.
  virtual ScratchSize scratch_size(std::size_t rows) const = 0;

  /// y = Mixer(x) for every row, advancing the state of every segment's sequence. x: prepared
  /// [rows, hidden]; y: [rows, hidden]. The sequences must have room (KvCache::reserve).
  virtual void forward(StepContext& context, Scratch& scratch, const Activations& x,
                       MatrixView<float> y) = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_LAYERS_MIXER_H_
