#ifndef FLASHMOE_RESIDENCY_H_
#define FLASHMOE_RESIDENCY_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string_view>

namespace flashmoe {

/// Which experts stay in memory (docs/residency.md).
enum class Residency : std::uint8_t {
  kExact,       // by the policy that measured best, which is kLfu; misses are read
  kResident,    // all of them, from the start
  kLazy,        // none: each use reads its experts
  kLcp,         // those of the highest uses * 0.25^(steps since the last / 128)
  kLru,         // those routed last
  kLfu,         // those routed most often, where each use fades
  kPinned,      // the most routed of a profile for good, and as kLfu in what is left
  kPredictive,  // a fixed set, found by a short generation on the first prompt
  kDelta,       // likewise, and on a change of subject found anew and swapped before going on
  kAsyncDelta,  // likewise, and swapped between the tokens of the answer
};

/// What happens to an expert that a router picked and that is not in memory.
enum class OnMiss : std::uint8_t {
  kRead,         // it is read: exact
  kSkip,         // approximate: left out; the others keep their weights
  kRenormalise,  // approximate: left out; the others' weights grow to the sum that all had
  kSubstitute,   // approximate: the best-scored expert in memory, with its own weight
  kStale,        // approximate: who still has the missing one's place, or the layer's first place,
                 // with the missing one's weight; of fixed sets
};

/// What becomes of the tokens that kAsyncDelta generates while swaps are being made.
enum class Hold : std::uint8_t {
  kNothing,  // they are output
  kOutput,   // they stay in the context; output begins with the first token after the swaps
  kRestart,  // they are thrown away: generation begins again from the prompt
};

/// Whether what the process and the system keep for us beside the budget (freed memory, cached
/// pages of the model's files) is given back before a change of subject.
enum class DropCaches : std::uint8_t {
  kAuto,  // as it measured best (docs/validation.md), which is kOff
  kOn,
  kOff,
};

/// "exact", "resident", "lazy", "lcp", "lru", "lfu", "pinned", "predictive", "delta",
/// "async-delta".
std::string_view to_string(Residency residency);
/// "read", "skip", "renormalise", "substitute", "stale".
std::string_view to_string(OnMiss on_miss);
/// "nothing", "output", "restart".
std::string_view to_string(Hold hold);
/// "auto", "on", "off".
std::string_view to_string(DropCaches drop_caches);

struct ResidencyOptions {
  Residency residency = Residency::kExact;
  /// The most experts of a layer in memory, as a mean over layers. 0: what the budget holds.
  std::size_t capacity = 0;

  /// None: kStale where there is a fixed set, else kRead. Anything but kRead is approximate, and
  /// EngineStatistics say how much so. Prompts are computed exactly, by reading, until there is a
  /// fixed set; then the rule answers for them too, and nothing is read while generating.
  std::optional<OnMiss> on_miss;
  /// Of kSubstitute: experts of at least this weight are read.
  double miss_threshold = std::numeric_limits<double>::infinity();
  /// The most of all routed weight that may be replaced; what would exceed it is read. 0 to 1.
  double quality_budget = 1;

  /// How often experts were routed (`flash-moe profile`): needed by kPinned; in a fixed set it
  /// fills what discovery leaves. Empty: none.
  std::filesystem::path profile;
  /// Of kPinned: experts of a layer that never leave, as a mean. 0: half of those in memory.
  std::size_t pinned = 0;
  /// Tokens generated to see what a subject routes to.
  std::size_t discovery_tokens = 10;
  /// Of kAsyncDelta: layers whose swaps are made between two tokens.
  std::size_t swap_layers = 2;
  /// Of kAsyncDelta, instead of swap_layers: the time for swaps between two tokens. Then output
  /// depends on the speed of the disk. 0: swap_layers counts.
  double swap_seconds = 0;
  /// Of kAsyncDelta.
  Hold hold = Hold::kNothing;
  /// Of fixed sets: after every so many generated tokens the set is found anew from what they
  /// routed. 0: never.
  std::size_t refresh_every = 0;
  DropCaches drop_caches = DropCaches::kAuto;

  /// Whether a set of experts, found by discovery, is all that is in memory.
  bool has_fixed_set() const { return residency == Residency::kPredictive || changes_its_set(); }
  /// Whether a change of subject changes the fixed set.
  bool changes_its_set() const {
    return residency == Residency::kDelta || residency == Residency::kAsyncDelta;
  }
  /// What happens to a miss: on_miss, or what the mode does where nothing is given.
  OnMiss miss_rule() const {
    return on_miss.value_or(has_fixed_set() ? OnMiss::kStale : OnMiss::kRead);
  }
  /// Whether generated tokens may get something else than the model's own experts.
  bool is_approximate() const { return miss_rule() != OnMiss::kRead; }
  /// Whether experts may be read before they are asked for, on a guess or because an earlier run
  /// had them: not where all are there or none stay, nor where somebody else decides what is.
  bool reads_ahead() const {
    return !is_approximate() && !has_fixed_set() && residency != Residency::kResident &&
           residency != Residency::kLazy;
  }
};

/// What finding a fixed set, or another one, took.
struct SwitchReport {
  std::size_t discovery_tokens = 0;  // generated to see the routing, and thrown away
  double discovery_seconds = 0;      // reading the prompt for it included
  std::size_t experts_found = 0;     // routed meanwhile, over all layers
  std::size_t experts_missing = 0;   // of them, those that were not in memory
  std::size_t swap_count = 0;        // experts to be read into the set, those of experts_missing
                                     // that it has room for and fillers
  double swap_seconds = 0;           // making swaps before anything else went on
  double prompt_seconds = 0;         // reading the prompt again, with the new set
};

}  // namespace flashmoe

#endif  // FLASHMOE_RESIDENCY_H_
