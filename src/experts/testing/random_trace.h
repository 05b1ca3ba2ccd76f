#ifndef FLASHMOE_EXPERTS_TESTING_RANDOM_TRACE_H_
#define FLASHMOE_EXPERTS_TESTING_RANDOM_TRACE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "experts/routing_trace.h"

namespace flashmoe {

/// A trace in which some experts are routed much more often than others, for layers of
/// `num_experts`, in sequences of `window` tokens.
inline RoutingTrace random_trace(std::span<const std::size_t> num_experts, std::size_t token_count,
                                 std::size_t experts_per_token, std::size_t window,
                                 std::uint64_t seed) {
  std::mt19937_64 random(seed);
  RoutingTraceData data{.layer_count = num_experts.size(),
                        .token_count = token_count,
                        .experts_per_token = experts_per_token,
                        .num_experts = {num_experts.begin(), num_experts.end()}};
  for (const std::size_t count : num_experts) {
    for (std::size_t t = 0; t < token_count; ++t) {
      const std::size_t begin = data.ids.size();
      while (data.ids.size() < begin + experts_per_token) {
        const ExpertId id{static_cast<std::uint16_t>(std::min(random() % count, random() % count))};
        const auto chosen = std::span(data.ids).subspan(begin);
        if (std::ranges::find(chosen, id) == chosen.end()) data.ids.push_back(id);
      }
    }
  }
  for (std::size_t t = 0; t < token_count; t += window) data.starts.push_back(t);
  return RoutingTrace::create(std::move(data)).value();
}

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_TESTING_RANDOM_TRACE_H_
