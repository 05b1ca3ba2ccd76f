#ifndef FLASHMOE_EXPERTS_FIXED_SET_REPLAY_H_
#define FLASHMOE_EXPERTS_FIXED_SET_REPLAY_H_

#include <cstddef>
#include <cstdint>

#include "experts/residency_replay.h"
#include "experts/routing_trace.h"

namespace flashmoe {

struct FixedSetReplayOptions {
  std::size_t capacity = 0;  // experts of each layer in the set
  std::size_t discovery_tokens = 10;
  /// Whether each of the trace's switches finds the set anew, as Residency::kDelta does; otherwise
  /// it stays, as kPredictive's.
  bool follows_switches = false;
};

struct FixedSetReplayResult {
  /// Hits are experts in the set; the others would be answered by a rule. Tokens of discovery count
  /// too: they are generated again afterwards.
  ReplayResult hits;
  std::uint64_t swap_count = 0;  // experts that changes of subject brought in
};

/// What a fixed set serves of a trace: for each sequence it is chosen from its first tokens
/// (choose_experts()), as a discovery that reads exactly sees them.
FixedSetReplayResult replay_fixed_set(const RoutingTrace& trace,
                                      const FixedSetReplayOptions& options);

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_FIXED_SET_REPLAY_H_
