#ifndef FLASHMOE_MODEL_MODEL_H_
#define FLASHMOE_MODEL_MODEL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "experts/expert_cache.h"
#include "kernels/ops.h"
#include "model/miss_handler.h"
#include "model/model_spec.h"
#include "model/network.h"
#include "model/row_source.h"
#include "model/speculative_reader.h"
#include "model/step.h"
#include "model/workspace.h"

namespace flashmoe {

/// Receives what a forward pass computes. The views are valid during the call only.
struct ForwardSinks {
  /// Logits [n, vocab] of consecutive wanted rows; `row` is the first one's index in the step.
  std::function<void(std::size_t row, MatrixView<const float> logits)> on_logits;
  /// The residual stream [rows, streams * hidden]: index 0 after the embedding, then after each
  /// layer, the last one's as lm_head gets it: [rows, hidden]. Null: not wanted.
  std::function<void(std::size_t index, MatrixView<const float> hidden)> on_hidden;
};

/// Computes a network step by step. Routed experts come through the ExpertCache. Threads: one
/// forward pass at a time.
class Model {
 public:
  /// `network` has its weights and its experts' layouts. `experts` may be null if no layer is MoE,
  /// `tables` if it has none that stay on disk. `ops`, `experts` and `tables` must outlive the
  /// model. `rows_max`: the most rows of a step.
  static Result<std::unique_ptr<Model>> create(std::unique_ptr<Network> network, Ops& ops,
                                               ExpertCache* experts, RowSource* tables,
                                               std::size_t rows_max);

  const ModelSpec& spec() const { return network_->spec(); }
  /// Of sequences that this model is to compute.
  const StateLayout& state_layout() const { return network_->state_layout(); }
  std::size_t rows_max() const { return workspace_.rows_max(); }
  const StepTimes& times() const { return times_; }

  /// From the next forward pass on: who hears what the routers choose, and who decides in their
  /// place. Null: nobody. Both must outlive their use.
  void set_routing(RoutingObserver* observer, RoutingSource* source) {
    routing_observer_ = observer;
    routing_source_ = source;
  }

  /// From the next forward pass on: who answers for experts that are not in memory, rather than
  /// the disk. Null: nobody. Must outlive its use.
  void set_miss_handler(MissHandler* handler) { miss_handler_ = handler; }

  /// Whether layers' experts are guessed and read ahead, where that pays (SpeculativeReader), from
  /// the next forward pass on; not at first.
  void set_speculation(bool is_on);

  /// Consumes the rows of `batch` (at most rows_max() in all) and advances its sequences. Ids must
  /// be below vocab_size. What a sequence's rows give does not depend on the other sequences, nor
  /// on how its tokens were cut into steps. Errors: those of the expert cache and of memory for the
  /// KV cache; kCancelled where `watch`, which may be null, gives the step up. After a failure the
  /// sequences of the batch are broken, except when nothing had been changed yet (no memory for the
  /// KV cache: kIo).
  Status forward(std::span<const SequenceRows> batch, const ForwardSinks& sinks,
                 StepWatch* watch = nullptr);

 private:
  Model(std::unique_ptr<Network> network, Ops& ops, ExpertCache* experts, RowSource* tables,
        Workspace workspace);

  Status reserve(std::span<const SequenceRows> batch);
  void embed();
  Status run_layers(StepContext& context, const ForwardSinks& sinks);
  Status run_layer(Network::Layer& layer, StepContext& context);
  void guess(std::size_t index, StepContext& context);
  Status compute_logits(const StepContext& context, std::span<const SequenceRows> batch,
                        const ForwardSinks& sinks);

  std::unique_ptr<Network> network_;
  std::vector<std::vector<float>> inv_freq_;  // of each of the network's ropes
  Ops& ops_;
  ExpertCache* experts_;
  RowSource* tables_;
  Workspace workspace_;
  std::unique_ptr<SpeculativeReader> speculation_;  // null: off
  std::uint64_t step_ = 0;
  RoutingObserver* routing_observer_ = nullptr;
  RoutingSource* routing_source_ = nullptr;
  MissHandler* miss_handler_ = nullptr;
  StepTimes times_;
  std::vector<StepSegment> segments_;
  std::vector<std::int32_t> ids_;
  std::vector<std::uint32_t> positions_;
  std::vector<RopeAngles> rope_;
  std::vector<std::size_t> wanted_rows_;  // of the step, whose logits somebody wants
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_MODEL_H_
