#include "model/miss_handler.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace flashmoe {

MissHandler::MissHandler(ExpertCache& experts, std::size_t num_experts,
                         std::size_t experts_per_token, const MissOptions& options,
                         const FixedSet* set)
    : experts_(experts),
      experts_per_token_(experts_per_token),
      options_(options),
      set_(set),
      is_here_(num_experts) {
  FM_CHECK(options.rule != MissRule::kStale || set != nullptr);
}

void MissHandler::resolve(LayerId layer, const Router& router,
                          std::span<const StepSegment> segments, MatrixView<const float> logits,
                          std::span<std::uint16_t> ids, std::span<float> weights) {
  FM_CHECK(ids.size() == logits.rows * experts_per_token_ && weights.size() == ids.size());
  const auto answered = [this](const StepSegment& segment) { return is_answered(segment); };
  if (std::ranges::none_of(segments, answered)) return;
  experts_.find_present(layer, is_here_);
  for (const StepSegment& segment : segments) {
    if (!is_answered(segment)) continue;
    MissCounts& counts = segment.is_generated ? statistics_.generated : statistics_.prompts;
    for (std::size_t r = segment.row_begin; r < segment.row_end; ++r) {
      resolve_row(layer, router, logits.row_span(r),
                  ids.subspan(r * experts_per_token_, experts_per_token_),
                  weights.subspan(r * experts_per_token_, experts_per_token_), counts);
    }
  }
}

void MissHandler::resolve_row(LayerId layer, const Router& router, std::span<const float> logits,
                              std::span<std::uint16_t> ids, std::span<float> weights,
                              MissCounts& counts) {
  counts.routed_count += ids.size();
  double sum = 0;
  for (const float weight : weights) sum += weight;
  counts.routed_weight += sum;
  bool left_out = false;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (is_here_[ids[i]] != 0) continue;
    if (must_read(weights[i])) {
      ++counts.read_count;
      continue;
    }
    ++counts.miss_count;
    counts.replaced_weight += weights[i];
    switch (options_.rule) {
      case MissRule::kSubstitute:
        substitute(router, logits, ids, weights, i);
        break;
      case MissRule::kStale:
        serve_stale(layer, ids, weights, i);
        break;
      case MissRule::kSkip:
      case MissRule::kRenormalise:
        ids[i] = kNoExpert;
        weights[i] = 0;
        left_out = true;
        break;
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
  const MissCounts& generated = statistics_.generated;
  const MissCounts& prompts = statistics_.prompts;
  return generated.replaced_weight + prompts.replaced_weight + weight >
         options_.quality_budget * (generated.routed_weight + prompts.routed_weight);
}

/// Lets who holds the place of the missing expert have its weight; if the row has that one already,
/// beside its own. Nobody where that one is not here either.
void MissHandler::serve_stale(LayerId layer, std::span<std::uint16_t> ids, std::span<float> weights,
                              std::size_t place) const {
  const ExpertId holder = set_->stale({layer, ExpertId{ids[place]}});
  const float weight = std::exchange(weights[place], 0.0f);
  ids[place] = kNoExpert;
  if (holder == kNobody || is_here_[holder.value] == 0) return;
  const auto own = std::ranges::find(ids, holder.value);
  const std::size_t at = own == ids.end() ? place : static_cast<std::size_t>(own - ids.begin());
  ids[at] = holder.value;
  weights[at] += weight;
}

/// Puts in `place` the expert that the row wants most of those that are here and that it has not
/// got, or nobody where there is none.
void MissHandler::substitute(const Router& router, std::span<const float> logits,
                             std::span<std::uint16_t> ids, std::span<float> weights,
                             std::size_t place) const {
  std::uint16_t best = kNoExpert;
  for (std::size_t id = 0; id < logits.size(); ++id) {
    if (is_here_[id] == 0) continue;
    if (best != kNoExpert && !(router.preference(logits, id) > router.preference(logits, best))) {
      continue;
    }
    const auto candidate = static_cast<std::uint16_t>(id);
    if (std::ranges::find(ids, candidate) == ids.end()) best = candidate;
  }
  const std::uint16_t missing = std::exchange(ids[place], best);
  weights[place] =
      best == kNoExpert
          ? 0
          : static_cast<float>(weights[place] * router.relative_weight(logits, best, missing));
}

}  // namespace flashmoe
