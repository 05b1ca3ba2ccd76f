#ifndef FLASHMOE_MODEL_LAYERS_DENSE_MLP_H_
#define FLASHMOE_MODEL_LAYERS_DENSE_MLP_H_

#include "model/layers/feed_forward.h"
#include "model/model_spec.h"
#include "tensor/weight_view.h"

namespace flashmoe {

/// The gated MLP of a layer without experts.
class DenseMlp final : public FeedForward {
 public:
  DenseMlp(const DenseMlpSpec& spec, std::size_t hidden_size) : spec_(spec), hidden_(hidden_size) {}

  Status declare(LayerTensors& tensors) override;
  ScratchSize scratch_size(std::size_t rows) const override;
  Status forward(StepContext& context, Scratch& scratch, const Activations& x,
                 MatrixView<float> y) override;

 private:
  struct Buffers;

  DenseMlpSpec spec_;
  std::size_t hidden_;
  WeightView gate_proj_;  // [intermediate_size, hidden]
  WeightView up_proj_;    // [intermediate_size, hidden]
  WeightView down_proj_;  // [hidden, intermediate_size]
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_LAYERS_DENSE_MLP_H_
