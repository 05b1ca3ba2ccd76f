#include "experts/policies/lazy.h"

#include "experts/policies/forwarding_policy.h"
#include "experts/policies/lru.h"

namespace flashmoe {
namespace {

/// LRU for what has to be decided while leases last.
class LazyPolicy final : public ForwardingPolicy {
 public:
  using ForwardingPolicy::ForwardingPolicy;
  bool keeps_unleased() const override { return false; }
};

}  // namespace

std::unique_ptr<ResidencyPolicy> make_lazy_policy(std::span<const std::size_t> expert_counts) {
  return std::make_unique<LazyPolicy>(make_lru_policy(expert_counts));
}

}  // namespace flashmoe
