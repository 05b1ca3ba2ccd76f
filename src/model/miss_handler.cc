#include "model/miss_handler.h"

#include <algorithm>

#include "base/check.h"
#include "base/portable_math.h"

namespace flashmoe {

MissHandler::MissHandler(ExpertCache& experts, std::size_t num_experts,
                         std::size_t experts_per_token, const MissOptions& options)
    : experts_(experts),
      experts_per_token_(experts_per_token),
      options_(options),
      is_here_(num_experts) {}

void MissHandler::resolve(LayerId layer, std::span<const StepSegment> segments,
                          MatrixView<const float> logits, std::span<std::uint16_t> ids,
                          std::span<float> weights) {
  FM_CHECK(ids.size() == logits.rows * experts_per_token_ && weights.size() == ids.size());
  if (std::ranges::none_of(segments, &StepSegment::is_generated)) return;
  experts_.find_present(layer, is_here_);
  for (const StepSegment& segment : segments) {
    if (!segment.is_generated) continue;
    for (std::size_t r = segment.row_begin; r < segment.row_end; ++r) {
      resolve_row(logits.row_span(r), ids.subspan(r * experts_per_token_, experts_per_token_),
                  weights.subspan(r * experts_per_token_, experts_per_token_));
    }
  }
}

void MissHandler::resolve_row(std::span<const float> logits, std::span<std::uint16_t> ids,
                              std::span<float> weights) {
  statistics_.routed_count += ids.size();
  double sum = 0;
  for (const float weight : weights) sum += weight;
  statistics_.routed_weight += sum;
  bool left_out = false;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (is_here_[ids[i]] != 0) continue;
    if (must_read(weights[i])) {
      ++statistics_.read_count;
      continue;
    }
    ++statistics_.miss_count;
    statistics_.replaced_weight += weights[i];
    if (options_.rule == MissRule::kSubstitute) {
      substitute(logits, ids, weights, i);
    } else {
      ids[i] = kNoExpert;
      weights[i] = 0;
      left_out = true;
    }
  }
  if (options_.rule != MissRule::kRenormalise || !left_out) return;
  double kept = 0;
  for (const float weight : weights) kept += weight;
  if (kept == 0) return;
  for (float& weight : weights) weight = static_cast<float>(weight * (sum / kept));
}

/// Whether an expert of this weight, which is not here, has to be read.
bool MissHandler::must_read(float weight) const {
  if (options_.rule == MissRule::kSubstitute && weight >= options_.threshold) return true;
  return statistics_.replaced_weight + weight > options_.quality_budget * statistics_.routed_weight;
}

/// Puts in `place` the best-scored expert that is here and that the row has not got, or nobody
/// where there is none. Weights are proportional to exp(logit), whatever they are normalised by.
void MissHandler::substitute(std::span<const float> logits, std::span<std::uint16_t> ids,
                             std::span<float> weights, std::size_t place) const {
  std::uint16_t best = kNoExpert;
  for (std::size_t id = 0; id < logits.size(); ++id) {
    if (is_here_[id] == 0 || (best != kNoExpert && !(logits[id] > logits[best]))) continue;
    const auto candidate = static_cast<std::uint16_t>(id);
    if (std::ranges::find(ids, candidate) == ids.end()) best = candidate;
  }
  const double missing = logits[ids[place]];
  ids[place] = best;
  weights[place] = best == kNoExpert
                       ? 0
                       : static_cast<float>(weights[place] * portable::exp(logits[best] - missing));
}

}  // namespace flashmoe
