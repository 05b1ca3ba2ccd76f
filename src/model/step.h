#ifndef FLASHMOE_MODEL_STEP_H_
#define FLASHMOE_MODEL_STEP_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "experts/expert_cache.h"
#include "kernels/ops.h"
#include "model/routing.h"
#include "model/row_source.h"
#include "model/state/sequence_state.h"

namespace flashmoe {

class MissHandler;
class SpeculativeReader;

/// Which logits of its rows a sequence wants from a step.
enum class LogitsWanted : std::uint8_t { kNone, kLast, kAll };

/// The next tokens of one sequence, to be consumed in one step beside those of other sequences. The
/// same sequence must not appear twice in a step.
struct SequenceRows {
  SequenceState* sequence = nullptr;
  std::span<const std::int32_t> ids;
  LogitsWanted logits = LogitsWanted::kNone;
  bool is_generated = false;  // the ids were sampled by us; else they are of a prompt
};

/// Consecutive rows of a step that belong to one sequence, beginning at `position` of it.
struct StepSegment {
  SequenceState* sequence = nullptr;
  std::size_t row_begin = 0;
  std::size_t row_end = 0;
  std::size_t position = 0;
  bool is_generated = false;
};

/// Where the time of forward passes went, since the model was made.
struct StepTimes {
  std::uint64_t step_count = 0;
  double mixer_seconds = 0;         // with their norms
  double router_seconds = 0;        // and the shared expert's gate
  double mlp_seconds = 0;           // MLPs of all kinds with their norms; router and waits in it
  double output_seconds = 0;        // lm_head, and whoever looks at the logits
  double guess_seconds = 0;         // SpeculativeReader's
  double expert_bound_seconds = 0;  // of passes through MoE blocks, see OverlapMeter
};

/// Watches over a step while it is computed: whoever wants it may change its mind, and memory may
/// get short. Called by the thread that computes.
class StepWatch {
 public:
  virtual ~StepWatch() = default;
  /// Comes between two pieces of work, some milliseconds apart, when no expert is about to be
  /// leased: the expert cache's limit may change. `share`: how much of the step is done, from 0 to
  /// 1. False: the step is to be given up.
  virtual bool go_on(double share) = 0;
  /// Once true, the step is to be given up in the middle of a piece: go_on() is then false. May be
  /// null. The same throughout a step.
  virtual const std::atomic<bool>* stop() const = 0;
};

/// Cosines and sines of a rotary embedding for the rows of a step, [rows, rotary_dim / 2].
struct RopeAngles {
  MatrixView<float> cos;
  MatrixView<float> sin;
};

/// What the layers of one forward pass share.
struct StepContext {
  Ops& ops;
  ExpertCache* experts = nullptr;  // null for a model without MoE layers
  std::uint64_t step = 0;          // counts forward passes
  std::size_t rows = 0;
  std::size_t rows_max = 0;  // of any step
  std::span<const StepSegment> segments;
  std::span<const std::int32_t> ids;    // tokens of the rows
  RowSource* rows_of_tables = nullptr;  // null for a model without tables
  std::span<const RopeAngles> rope;     // by Network::ropes()
  StepTimes& times;
  RoutingObserver* routing_observer = nullptr;  // null: nobody wants to know
  RoutingSource* routing_source = nullptr;      // null: the routers decide
  MissHandler* misses = nullptr;                // null: they are read
  SpeculativeReader* speculation = nullptr;     // null: nothing is guessed
  StepWatch* watch = nullptr;                   // null: the step is computed to its end
  std::size_t blocks_done = 0;                  // mixers and feed-forwards
  std::size_t block_count = 1;

  /// To be asked before anything that was computed is acted upon, and between pieces of work;
  /// `share`: of the block that is being computed. Errors: kCancelled once the step is to be given
  /// up: ops may then have left anything behind.
  Status check(double share) const {
    if (watch == nullptr) return Status();
    const double done = static_cast<double>(blocks_done) + share;
    if (watch->go_on(done / static_cast<double>(block_count))) return Status();
    return Status(StatusCode::kCancelled, "the step was given up");
  }
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_STEP_H_
