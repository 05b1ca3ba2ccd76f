#include "experts/policies/residency_policies.h"

#include "base/check.h"
#include "experts/policies/lcp.h"
#include "experts/policies/lfu.h"
#include "experts/policies/lru.h"

namespace flashmoe {

std::unique_ptr<ResidencyPolicy> make_residency_policy(std::string_view name,
                                                       std::span<const std::size_t> expert_counts) {
  if (name == "lru") return make_lru_policy(expert_counts);
  if (name == "lcp") return make_lcp_policy(expert_counts);
  FM_CHECK(name == "lfu");
  return make_lfu_policy(expert_counts);
}

}  // namespace flashmoe
