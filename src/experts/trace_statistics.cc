#include "experts/trace_statistics.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <span>

#include "experts/policies/lru.h"
#include "experts/residency_replay.h"

namespace flashmoe {
namespace {

/// A number of experts given for 512, scaled to a layer of this trace.
std::size_t of_512(const RoutingTrace& trace, std::size_t count) {
  const std::size_t num_experts = std::ranges::max(trace.num_experts());
  return (count * num_experts + 256) / 512;
}

std::vector<LruHitRate> lru_curve(const RoutingTrace& trace, std::span<const std::size_t> sizes,
                                  HitCount ReplayResult::*part) {
  std::vector<LruHitRate> curve;
  for (const std::size_t size : sizes) {
    const std::size_t slots = of_512(trace, size);
    const std::size_t slot_count = slots * trace.layer_count();
    if (slot_count < trace.experts_per_token()) continue;
    const ReplayResult result = replay(
        trace, [&](std::size_t, std::size_t) { return make_lru_policy(trace.num_experts()); },
        slot_count);
    if ((result.*part).lookups > 0) curve.push_back({slots, (result.*part).rate()});
  }
  return curve;
}

/// What becomes of one routed expert later in its sequence, counted over all of them.
struct Reuse {
  // Of the uses that have so many tokens after them, and of those the ones used again within.
  HitCount by_next;
  HitCount within_8;
  std::vector<std::uint64_t> distances;  // [d]: used again d tokens later
};

Reuse count_reuse(const RoutingTrace& trace) {
  constexpr std::size_t kNever = ~std::size_t{0};
  Reuse reuse;
  reuse.distances.resize(trace.token_count() + 1);
  const auto add = [](HitCount& count, bool hit) {
    ++count.lookups;
    if (hit) ++count.hits;
  };
  for (std::size_t l = 0; l < trace.layer_count(); ++l) {
    for (std::size_t i = 0; i < trace.starts().size(); ++i) {
      const std::size_t end = trace.sequence_end(i);
      std::vector<std::size_t> next_use(trace.num_experts()[l], kNever);
      for (std::size_t t = end; t-- > trace.starts()[i];) {
        for (const ExpertId id : trace.routed(l, t)) {
          const std::size_t next = next_use[id.value];
          if (t + 1 < end) add(reuse.by_next, next == t + 1);
          if (t + 8 < end) add(reuse.within_8, next <= t + 8);
          if (next != kNever) ++reuse.distances[next - t];
          next_use[id.value] = t;
        }
      }
    }
  }
  return reuse;
}

std::optional<double> median(std::span<const std::uint64_t> counts) {
  std::uint64_t total = 0;
  for (const std::uint64_t count : counts) total += count;
  std::uint64_t below = 0;
  for (std::size_t i = 0; i < counts.size() && total > 0; ++i) {
    below += counts[i];
    if (2 * below >= total) return static_cast<double>(i);
  }
  return std::nullopt;
}

/// Uses of each expert of a layer by tokens [begin, end).
std::vector<std::size_t> count_uses(const RoutingTrace& trace, std::size_t layer, std::size_t begin,
                                    std::size_t end) {
  std::vector<std::size_t> uses(trace.num_experts()[layer]);
  for (std::size_t t = begin; t < end; ++t) {
    for (const ExpertId id : trace.routed(layer, t)) ++uses[id.value];
  }
  return uses;
}

void measure_popularity(const RoutingTrace& trace, TraceStatistics& statistics) {
  statistics.most_used_count = of_512(trace, 64);
  double touched = 0;
  double share = 0;
  std::size_t samples = 0;
  for (std::size_t i = 0; i < trace.starts().size(); ++i) {
    const std::size_t begin = trace.starts()[i];
    if (trace.sequence_end(i) - begin < kColdTokens) continue;
    for (std::size_t l = 0; l < trace.layer_count(); ++l, ++samples) {
      std::vector<std::size_t> uses = count_uses(trace, l, begin, begin + kColdTokens);
      std::ranges::sort(uses, std::greater());
      std::size_t most_used = 0;
      for (std::size_t e = 0; e < uses.size() && uses[e] > 0; ++e) {
        touched += 1;
        if (e < statistics.most_used_count) most_used += uses[e];
      }
      share += static_cast<double>(most_used) /
               static_cast<double>(kColdTokens * trace.experts_per_token());
    }
  }
  if (samples == 0) return;
  statistics.touched = touched / static_cast<double>(samples);
  statistics.share_of_most_used = share / static_cast<double>(samples);
}

/// The experts of a layer that tokens [begin, end) use most; ties: the smaller id.
std::vector<bool> most_used(const RoutingTrace& trace, std::size_t layer, std::size_t begin,
                            std::size_t end, std::size_t count) {
  const std::vector<std::size_t> uses = count_uses(trace, layer, begin, end);
  std::vector<std::size_t> order(uses.size());
  for (std::size_t e = 0; e < order.size(); ++e) order[e] = e;
  std::ranges::stable_sort(order, std::greater(), [&](std::size_t e) { return uses[e]; });
  std::vector<bool> chosen(uses.size());
  for (std::size_t i = 0; i < std::min(count, order.size()); ++i) chosen[order[i]] = true;
  return chosen;
}

void measure_switches(const RoutingTrace& trace, TraceStatistics& statistics) {
  std::array<double, kSwitchTokens.size()> missing = {};
  std::size_t samples = 0;
  for (const std::size_t at : trace.switches()) {
    // The old subject lasts from the boundary before, the new one at least for the tokens counted.
    std::size_t begin = 0;
    std::size_t end = trace.token_count();
    for (const auto boundaries : {trace.starts(), trace.switches()}) {
      for (const std::size_t boundary : boundaries) {
        if (boundary < at) begin = std::max(begin, boundary);
        if (boundary > at) end = std::min(end, boundary);
      }
    }
    if (end - at < kSwitchTokens.back()) continue;
    for (std::size_t l = 0; l < trace.layer_count(); ++l, ++samples) {
      std::vector<bool> known = most_used(trace, l, begin, at, of_512(trace, 192));
      std::size_t count = 0;
      std::size_t t = at;
      for (std::size_t i = 0; i < kSwitchTokens.size(); ++i) {
        for (; t < at + kSwitchTokens[i]; ++t) {
          for (const ExpertId id : trace.routed(l, t)) {
            if (!known[id.value]) ++count;
            known[id.value] = true;
          }
        }
        missing[i] += static_cast<double>(count);
      }
    }
  }
  if (samples == 0) return;
  for (double& count : missing) count /= static_cast<double>(samples);
  statistics.missing_after_switch = missing;
}

}  // namespace

TraceStatistics trace_statistics(const RoutingTrace& trace) {
  constexpr std::size_t kSteadySizes[] = {64, 128, 192, 208};
  constexpr std::size_t kColdSizes[] = {93, 186, 279, 372, 512};
  TraceStatistics statistics;
  statistics.steady_lru = lru_curve(trace, kSteadySizes, &ReplayResult::steady);
  statistics.cold_lru = lru_curve(trace, kColdSizes, &ReplayResult::cold);
  const Reuse reuse = count_reuse(trace);
  statistics.reused_by_next = reuse.by_next.rate();
  statistics.reused_within_8 = reuse.within_8.rate();
  statistics.median_reuse_distance = median(reuse.distances);
  measure_popularity(trace, statistics);
  measure_switches(trace, statistics);
  return statistics;
}

}  // namespace flashmoe
