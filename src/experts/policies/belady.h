#ifndef FLASHMOE_EXPERTS_POLICIES_BELADY_H_
#define FLASHMOE_EXPERTS_POLICIES_BELADY_H_

#include <cstddef>
#include <memory>

#include "experts/residency_policy.h"
#include "experts/routing_trace.h"

namespace flashmoe {

/// Drops the expert that is routed again latest, of any layer: no policy misses less. Knows the
/// future, so it can only be replayed: it must hear of tokens [begin, end) of `trace`, which must
/// outlive it, in order, with a step that counts from 0.
std::unique_ptr<ResidencyPolicy> make_belady_policy(const RoutingTrace& trace, std::size_t begin,
                                                    std::size_t end);

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_POLICIES_BELADY_H_
