#ifndef FLASHMOE_CLI_TRACE_REPLAYS_H_
#define FLASHMOE_CLI_TRACE_REPLAYS_H_

#include <CLI/App.hpp>
#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "experts/expert_profile.h"
#include "experts/residency_replay.h"
#include "experts/routing_trace_file.h"

namespace flashmoe::cli {

/// Beside kResidencyPolicies: the bound that knows the future, and fixed sets, whose misses are
/// answered rather than read.
inline constexpr std::string_view kBelady = "belady";
inline constexpr std::string_view kPredictive = "predictive";
inline constexpr std::string_view kDelta = "delta";
/// A profile's most routed stay, the rest adapts.
inline constexpr std::string_view kPinned = "pinned";

/// Whom kPinned pins.
struct PinFlags {
  std::string profile;
  std::size_t pinned = 0;  // of each layer; 0: half of the slots
};

inline bool is_fixed_set(std::string_view policy) {
  return policy == kPredictive || policy == kDelta;
}

/// What a policy made of a trace with so many slots.
struct Replayed {
  std::string name;  // of the trace; empty: several together
  std::string policy;
  std::size_t slots_per_layer = 0;
  ReplayResult result;
  std::size_t token_count = 0;
  double seconds = 0;

  void add(const Replayed& other) {
    result.add(other.result);
    token_count += other.token_count;
    seconds += other.seconds;
  }
  double lookups_per_token() const {
    return static_cast<double>(result.all.lookups) /
           static_cast<double>(std::max<std::size_t>(1, token_count));
  }
};

/// What a trace is replayed with.
struct ReplaySetting {
  std::string policy;
  std::size_t slots_per_layer = 0;
  const ExpertProfile* profile = nullptr;  // not null for kPinned
  std::size_t pinned = 0;                  // as in PinFlags
};

/// Errors: kInvalidArgument for slots that do not hold one token's experts, and for a profile of
/// another shape of model.
Result<Replayed> replay_named(const NamedRoutingTrace& named, const ReplaySetting& setting);

/// The same of several traces together.
Result<Replayed> replay_all(std::span<const NamedRoutingTrace> traces,
                            const ReplaySetting& setting);

/// Adds TRACE, the traces that a command reads.
void add_trace_argument(CLI::App& command, std::string& trace);
/// Adds --slots.
void add_slots_flag(CLI::App& command, std::vector<std::size_t>& slots);
/// Adds --profile and --pinned.
void add_pin_flags(CLI::App& command, PinFlags& flags);
/// The profile of the flags, if they name one. Errors: kInvalidArgument if they don't and one of
/// `policies` is kPinned; those of read_profile.
Result<std::optional<ExpertProfile>> read_pins(const PinFlags& flags,
                                               std::span<const std::string> policies);

/// With a change of subject `at` tokens after each start, for files that do not say.
Result<RoutingTrace> with_switches_at(const RoutingTrace& trace, std::size_t at);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_TRACE_REPLAYS_H_
