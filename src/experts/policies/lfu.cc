#include "experts/policies/lfu.h"

#include "experts/policies/frequency_policy.h"

namespace flashmoe {

std::unique_ptr<ResidencyPolicy> make_lfu_policy(std::span<const std::size_t> expert_counts) {
  return make_frequency_policy(expert_counts, {.half_life = kLfuHalfLife, .each_use_fades = true});
}

}  // namespace flashmoe
