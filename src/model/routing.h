#ifndef FLASHMOE_MODEL_ROUTING_H_
#define FLASHMOE_MODEL_ROUTING_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "experts/expert_id.h"

namespace flashmoe {

struct StepSegment;

/// In the place of a routed expert: nobody. Its weight then counts for nothing.
inline constexpr std::uint16_t kNoExpert = kNobody.value;

/// Hears what every router of a forward pass chose: layer after layer, each for all rows of the
/// step. A pass that fails ends early.
class RoutingObserver {
 public:
  virtual ~RoutingObserver() = default;
  /// ids and weights: [rows, k] in rank order, as they are about to be computed with. Valid during
  /// the call.
  virtual void on_routed(LayerId layer, std::span<const StepSegment> segments,
                         std::span<const std::uint16_t> ids, std::span<const float> weights) = 0;
};

/// Passes what routers chose on to several.
class RoutingObservers final : public RoutingObserver {
 public:
  /// `observer` must outlive its place here.
  void add(RoutingObserver& observer) { observers_.push_back(&observer); }
  void remove(RoutingObserver& observer) { std::erase(observers_, &observer); }
  void on_routed(LayerId layer, std::span<const StepSegment> segments,
                 std::span<const std::uint16_t> ids, std::span<const float> weights) override {
    for (RoutingObserver* observer : observers_) observer->on_routed(layer, segments, ids, weights);
  }

 private:
  std::vector<RoutingObserver*> observers_;
};

/// Decides in the routers' place, for measurements whose routing must be known. What it gives may
/// depend on the layer and on the rows' places in their sequences alone, so that the output does
/// not depend on how a prompt is cut.
class RoutingSource {
 public:
  enum class Weights : std::uint8_t {
    kGiven,       // by the source
    kFromRouter,  // what the router would give the ids (Router::weigh)
  };

  virtual ~RoutingSource() = default;
  /// Overwrites ids [rows, k] with distinct experts, or kNoExpert, for each row; and weights [rows,
  /// k], if it says so.
  virtual Weights choose(LayerId layer, std::span<const StepSegment> segments,
                         std::span<std::uint16_t> ids, std::span<float> weights) = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_ROUTING_H_
