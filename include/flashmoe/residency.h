#ifndef FLASHMOE_RESIDENCY_H_
#define FLASHMOE_RESIDENCY_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

namespace flashmoe {

/// Which experts stay in memory (docs/residency.md).
enum class Residency : std::uint8_t {
  kExact,     // by the policy that measured best, which is kLfu; misses are read
  kResident,  // all of them, from the start
  kLazy,      // none: each use reads its experts
  kLcp,       // those of the highest uses * 0.25^(steps since the last / 128)
  kLru,       // those routed last
  kLfu,       // those routed most often, where each use fades
};

/// What happens to an expert that a generated token's router picked and that is not in memory.
enum class OnMiss : std::uint8_t {
  kRead,         // it is read: exact
  kSkip,         // approximate: left out; the others keep their weights
  kRenormalise,  // approximate: left out; the others' weights grow to the sum that all had
  kSubstitute,   // approximate: the best-scored expert in memory, with its own weight
};

/// "exact", "resident", "lazy", "lcp", "lru", "lfu".
std::string_view to_string(Residency residency);
/// "read", "skip", "renormalise", "substitute".
std::string_view to_string(OnMiss on_miss);

struct ResidencyOptions {
  Residency residency = Residency::kExact;
  /// The most experts of a layer in memory, as a mean over layers. 0: what the budget holds.
  std::size_t capacity = 0;

  /// Anything but kRead is approximate, and EngineStatistics say how much so. Prompts are computed
  /// exactly, by reading, and so decide what generation has.
  OnMiss on_miss = OnMiss::kRead;
  /// Of kSubstitute: experts of at least this weight are read.
  double miss_threshold = std::numeric_limits<double>::infinity();
  /// The most of all routed weight that may be replaced; what would exceed it is read. 0 to 1.
  double quality_budget = 1;

  /// Whether generated tokens may get something else than the model's own experts.
  bool is_approximate() const { return on_miss != OnMiss::kRead; }
  /// Whether experts may be read before they are asked for, on a guess or because an earlier run
  /// had them: not where all are there or none stay, nor where the output would depend on how far
  /// that came.
  bool reads_ahead() const {
    return !is_approximate() && residency != Residency::kResident && residency != Residency::kLazy;
  }
};

}  // namespace flashmoe

#endif  // FLASHMOE_RESIDENCY_H_
