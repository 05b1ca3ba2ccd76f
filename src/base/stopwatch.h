#ifndef FLASHMOE_BASE_STOPWATCH_H_
#define FLASHMOE_BASE_STOPWATCH_H_

#include <chrono>

namespace flashmoe {

/// Seconds between laps. A lap costs some 25 ns.
class Stopwatch {
 public:
  Stopwatch() : last_(Clock::now()) {}

  /// Seconds since the last lap, or since it was made.
  double lap() {
    const Clock::time_point now = Clock::now();
    const std::chrono::duration<double> elapsed = now - last_;
    last_ = now;
    return elapsed.count();
  }

  /// As lap(), but the lap goes on.
  double elapsed() const { return Stopwatch(*this).lap(); }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point last_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_BASE_STOPWATCH_H_
