#ifndef FLASHMOE_ENGINE_LOGPROBS_H_
#define FLASHMOE_ENGINE_LOGPROBS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "flashmoe/scheduler.h"

namespace flashmoe {

/// log softmax of the logits of one position, which must outlive this.
class Logprobs {
 public:
  explicit Logprobs(std::span<const float> logits);

  TokenLogprob of(std::int32_t id) const;
  /// The `count` likeliest tokens, likeliest first; ties go to the smaller id.
  std::vector<TokenLogprob> top(std::size_t count) const;

 private:
  const std::span<const float> logits_;
  double log_sum_exp_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_LOGPROBS_H_
