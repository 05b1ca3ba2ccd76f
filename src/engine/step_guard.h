#ifndef FLASHMOE_ENGINE_STEP_GUARD_H_
#define FLASHMOE_ENGINE_STEP_GUARD_H_

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <utility>

#include "engine/pressure_watch.h"
#include "model/step.h"

namespace flashmoe {

/// What whoever asks for a step wants to hear of it, and to say.
struct StepWishes {
  /// Once true, and until the step has ended, the step is to be given up. May be null.
  const std::atomic<bool>* cancel = nullptr;
  /// The step may go on for so long after that: where it is likely to be over by then, nothing is
  /// lost. 0: it is given up at once, in the middle of whatever is computed.
  std::chrono::milliseconds patience{0};
  /// Hears how much of the step is done, from 0 to 1. False gives the step up. May be null.
  std::function<bool(double share)> on_progress;
};

/// The StepWatch of one step: hears `wishes`, and lets the expert cache follow the memory that
/// there is, since with much of it a step can take many seconds.
class StepGuard final : public StepWatch {
 public:
  using Clock = std::chrono::steady_clock;

  /// `pressure` may be null.
  StepGuard(StepWishes wishes, PressureWatch* pressure)
      : wishes_(std::move(wishes)), pressure_(pressure) {}

  bool go_on(double share) override;
  const std::atomic<bool>* stop() const override {
    return wishes_.patience == std::chrono::milliseconds(0) ? wishes_.cancel : nullptr;
  }

 private:
  StepWishes wishes_;
  PressureWatch* pressure_;
  std::optional<Clock::time_point> cancelled_at_;  // when it was noticed
  bool is_given_up_ = false;
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_STEP_GUARD_H_
