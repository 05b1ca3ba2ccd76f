#ifndef FLASHMOE_MODEL_LAYERS_HYPER_CONNECTION_H_
#define FLASHMOE_MODEL_LAYERS_HYPER_CONNECTION_H_

#include <optional>
#include <vector>

#include "model/layers/connection.h"
#include "model/model_spec.h"
#include "tensor/weight_view.h"

namespace flashmoe {

/// A hyper-connection: the residual stream is several, of which a half of a layer gets a gated
/// mean, and to each of which it is added with a weight of its own. Sources: arXiv 2409.19606;
/// transformers modeling_qwen4_exp.py, Qwen4ExpTextGatedResidual.
class HyperConnection final : public Connection {
 public:
  struct Tensors {
    TensorId norm = TensorId::kCount;
    TensorId down = TensorId::kCount;
    TensorId up = TensorId::kCount;
    std::optional<TensorId> inject = std::nullopt;  // none: nothing is given back
  };
  HyperConnection(const Tensors& tensors, const HyperConnectionSpec& spec, std::size_t hidden_size,
                  float rms_norm_eps)
      : tensors_(tensors), spec_(spec), hidden_(hidden_size), rms_norm_eps_(rms_norm_eps) {}

  Status declare(LayerTensors& tensors) override;
  std::size_t carried_size() const override { return tensors_.inject ? spec_.streams : 0; }
  ScratchSize scratch_size(std::size_t rows) const override;
  void take(Ops& ops, Scratch& scratch, MatrixView<const float> x, MatrixView<float> input,
            MatrixView<float> carried) const override;
  void give(Ops& ops, MatrixView<float> y, MatrixView<const float> carried,
            MatrixView<float> x) const override;

 private:
  struct Buffers;
  std::size_t width() const { return spec_.streams * hidden_; }
  void mix(Ops& ops, const Buffers& buffers, MatrixView<const float> x, MatrixView<float> input,
           MatrixView<float> carried) const;

  Tensors tensors_;
  HyperConnectionSpec spec_;
  std::size_t hidden_;
  float rms_norm_eps_;
  std::vector<float> norm_;  // [streams, hidden]
  WeightView down_;          // [rank, streams * hidden]
  WeightView up_;            // [streams * hidden, rank]
  WeightView inject_;        // [streams, streams * hidden]; none where nothing is given back
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_LAYERS_HYPER_CONNECTION_H_
