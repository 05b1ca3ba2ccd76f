#ifndef FLASHMOE_EXPERTS_TESTING_EXPERT_IDS_H_
#define FLASHMOE_EXPERTS_TESTING_EXPERT_IDS_H_

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "experts/expert_id.h"

namespace flashmoe {

// Experts as tests write them.

inline ExpertKey key(std::uint32_t layer, std::uint16_t expert) {
  return {LayerId{layer}, ExpertId{expert}};
}

inline std::vector<ExpertId> ids(std::initializer_list<int> values) {
  std::vector<ExpertId> result;
  for (const int value : values) result.push_back(ExpertId{static_cast<std::uint16_t>(value)});
  return result;
}

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_TESTING_EXPERT_IDS_H_
