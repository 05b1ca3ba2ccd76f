#include "model/layers/router.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/portable_math.h"
#include "model/routing.h"

namespace flashmoe {

namespace {

double sigmoid(float logit) { return 1 / (1 + portable::exp(-static_cast<double>(logit))); }

}  // namespace

Status Router::declare(LayerTensors& tensors) {
  FM_RETURN_IF_ERROR(tensors.matrix(TensorId::kRouter, spec_.num_experts, hidden_, &weight_));
  if (!spec_.has_correction_bias) return Status();
  return tensors.vector(TensorId::kCorrectionBias, spec_.num_experts, &correction_bias_);
}

void Router::choose(Ops& ops, MatrixView<const float> logits, std::span<std::uint16_t> ids,
                    std::span<float> weights) const {
  ops.route({.k = spec_.num_experts_per_tok,
             .normalize = spec_.norm_topk_prob,
             .score = spec_.score,
             .scale = spec_.routed_scaling_factor,
             .bias = correction_bias_.empty() ? nullptr : correction_bias_.data(),
             .groups = spec_.n_group,
             .groups_kept = spec_.topk_group,
             .groups_by_best_two = spec_.groups_by_best_two},
            logits, ids, weights);
}

void Router::weigh(MatrixView<const float> logits, std::span<const std::uint16_t> ids,
                   std::span<float> weights) const {
  FM_CHECK(ids.size() == weights.size());
  const std::size_t k = ids.size() / logits.rows;
  for (std::size_t r = 0; r < logits.rows; ++r) {
    const float* const logit = logits.row(r);
    const auto chosen = ids.subspan(r * k, k);
    double largest = -std::numeric_limits<double>::infinity();
    if (spec_.norm_topk_prob) {
      for (const std::uint16_t id : chosen) {
        if (id != kNoExpert) largest = std::max<double>(largest, logit[id]);
      }
    } else {
      for (std::size_t e = 0; e < logits.cols; ++e) largest = std::max<double>(largest, logit[e]);
    }
    const auto term = [&](std::size_t e) {
      return is_sigmoid() ? sigmoid(logit[e]) : portable::exp(logit[e] - largest);
    };
    double sum = is_sigmoid() && !spec_.norm_topk_prob ? 1 : 0;
    if (spec_.norm_topk_prob) {
      for (const std::uint16_t id : chosen) sum += id == kNoExpert ? 0 : term(id);
      if (is_sigmoid()) sum += 1e-20;
    } else if (!is_sigmoid()) {
      for (std::size_t e = 0; e < logits.cols; ++e) sum += term(e);
    }
    for (std::size_t i = 0; i < k; ++i) {
      const double weight = chosen[i] == kNoExpert ? 0 : term(chosen[i]) / sum;
      weights[r * k + i] = static_cast<float>(spec_.routed_scaling_factor * weight);
    }
  }
}

double Router::preference(std::span<const float> logits, std::size_t expert) const {
  if (!is_sigmoid()) return logits[expert];
  return sigmoid(logits[expert]) + (correction_bias_.empty() ? 0 : correction_bias_[expert]);
}

/// Whatever weights are normalised by, they are proportional to exp(logit), or to sigmoid scores.
double Router::relative_weight(std::span<const float> logits, std::size_t to,
                               std::size_t from) const {
  if (is_sigmoid()) return sigmoid(logits[to]) / sigmoid(logits[from]);
  return portable::exp(static_cast<double>(logits[to]) - static_cast<double>(logits[from]));
}

}  // namespace flashmoe
