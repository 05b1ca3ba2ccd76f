#ifndef FLASHMOE_EXPERTS_POLICIES_LAZY_H_
#define FLASHMOE_EXPERTS_POLICIES_LAZY_H_

#include <cstddef>
#include <memory>
#include <span>

#include "experts/residency_policy.h"

namespace flashmoe {

/// Keeps nothing: an expert leaves when its last lease ends, and every use reads it. What a cache
/// is to be compared with.
///
/// `expert_counts`: routed experts of each layer (ExpertStore::expert_counts()).
std::unique_ptr<ResidencyPolicy> make_lazy_policy(std::span<const std::size_t> expert_counts);

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_POLICIES_LAZY_H_
