#include "model/model_spec.h"

#include <algorithm>

namespace flashmoe {

const MoeSpec& ModelSpec::moe() const {
  static const MoeSpec kNone;
  for (const LayerSpec& layer : layers) {
    if (layer.moe() != nullptr) return *layer.moe();
  }
  return kNone;
}

std::size_t ModelSpec::moe_layer_count() const {
  return static_cast<std::size_t>(std::count_if(
      layers.begin(), layers.end(), [](const LayerSpec& layer) { return layer.moe() != nullptr; }));
}

}  // namespace flashmoe
