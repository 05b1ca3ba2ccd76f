#include "engine/logprobs.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "base/portable_math.h"

namespace flashmoe {

Logprobs::Logprobs(std::span<const float> logits) : logits_(logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += portable::exp(static_cast<double>(logit) - largest);
  log_sum_exp_ = largest + std::log(sum);
}

TokenLogprob Logprobs::of(std::int32_t id) const {
  FM_CHECK(static_cast<std::size_t>(id) < logits_.size());
  return {id, static_cast<float>(logits_[static_cast<std::size_t>(id)] - log_sum_exp_)};
}

std::vector<TokenLogprob> Logprobs::top(std::size_t count) const {
  std::vector<std::int32_t> ids(logits_.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto end = ids.begin() + static_cast<std::ptrdiff_t>(std::min(count, ids.size()));
  const auto logit = [&](std::int32_t id) { return logits_[static_cast<std::size_t>(id)]; };
  std::partial_sort(ids.begin(), end, ids.end(), [&](std::int32_t a, std::int32_t b) {
    return logit(a) != logit(b) ? logit(a) > logit(b) : a < b;
  });
  std::vector<TokenLogprob> likeliest;
  for (auto it = ids.begin(); it != end; ++it) likeliest.push_back(of(*it));
  return likeliest;
}

}  // namespace flashmoe
