#ifndef FLASHMOE_ENGINE_EXPERT_USE_H_
#define FLASHMOE_ENGINE_EXPERT_USE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "experts/expert_id.h"

namespace flashmoe {

/// How much one sequence has used each routed expert of late: what to have in memory when it goes
/// on. A hint: only speed depends on it. Copied with the sequence's state.
class ExpertUse {
 public:
  /// A use counts half after so many tokens.
  static constexpr double kHalfLifeTokens = 128;

  /// Of a model without routed experts.
  ExpertUse() = default;
  /// `expert_counts`: routed experts of each layer. None has been used.
  explicit ExpertUse(std::span<const std::size_t> expert_counts);

  /// Consecutive tokens of the sequence, the first at `position`, were routed in `layer`. ids:
  /// [tokens, k].
  void add(LayerId layer, std::size_t position, std::size_t tokens,
           std::span<const std::uint16_t> ids);

  /// At most `count` experts that have been used, the most used first.
  std::vector<ExpertKey> most_used(std::size_t count) const;

  /// For files: uses by layer and expert, as they count at `position`.
  std::vector<float> counts_at(std::size_t position) const;
  /// What counts_at() gave at `position`. False, and nothing has changed, if `counts` are not that
  /// of this model.
  bool restore(std::span<const float> counts, std::size_t position);

  std::uint64_t bytes() const { return counts_.size() * sizeof(float); }

 private:
  /// What a use at `position` adds.
  float weight(std::size_t position);

  std::vector<std::size_t> first_;  // of each layer: where it begins in counts_; the end
  std::vector<float> counts_;       // as they count at origin_
  std::size_t origin_ = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_EXPERT_USE_H_
