#ifndef FLASHMOE_MODEL_OVERLAP_METER_H_
#define FLASHMOE_MODEL_OVERLAP_METER_H_

#include <algorithm>
#include <chrono>

namespace flashmoe {

/// What reading and computing took in one pass of a MoE block, and what the two could not have gone
/// below: experts cannot be known before the router has spoken, and the one that arrives last is
/// computed when nothing is left to read behind it.
class OverlapMeter {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  /// The block's experts are asked for at `now`. Forgets the pass before.
  void begin(TimePoint now) {
    *this = OverlapMeter();
    begin_ = now;
  }
  /// Experts were computed.
  void computed(TimePoint from, TimePoint to) {
    last_ = seconds(from, to);
    computing_ += last_;
  }
  /// The last of the experts that had to be waited for, so far, was seen to have arrived.
  void arrived(TimePoint now) { reading_ = seconds(begin_, now); }

  /// From begin() to the last arrival; 0 where everything was there.
  double reading_seconds() const { return reading_; }
  double computing_seconds() const { return computing_; }
  /// The dependency bound: the longer of reading and what can be computed meanwhile, then the last
  /// expert. Where nothing was read, the computation.
  double bound_seconds() const {
    return reading_ == 0 ? computing_ : std::max(computing_ - last_, reading_) + last_;
  }

 private:
  static double seconds(TimePoint from, TimePoint to) {
    return std::chrono::duration<double>(to - from).count();
  }

  TimePoint begin_;
  double reading_ = 0;
  double computing_ = 0;
  double last_ = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_OVERLAP_METER_H_
