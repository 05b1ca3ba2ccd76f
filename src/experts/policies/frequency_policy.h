#ifndef FLASHMOE_EXPERTS_POLICIES_FREQUENCY_POLICY_H_
#define FLASHMOE_EXPERTS_POLICIES_FREQUENCY_POLICY_H_

#include <cstddef>
#include <memory>
#include <span>

#include "experts/residency_policy.h"

namespace flashmoe {

/// How the worth of past uses fades.
struct FrequencyDecay {
  std::size_t half_life = 0;  // in steps
  /// Whether a use brings only itself up to date, so that each fades from its own step on; or all
  /// that came before it, so that only a pause takes from them.
  bool each_use_fades = true;
};

/// Drops the expert of the lowest worth, layer by layer (LayerShares):
///   each use fades:  worth = sum over its uses of 2^-(steps since that use / half_life)
///   otherwise:       worth = number of uses * 2^-(steps since the last one / half_life)
/// A use is a step that routed it. Where each fades, a step of many rows, a chunk of a prompt, is
/// so many uses as rows chose the expert; of more rows than the half-life has steps only as large a
/// share counts, as if the others were too long ago, but no less than one. An expert that an
/// earlier run had in memory counts as used once when it is loaded. Ties: the expert routed longest
/// ago, then the smaller id. Being routed costs a multiplication, a victim one look at each
/// resident of the layer.
std::unique_ptr<ResidencyPolicy> make_frequency_policy(std::span<const std::size_t> expert_counts,
                                                       const FrequencyDecay& decay);

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_POLICIES_FREQUENCY_POLICY_H_
