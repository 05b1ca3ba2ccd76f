#include "experts/fixed_set_replay.h"

#include <algorithm>
#include <vector>

#include "experts/expert_profile.h"
#include "experts/fixed_set.h"

namespace flashmoe {
namespace {

/// How often tokens [begin, end) of a trace route to each expert.
ExpertProfile count_tokens(const RoutingTrace& trace, std::size_t begin, std::size_t end) {
  ExpertProfile profile(trace.num_experts());
  for (std::size_t l = 0; l < trace.layer_count(); ++l) {
    for (std::size_t t = begin; t < end; ++t) {
      for (const ExpertId id : trace.routed(l, t)) ++profile.layers[l][id.value];
    }
  }
  profile.token_count = end - begin;
  return profile;
}

/// Makes the set the best for `seen`; the members in their order of use so far stay where there is
/// room. Returns how many come in.
std::size_t change_set(FixedSet& set, const ExpertProfile& seen, const ExpertProfile& history,
                       std::span<const std::size_t> sizes) {
  set.plan(choose_experts(seen, members_by_use(set, history), nullptr, sizes));
  const std::size_t count = set.pending_count();
  for (std::uint32_t l = 0; l < set.layer_count(); ++l) {
    set.complete(LayerId{l}, set.pending(LayerId{l}).size());
  }
  return count;
}

}  // namespace

FixedSetReplayResult replay_fixed_set(const RoutingTrace& trace,
                                      const FixedSetReplayOptions& options) {
  FixedSetReplayResult result;
  std::vector<std::size_t> sizes;
  for (const std::size_t count : trace.num_experts()) {
    sizes.push_back(std::min(count, options.capacity));
  }
  for (std::size_t i = 0; i < trace.starts().size(); ++i) {
    const std::size_t begin = trace.starts()[i];
    const std::size_t end = trace.sequence_end(i);
    FixedSet set(trace.num_experts());
    ExpertProfile history(trace.num_experts());
    const auto discover = [&](std::size_t from) {
      const ExpertProfile seen =
          count_tokens(trace, from, std::min(end, from + options.discovery_tokens));
      const std::size_t count = change_set(set, seen, history, sizes);
      history.add(seen);
      return count;
    };
    discover(begin);
    for (std::size_t t = begin; t < end; ++t) {
      if (options.follows_switches && t > begin &&
          std::ranges::binary_search(trace.switches(), t)) {
        result.swap_count += discover(t);
      }
      HitCount token;
      for (std::uint32_t l = 0; l < trace.layer_count(); ++l) {
        for (const ExpertId id : trace.routed(l, t)) {
          token.hits += set.contains({LayerId{l}, id}) ? 1 : 0;
          ++token.lookups;
        }
      }
      result.hits.all.add(token);
      if (t - begin < kColdTokens) result.hits.cold.add(token);
      if (t - begin >= kSteadyFrom) result.hits.steady.add(token);
    }
  }
  return result;
}

}  // namespace flashmoe
