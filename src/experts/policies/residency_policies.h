#ifndef FLASHMOE_EXPERTS_POLICIES_RESIDENCY_POLICIES_H_
#define FLASHMOE_EXPERTS_POLICIES_RESIDENCY_POLICIES_H_

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "experts/residency_policy.h"

namespace flashmoe {

/// The policies that an engine can run with and that adapt to what is routed, by name.
inline constexpr std::array<std::string_view, 3> kResidencyPolicies = {"lfu", "lru", "lcp"};

/// The one that measured best (bench/results/policies.md).
inline constexpr std::string_view kDefaultResidencyPolicy = "lfu";

/// `name`: one of kResidencyPolicies. `expert_counts`: routed experts of each layer.
std::unique_ptr<ResidencyPolicy> make_residency_policy(std::string_view name,
                                                       std::span<const std::size_t> expert_counts);

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_POLICIES_RESIDENCY_POLICIES_H_
