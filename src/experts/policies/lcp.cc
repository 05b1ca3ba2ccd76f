#include "experts/policies/lcp.h"

#include "experts/policies/frequency_policy.h"

namespace flashmoe {
namespace {

// 0.25^(1 / 128) is 0.5^(1 / 64).
constexpr std::size_t kHalfLife = 64;

}  // namespace

std::unique_ptr<ResidencyPolicy> make_lcp_policy(std::span<const std::size_t> expert_counts) {
  return make_frequency_policy(expert_counts, {.half_life = kHalfLife, .each_use_fades = false});
}

}  // namespace flashmoe
