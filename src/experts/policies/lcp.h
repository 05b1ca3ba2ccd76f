#ifndef FLASHMOE_EXPERTS_POLICIES_LCP_H_
#define FLASHMOE_EXPERTS_POLICIES_LCP_H_

#include <cstddef>
#include <memory>
#include <span>

#include "experts/residency_policy.h"

namespace flashmoe {

/// Drops the expert of the least cache priority (LCP), as the system does that flash-moe starts
/// from, layer by layer (LayerShares):
///   priority = uses * 0.25^(steps since the last use / 128)
/// Uses never fade while they go on, so that what was popular once stays long. Ties and costs:
/// frequency_policy.h.
///
/// `expert_counts`: routed experts of each layer (ExpertStore::expert_counts()).
std::unique_ptr<ResidencyPolicy> make_lcp_policy(std::span<const std::size_t> expert_counts);

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_POLICIES_LCP_H_
