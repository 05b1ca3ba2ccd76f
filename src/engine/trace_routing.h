#ifndef FLASHMOE_ENGINE_TRACE_ROUTING_H_
#define FLASHMOE_ENGINE_TRACE_ROUTING_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "experts/routing_recorder.h"
#include "experts/routing_trace_file.h"
#include "model/model_spec.h"
#include "model/routing.h"
#include "model/step.h"

namespace flashmoe {

/// Routing taken from traces: the token at position p of a sequence goes where token p of the trace
/// went, in every layer. A model with more layers than the traces repeats them: each repetition
/// takes the next trace, or the next sequence in it, so that no two layers that share a choice lie
/// in one repetition. Beyond its end a trace goes on from its beginning. docs/traces.md has the
/// whole rule.
class TraceRouting final : public RoutingSource {
 public:
  /// `spec` as in read_routing_traces. Errors: also kInvalidArgument, if the traces were not made
  /// by routers of this model's kind.
  static Result<std::unique_ptr<TraceRouting>> create(const std::string& spec,
                                                      const ModelSpec& model);

  Weights choose(LayerId layer, std::span<const StepSegment> segments, std::span<std::uint16_t> ids,
                 std::span<float> weights) override;

 private:
  struct Place {
    const RoutingTrace* trace = nullptr;  // null for a dense layer
    std::size_t layer = 0;
    std::size_t first_token = 0;
  };

  explicit TraceRouting(std::vector<NamedRoutingTrace> traces) : traces_(std::move(traces)) {}

  std::vector<NamedRoutingTrace> traces_;
  std::vector<Place> places_;  // by layer of the model
};

/// Passes what a model's routers choose to a RoutingRecorder.
class TraceRecording final : public RoutingObserver {
 public:
  /// Errors: those of RoutingRecorder::create; kInvalidArgument if the model routes nothing.
  static Result<std::unique_ptr<TraceRecording>> create(const std::filesystem::path& path,
                                                        const ModelSpec& model);

  void on_routed(LayerId layer, std::span<const StepSegment> segments,
                 std::span<const std::uint16_t> ids, std::span<const float> weights) override;
  Status finish() { return recorder_->finish(); }

 private:
  TraceRecording(std::unique_ptr<RoutingRecorder> recorder, std::vector<std::size_t> moe_indices)
      : recorder_(std::move(recorder)), moe_indices_(std::move(moe_indices)) {}

  std::unique_ptr<RoutingRecorder> recorder_;
  std::vector<std::size_t> moe_indices_;  // by layer of the model: its index among MoE layers
  const SequenceState* last_sequence_ = nullptr;
  std::size_t last_end_ = 0;  // the position after its last row
  std::vector<std::size_t> starts_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_TRACE_ROUTING_H_
