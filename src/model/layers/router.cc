#include "model/layers/router.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/portable_math.h"

namespace flashmoe {

void Router::choose(Ops& ops, MatrixView<const float> logits, std::span<std::uint16_t> ids,
                    std::span<float> weights) const {
  ops.route_top_k(logits, spec_.num_experts_per_tok, spec_.norm_topk_prob, ids, weights);
}

//   w_i = exp(logit_i) / sum over j of exp(logit_j), j over the row's ids, or over all experts
void Router::weigh(MatrixView<const float> logits, std::span<const std::uint16_t> ids,
                   std::span<float> weights) const {
  FM_CHECK(ids.size() == weights.size());
  const std::size_t k = ids.size() / logits.rows;
  for (std::size_t r = 0; r < logits.rows; ++r) {
    const float* const logit = logits.row(r);
    const auto chosen = ids.subspan(r * k, k);
    double largest = -std::numeric_limits<double>::infinity();
    double sum = 0;
    if (spec_.norm_topk_prob) {
      for (const std::uint16_t id : chosen) largest = std::max<double>(largest, logit[id]);
      for (const std::uint16_t id : chosen) sum += portable::exp(logit[id] - largest);
    } else {
      for (std::size_t e = 0; e < logits.cols; ++e) largest = std::max<double>(largest, logit[e]);
      for (std::size_t e = 0; e < logits.cols; ++e) sum += portable::exp(logit[e] - largest);
    }
    for (std::size_t i = 0; i < k; ++i) {
      weights[r * k + i] = static_cast<float>(portable::exp(logit[chosen[i]] - largest) / sum);
    }
  }
}

/// Whatever softmax weights are normalised by, they are proportional to exp(logit).
double Router::relative_weight(std::span<const float> logits, std::size_t to,
                               std::size_t from) const {
  return portable::exp(static_cast<double>(logits[to]) - static_cast<double>(logits[from]));
}

}  // namespace flashmoe
