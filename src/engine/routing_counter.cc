#include "engine/routing_counter.h"

#include <algorithm>

#include "model/step.h"

namespace flashmoe {

RoutingCounter::RoutingCounter(std::span<const std::size_t> expert_counts)
    : counts_(expert_counts) {
  const auto first = std::ranges::find_if(expert_counts, [](std::size_t n) { return n > 0; });
  first_layer_ = static_cast<std::uint32_t>(first - expert_counts.begin());
}

void RoutingCounter::on_routed(LayerId layer, std::span<const StepSegment> segments,
                               std::span<const std::uint16_t> ids,
                               std::span<const float> /*weights*/) {
  std::vector<std::uint64_t>& counts = counts_.layers[layer.value];
  for (const std::uint16_t id : ids) {
    if (id != kNoExpert) ++counts[id];
  }
  if (layer.value == first_layer_) counts_.token_count += segments.back().row_end;
}

void RoutingCounter::clear() { counts_ = ExpertProfile(counts_.expert_counts()); }

}  // namespace flashmoe
