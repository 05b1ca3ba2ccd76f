#ifndef FLASHMOE_EXPERTS_POLICIES_PINNED_H_
#define FLASHMOE_EXPERTS_POLICIES_PINNED_H_

#include <memory>

#include "experts/fixed_set.h"
#include "experts/residency_policy.h"

namespace flashmoe {

/// Drops nobody of `set` while there is anybody else to drop, and of the others whom `inner` would.
/// An empty set changes nothing, so that modes begin adaptively and fix their set later; `set` may
/// change between any two calls. A victim costs a look at each resident outside the set beside
/// inner's own.
std::unique_ptr<ResidencyPolicy> make_pinned_policy(std::unique_ptr<ResidencyPolicy> inner,
                                                    std::shared_ptr<const FixedSet> set);

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_POLICIES_PINNED_H_
