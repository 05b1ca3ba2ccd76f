#ifndef FLASHMOE_ENGINE_ROUTING_COUNTER_H_
#define FLASHMOE_ENGINE_ROUTING_COUNTER_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "experts/expert_profile.h"
#include "model/routing.h"

namespace flashmoe {

/// Counts which experts routers pick, whatever becomes of it.
class RoutingCounter final : public RoutingObserver {
 public:
  /// `expert_counts`: routed experts of each layer.
  explicit RoutingCounter(std::span<const std::size_t> expert_counts);

  void on_routed(LayerId layer, std::span<const StepSegment> segments,
                 std::span<const std::uint16_t> ids, std::span<const float> weights) override;

  /// Since the last clear().
  const ExpertProfile& counts() const { return counts_; }
  void clear();

 private:
  ExpertProfile counts_;
  std::uint32_t first_layer_ = 0;  // with experts: its rows are the tokens
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_ROUTING_COUNTER_H_
