#ifndef FLASHMOE_EXPERTS_POLICIES_LFU_H_
#define FLASHMOE_EXPERTS_POLICIES_LFU_H_

#include <cstddef>
#include <memory>
#include <span>

#include "experts/residency_policy.h"

namespace flashmoe {

/// Drops the expert with the lowest decayed frequency, layer by layer (LayerShares):
///   frequency = sum over the steps that routed it of uses * 2^-(steps since / kLfuHalfLife)
/// where a step of one row is one use, and a chunk of R rows, n of which chose the expert,
/// max(1, n * min(1, kLfuHalfLife / R)): so a prompt on a new subject moves the residents before
/// its first token is generated (bench/results/policies.md).
/// Between LRU (a half-life of 0) and counting (an endless one); docs/residency.md says why this
/// one. Ties and costs: frequency_policy.h.
///
/// `expert_counts`: routed experts of each layer (ExpertStore::expert_counts()).
std::unique_ptr<ResidencyPolicy> make_lfu_policy(std::span<const std::size_t> expert_counts);

/// In steps. bench/results/policies.md has 16 to 512.
inline constexpr std::size_t kLfuHalfLife = 48;

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_POLICIES_LFU_H_
