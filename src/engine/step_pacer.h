#ifndef FLASHMOE_ENGINE_STEP_PACER_H_
#define FLASHMOE_ENGINE_STEP_PACER_H_

#include <algorithm>
#include <cstddef>

namespace flashmoe {

/// Decides how many rows of prompts go into a step, so that sequences that are decoding keep
/// moving: half as many after a step that took too long, twice as many after a short one. Pure:
/// time is given to it.
class StepPacer {
 public:
  /// What a step with rows of a prompt may take while others decode. Shorter steps would read the
  /// same experts more often for one prompt: rows share them.
  static constexpr double kStepSeconds = 0.5;
  static constexpr std::size_t kRowsMin = 32;

  /// `rows_max`: the most rows of a step.
  explicit StepPacer(std::size_t rows_max)
      : rows_max_(rows_max), rows_(std::min(rows_max, kRowsMin)) {}

  /// Rows of prompts for the next step, in which `decoding` rows are taken: at least one, if there
  /// is room for any.
  std::size_t prompt_rows(std::size_t decoding) const {
    const std::size_t room = rows_max_ - decoding;
    return decoding == 0 ? room : std::min(room, rows_);
  }

  /// A step with `rows` rows of prompts beside decoding ones took `seconds`.
  void on_mixed_step(std::size_t rows, double seconds) {
    if (seconds > kStepSeconds) {
      rows_ = std::max(std::min(rows, rows_) / 2, std::min(rows_max_, kRowsMin));
    } else if (seconds < kStepSeconds / 2 && rows >= rows_) {
      rows_ = std::min(rows_ * 2, rows_max_);
    }
  }

 private:
  std::size_t rows_max_;
  std::size_t rows_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_STEP_PACER_H_
