#ifndef FLASHMOE_ENGINE_EXPERT_ACTIVITY_H_
#define FLASHMOE_ENGINE_EXPERT_ACTIVITY_H_

#include <chrono>
#include <cstddef>
#include <mutex>
#include <span>
#include <vector>

#include "experts/expert_cache.h"
#include "flashmoe/scheduler.h"
#include "model/routing.h"

namespace flashmoe {

/// Watches which experts routers pick, and whether they are in memory then: for who wants to see
/// the machine at work. Any thread may ask; the model's thread tells.
class ExpertActivity final : public RoutingObserver {
 public:
  /// Uses count half after this time.
  static constexpr double kHalfLifeSeconds = 2;

  /// `expert_counts`: routed experts of each layer. `cache` must outlive this.
  ExpertActivity(std::span<const std::size_t> expert_counts, const ExpertCache& cache);

  void on_routed(LayerId layer, std::span<const StepSegment> segments,
                 std::span<const std::uint16_t> ids, std::span<const float> weights) override;

  /// By layer and expert.
  std::vector<std::vector<ExpertState>> states() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Layer {
    std::vector<ExpertState> experts;
    std::vector<unsigned char> is_present;
    Clock::time_point time;  // that the uses of the experts are of
  };

  static void age(Layer& layer, Clock::time_point now);

  const ExpertCache& cache_;
  mutable std::mutex mutex_;
  std::vector<Layer> layers_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_EXPERT_ACTIVITY_H_
