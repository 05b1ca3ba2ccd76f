#include "model/routing.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/portable_math.h"

namespace flashmoe {

void weigh_chosen(MatrixView<const float> logits, bool normalize,
                  std::span<const std::uint16_t> ids, std::span<float> weights) {
  FM_CHECK(ids.size() == weights.size());
  const std::size_t k = ids.size() / logits.rows;
  for (std::size_t r = 0; r < logits.rows; ++r) {
    const float* const logit = logits.row(r);
    const auto chosen = ids.subspan(r * k, k);
    double largest = -std::numeric_limits<double>::infinity();
    double sum = 0;
    if (normalize) {
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

}  // namespace flashmoe
