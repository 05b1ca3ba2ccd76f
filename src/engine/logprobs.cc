#include "engine/logprobs.h"

#include <algorithm>
#include <cmath>

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
  const auto logit = [&](std::int32_t id) { return logits_[static_cast<std::size_t>(id)]; };
  // Ids come in ascending order: of equal logits the one that is here stays before.
  std::vector<std::int32_t> best;
  for (std::size_t i = 0; i < logits_.size() && count > 0; ++i) {
    const auto id = static_cast<std::int32_t>(i);
    if (best.size() == count && !(logit(id) > logit(best.back()))) continue;
    if (best.size() == count) best.pop_back();
    const auto place =
        std::upper_bound(best.begin(), best.end(), id,
                         [&](std::int32_t a, std::int32_t b) { return logit(a) > logit(b); });
    best.insert(place, id);
  }
  std::vector<TokenLogprob> likeliest;
  for (const std::int32_t id : best) likeliest.push_back(of(id));
  return likeliest;
}

}  // namespace flashmoe
