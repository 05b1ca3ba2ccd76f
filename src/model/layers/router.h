#ifndef FLASHMOE_MODEL_LAYERS_ROUTER_H_
#define FLASHMOE_MODEL_LAYERS_ROUTER_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "kernels/ops.h"
#include "model/layers/bias.h"
#include "model/model_spec.h"
#include "model/weight_source.h"
#include "tensor/matrix_view.h"
#include "tensor/weight_view.h"

namespace flashmoe {

/// Scores, selection and weights of a layer's experts: the one place that knows how a family
/// routes. Whoever guesses, replaces or replays choices asks it too.
///
///   logits = W_router x (+ b), of which RouteRule (kernels/ops.h) makes ids and weights
///   x = the layer's norm of the residual stream, or input_norm()'s
class Router {
 public:
  Router(const RouterSpec& spec, std::size_t hidden_size) : spec_(spec), hidden_(hidden_size) {}

  const RouterSpec& spec() const { return spec_; }

  Status declare(LayerTensors& tensors);

  /// The weights [hidden] of a router's own RMS norm of the residual stream; empty: it takes what
  /// the layer's norm gives.
  std::span<const float> input_norm() const { return input_norm_; }

  /// logits [rows, num_experts] of x, to be computed beside other products of it; add_bias() makes
  /// them whole.
  LinearTask logits_task(const Activations& x, MatrixView<float> logits) const {
    return {.weight = weight_, .x = &x, .y = logits};
  }

  void add_bias(Ops& ops, MatrixView<float> logits) const {
    flashmoe::add_bias(ops, bias_, logits);
  }

  /// The experts of each row in rank order and their weights; both [rows, k].
  void choose(Ops& ops, MatrixView<const float> logits, std::span<std::uint16_t> ids,
              std::span<float> weights) const;

  /// The weights [rows, k] that the experts `ids` [rows, k] would have, had the router chosen them.
  /// Where ids has kNoExpert, 0. The same bits everywhere.
  void weigh(MatrixView<const float> logits, std::span<const std::uint16_t> ids,
             std::span<float> weights) const;

  /// How much a row wants an expert: experts are chosen in descending order of it, groups aside.
  double preference(std::span<const float> logits, std::size_t expert) const;
  /// What `to` would weigh in the place of `from`, over what `from` weighs.
  double relative_weight(std::span<const float> logits, std::size_t to, std::size_t from) const;

 private:
  bool is_sigmoid() const { return spec_.score == RouteRule::Score::kSigmoid; }
  double scale_of(std::size_t expert) const {
    return expert_scale_.empty() ? 1 : expert_scale_[expert];
  }

  RouterSpec spec_;
  std::size_t hidden_;
  WeightView weight_;        // [num_experts, hidden]
  std::vector<float> bias_;  // of logits, [num_experts]; empty without
  std::vector<float> input_norm_;
  std::vector<float> correction_bias_;  // [num_experts]; empty without
  std::vector<float> expert_scale_;     // [num_experts]; empty without
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_LAYERS_ROUTER_H_
