#ifndef FLASHMOE_MODEL_LAYERS_GATED_DELTA_NET_H_
#define FLASHMOE_MODEL_LAYERS_GATED_DELTA_NET_H_

#include <vector>

#include "kernels/ops.h"
#include "model/layers/mixer.h"
#include "model/model_spec.h"
#include "tensor/weight_view.h"

namespace flashmoe {

/// Gated DeltaNet: linear attention with a recurrent state of fixed size per sequence.
/// Source: transformers modeling_qwen3_next.py, Qwen3NextGatedDeltaNet; arXiv 2412.06464.
class GatedDeltaNet final : public Mixer {
 public:
  /// `layer`: which layer of the model this is.
  GatedDeltaNet(const DeltaNetSpec& spec, std::size_t hidden_size, float rms_norm_eps,
                std::size_t layer)
      : spec_(spec), hidden_(hidden_size), rms_norm_eps_(rms_norm_eps), layer_(layer) {}

  Status declare(LayerTensors& tensors) override;
  StateNeeds state() const override;
  ScratchSize scratch_size(std::size_t rows) const override;
  void forward(StepContext& context, Scratch& scratch, const Activations& x,
               MatrixView<float> y) override;

 private:
  struct Buffers;

  DeltaNetSpec spec_;
  std::size_t hidden_;
  float rms_norm_eps_;
  std::size_t layer_;

  WeightView in_proj_qkvz_;       // [2 keys + 2 values, hidden], grouped by key head
  WeightView in_proj_ba_;         // [2 * value_heads, hidden], grouped by key head
  WeightView out_proj_;           // [hidden, values]
  std::vector<float> conv_;       // [conv_kernel, conv_channels]
  std::vector<float> neg_exp_a_;  // [value_heads]: -exp(A_log)
  std::vector<float> dt_bias_;    // [value_heads]
  std::vector<float> norm_;       // [value_dim]
  // Of a step; grow-only, so that decoding allocates nothing.
  std::vector<ConvSegment> conv_segments_;
  std::vector<DeltaSegment> delta_segments_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_LAYERS_GATED_DELTA_NET_H_
