#ifndef FLASHMOE_MODEL_LAYERS_GATED_DELTA_NET_H_
#define FLASHMOE_MODEL_LAYERS_GATED_DELTA_NET_H_

#include <vector>

#include "kernels/ops.h"
#include "model/layers/mixer.h"
#include "model/model_spec.h"
#include "tensor/weight_view.h"

namespace flashmoe {

/// Gated DeltaNet: linear attention with a recurrent state of fixed size per sequence.
/// Sources: transformers modeling_qwen3_next.py, Qwen3NextGatedDeltaNet; modeling_qwen3_5_moe.py;
/// arXiv 2412.06464.
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
  void project(Ops& ops, const Activations& x, const Buffers& buffers) const;

  DeltaNetSpec spec_;
  std::size_t hidden_;
  float rms_norm_eps_;
  std::size_t layer_;

  // Grouped by key head, or the same in four.
  WeightView in_proj_qkvz_;       // [2 keys + 2 values, hidden]
  WeightView in_proj_ba_;         // [2 * value_heads, hidden]
  WeightView in_proj_qkv_;        // [2 keys + values, hidden]
  WeightView in_proj_z_;          // [values, hidden]
  WeightView in_proj_b_;          // [value_heads, hidden]
  WeightView in_proj_a_;          // [value_heads, hidden]
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
