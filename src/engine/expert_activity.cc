#include "engine/expert_activity.h"

#include <cmath>

namespace flashmoe {

ExpertActivity::ExpertActivity(std::span<const std::size_t> expert_counts, const ExpertCache& cache)
    : cache_(cache), layers_(expert_counts.size()) {
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    layers_[i].experts.resize(expert_counts[i]);
    layers_[i].is_present.resize(expert_counts[i]);
    layers_[i].time = Clock::now();
  }
}

void ExpertActivity::age(Layer& layer, Clock::time_point now) {
  const double seconds = std::chrono::duration<double>(now - layer.time).count();
  layer.time = now;
  const auto factor = static_cast<float>(std::exp2(-seconds / kHalfLifeSeconds));
  for (ExpertState& expert : layer.experts) {
    expert.hits *= factor;
    expert.misses *= factor;
  }
}

void ExpertActivity::on_routed(LayerId layer_id, std::span<const StepSegment> /*segments*/,
                               std::span<const std::uint16_t> ids,
                               std::span<const float> /*weights*/) {
  const std::lock_guard lock(mutex_);
  Layer& layer = layers_[layer_id.value];
  age(layer, Clock::now());
  cache_.find_present(layer_id, layer.is_present);
  for (const std::uint16_t id : ids) {
    if (id >= layer.experts.size()) continue;  // nobody
    // Rows of a step share an expert: what the first one misses, the next one hits.
    (layer.is_present[id] != 0 ? layer.experts[id].hits : layer.experts[id].misses) += 1;
    layer.is_present[id] = 1;
  }
}

std::vector<std::vector<ExpertState>> ExpertActivity::states() const {
  std::vector<std::vector<ExpertState>> states;
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    Layer layer = layers_[i];
    age(layer, Clock::now());
    if (!layer.is_present.empty()) {
      cache_.find_present(LayerId{static_cast<std::uint32_t>(i)}, layer.is_present);
    }
    for (std::size_t e = 0; e < layer.experts.size(); ++e) {
      layer.experts[e].is_resident = layer.is_present[e] != 0;
    }
    states.push_back(std::move(layer.experts));
  }
  return states;
}

}  // namespace flashmoe
