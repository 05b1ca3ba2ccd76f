#ifndef FLASHMOE_MODEL_LAYERS_NORM_CONNECTION_H_
#define FLASHMOE_MODEL_LAYERS_NORM_CONNECTION_H_

#include <optional>
#include <vector>

#include "model/layers/connection.h"

namespace flashmoe {

/// The usual one: a norm before the half, and in some families one behind it.
class NormConnection final : public Connection {
 public:
  struct Tensors {
    TensorId before = TensorId::kCount;
    std::optional<TensorId> behind = std::nullopt;
  };
  NormConnection(const Tensors& tensors, std::size_t hidden_size, float rms_norm_eps)
      : tensors_(tensors), hidden_(hidden_size), rms_norm_eps_(rms_norm_eps) {}

  Status declare(LayerTensors& tensors) override {
    FM_RETURN_IF_ERROR(tensors.vector(tensors_.before, hidden_, &before_));
    return tensors_.behind ? tensors.vector(*tensors_.behind, hidden_, &behind_) : Status();
  }

  // input = RMSNorm(x);  x = x + y, or x + RMSNorm(y)
  void take(Ops& ops, Scratch& /*scratch*/, MatrixView<const float> x, MatrixView<float> input,
            MatrixView<float> /*carried*/) const override {
    ops.rms_norm(x, before_.data(), rms_norm_eps_, input);
  }
  void give(Ops& ops, MatrixView<float> y, MatrixView<const float> /*carried*/,
            MatrixView<float> x) const override {
    if (!behind_.empty()) ops.rms_norm(y, behind_.data(), rms_norm_eps_, y);
    ops.add(x, y);
  }

 private:
  Tensors tensors_;
  std::size_t hidden_;
  float rms_norm_eps_;
  std::vector<float> before_;  // [hidden]
  std::vector<float> behind_;  // [hidden], or empty
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_LAYERS_NORM_CONNECTION_H_
