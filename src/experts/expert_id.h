#ifndef FLASHMOE_EXPERTS_EXPERT_ID_H_
#define FLASHMOE_EXPERTS_EXPERT_ID_H_

#include <compare>
#include <cstdint>
#include <limits>

namespace flashmoe {

/// A layer of the model, counted from 0. Layers without routed experts have ids too.
struct LayerId {
  std::uint32_t value = 0;
  friend auto operator<=>(const LayerId&, const LayerId&) = default;
};

/// An expert within its layer, counted from 0.
struct ExpertId {
  std::uint16_t value = 0;
  friend auto operator<=>(const ExpertId&, const ExpertId&) = default;
};

/// In the place of an expert: nobody.
inline constexpr ExpertId kNobody{std::numeric_limits<std::uint16_t>::max()};

/// One routed expert of the model. Orders by layer, then expert.
struct ExpertKey {
  LayerId layer;
  ExpertId expert;
  friend auto operator<=>(const ExpertKey&, const ExpertKey&) = default;
};

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_EXPERT_ID_H_
