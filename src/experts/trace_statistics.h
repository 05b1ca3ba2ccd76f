#ifndef FLASHMOE_EXPERTS_TRACE_STATISTICS_H_
#define FLASHMOE_EXPERTS_TRACE_STATISTICS_H_

#include <array>
#include <cstddef>
#include <optional>
#include <vector>

#include "experts/routing_trace.h"

namespace flashmoe {

/// How often LRU with `slots` for each layer finds an expert.
struct LruHitRate {
  std::size_t slots = 0;
  double hit_rate = 0;
};

/// What is published about the routing of large models, measured on a trace. Shares are of 1,
/// counts of experts are means over layers and sequences. What a trace is too short for, or has too
/// few experts, is absent.
struct TraceStatistics {
  /// Tokens from kSteadyFrom of each sequence on; sizes that are 64, 128, 192 and 208 of 512.
  std::vector<LruHitRate> steady_lru;
  /// The first kColdTokens tokens of each sequence, from an empty cache; sizes that are 93, 186,
  /// 279, 372 and 512 of 512.
  std::vector<LruHitRate> cold_lru;
  /// Of the experts routed for a token: routed again for the next token, or one of the next eight.
  double reused_by_next = 0;
  double reused_within_8 = 0;
  /// Tokens from one use of an expert to its next, within a sequence.
  std::optional<double> median_reuse_distance;
  /// In the first kColdTokens tokens of a sequence: experts used at all, and the share of the uses
  /// that falls to the 64 of 512 used most.
  std::optional<double> touched;
  std::optional<double> share_of_most_used;
  std::size_t most_used_count = 0;
  /// After each change of subject: how many experts the first 5, 10, 20, 30 and 50 tokens use that
  /// are not among the 192 of 512 that the subject before used most.
  std::optional<std::array<double, 5>> missing_after_switch;
};

inline constexpr std::array<std::size_t, 5> kSwitchTokens = {5, 10, 20, 30, 50};

TraceStatistics trace_statistics(const RoutingTrace& trace);

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_TRACE_STATISTICS_H_
