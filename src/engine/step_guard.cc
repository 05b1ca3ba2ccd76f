#include "engine/step_guard.h"

namespace flashmoe {

bool StepGuard::go_on(double share) {
  const Clock::time_point now = Clock::now();
  if (pressure_ != nullptr) pressure_->look(now);
  if (is_given_up_) return false;
  if (wishes_.on_progress && !wishes_.on_progress(share)) is_given_up_ = true;
  if (wishes_.cancel != nullptr && wishes_.cancel->load(std::memory_order_relaxed)) {
    if (!cancelled_at_) cancelled_at_ = now;
    if (now - *cancelled_at_ >= wishes_.patience) is_given_up_ = true;
  }
  return !is_given_up_;
}

}  // namespace flashmoe
