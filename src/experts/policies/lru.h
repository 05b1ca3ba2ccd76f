#ifndef FLASHMOE_EXPERTS_POLICIES_LRU_H_
#define FLASHMOE_EXPERTS_POLICIES_LRU_H_

#include <cstddef>
#include <memory>
#include <span>

#include "experts/residency_policy.h"

namespace flashmoe {

/// Drops the expert routed longest ago, layer by layer (LayerShares). Among experts of one
/// on_routed, the least wanted leave first. Every decision takes O(layers) at most, beside the
/// experts passed over.
///
/// `expert_counts`: routed experts of each layer (ExpertStore::expert_counts()).
std::unique_ptr<ResidencyPolicy> make_lru_policy(std::span<const std::size_t> expert_counts);

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_POLICIES_LRU_H_
