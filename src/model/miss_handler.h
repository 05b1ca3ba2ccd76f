#ifndef FLASHMOE_MODEL_MISS_HANDLER_H_
#define FLASHMOE_MODEL_MISS_HANDLER_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "experts/expert_cache.h"
#include "experts/expert_id.h"
#include "experts/fixed_set.h"
#include "model/layers/router.h"
#include "model/routing.h"
#include "model/step.h"
#include "tensor/matrix_view.h"

namespace flashmoe {

/// What becomes of a routed expert that is not in memory, where the output may be approximate.
enum class MissRule : std::uint8_t {
  kSkip,         // left out; the others keep their weights
  kRenormalise,  // left out; the others' weights grow to the sum that all had
  kSubstitute,   // the row's best-scored expert in memory that it has not got, with its own weight
  kStale,        // FixedSet::stale() serves for it, with the missing one's weight
};

struct MissOptions {
  MissRule rule = MissRule::kSkip;
  /// Of kSubstitute: experts of at least this weight are read all the same.
  double threshold = std::numeric_limits<double>::infinity();
  /// The most of all routed weight that may be replaced; where a miss would exceed it, it is read.
  double quality_budget = 1;
  /// Whether rows of prompts are answered too. Otherwise they are left as they are, and so bring
  /// the experts in that generation then has.
  bool answers_prompts = false;
};

/// What tokens asked for and did not get.
struct MissCounts {
  std::uint64_t routed_count = 0;  // experts that routers picked
  std::uint64_t miss_count = 0;    // those that were not in memory and were not read
  std::uint64_t read_count = 0;    // those that were read, as threshold or budget wanted it
  double routed_weight = 0;        // sum of the weights of routed_count
  double replaced_weight = 0;      // of miss_count
};

struct MissStatistics {
  MissCounts generated;
  MissCounts prompts;  // nothing, unless MissOptions::answers_prompts
};

/// Computes with what is in memory, approximately: routed experts that are not are answered by a
/// rule rather than read. Deterministic as long as nothing but the rows computed changes what is in
/// memory: no reads in the background, no guesses.
///
/// One thread at a time.
class MissHandler {
 public:
  /// `experts` must outlive the handler, and so must `set`, which kStale needs.
  MissHandler(ExpertCache& experts, std::size_t num_experts, std::size_t experts_per_token,
              const MissOptions& options, const FixedSet* set = nullptr);

  /// Rewrites what a layer's router picked, for the rows that are to be answered: ids and weights
  /// [rows, k] become what can be computed with, kNoExpert and 0 where that is nothing. What is to
  /// be read stays as it is. logits: [rows, num_experts], the router's.
  void resolve(LayerId layer, const Router& router, std::span<const StepSegment> segments,
               MatrixView<const float> logits, std::span<std::uint16_t> ids,
               std::span<float> weights);

  const MissStatistics& statistics() const { return statistics_; }
  /// Counts from 0 again.
  void reset_statistics() { statistics_ = {}; }

 private:
  bool is_answered(const StepSegment& segment) const {
    return segment.is_generated || options_.answers_prompts;
  }
  void resolve_row(LayerId layer, const Router& router, std::span<const float> logits,
                   std::span<std::uint16_t> ids, std::span<float> weights, MissCounts& counts);
  bool must_read(float weight) const;
  void substitute(const Router& router, std::span<const float> logits, std::span<std::uint16_t> ids,
                  std::span<float> weights, std::size_t place) const;
  void serve_stale(LayerId layer, std::span<std::uint16_t> ids, std::span<float> weights,
                   std::size_t place) const;

  ExpertCache& experts_;
  const std::size_t experts_per_token_;
  const MissOptions options_;
  const FixedSet* const set_;
  MissStatistics statistics_;
  std::vector<unsigned char> is_here_;  // [num_experts], of the layer
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_MISS_HANDLER_H_
