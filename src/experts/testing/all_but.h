#ifndef FLASHMOE_EXPERTS_TESTING_ALL_BUT_H_
#define FLASHMOE_EXPERTS_TESTING_ALL_BUT_H_

#include <set>
#include <utility>

#include "experts/residency_policy.h"

namespace flashmoe {

/// Everything may leave, but for some.
class AllBut final : public EvictableSet {
 public:
  explicit AllBut(std::set<ExpertKey> leased = {}) : leased_(std::move(leased)) {}
  bool contains(ExpertKey key) const override { return !leased_.contains(key); }

 private:
  std::set<ExpertKey> leased_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_TESTING_ALL_BUT_H_
