#ifndef FLASHMOE_MODEL_LAYERS_GATED_DELTA_NET_H_
#define FLASHMOE_MODEL_LAYERS_GATED_DELTA_NET_H_

#include "model/model_config.h"
#include "model/model_weights.h"
#include "model/step.h"
#include "model/workspace.h"

namespace flashmoe {

/// Gated DeltaNet: linear attention with a recurrent state of fixed size per sequence.
/// Source: transformers modeling_qwen3_next.py, Qwen3NextGatedDeltaNet; arXiv 2412.06464.
class GatedDeltaNet {
 public:
  /// `ordinal`: which DeltaNet layer of the model this is, counted from 0. References must outlive
  /// the layer.
  GatedDeltaNet(const ModelConfig& config, const DeltaNetWeights& weights, std::size_t ordinal)
      : config_(config.delta_net),
        rms_norm_eps_(config.rms_norm_eps),
        weights_(weights),
        ordinal_(ordinal) {}

  /// y = DeltaNet(x) for every row, advancing the states of every segment. x: prepared [rows,
  /// hidden]; y: [rows, hidden].
  void forward(StepContext& context, Workspace& workspace, const Activations& x,
               MatrixView<float> y) const;

 private:
  const DeltaNetConfig& config_;
  float rms_norm_eps_;
  const DeltaNetWeights& weights_;
  std::size_t ordinal_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_LAYERS_GATED_DELTA_NET_H_
