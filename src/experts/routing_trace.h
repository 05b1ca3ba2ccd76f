#ifndef FLASHMOE_EXPERTS_ROUTING_TRACE_H_
#define FLASHMOE_EXPERTS_ROUTING_TRACE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "experts/expert_id.h"

namespace flashmoe {

/// What a RoutingTrace is made from. Layers are those with routed experts, in the model's order: a
/// dense layer has no place in a trace.
struct RoutingTraceData {
  std::size_t layer_count = 0;
  std::size_t token_count = 0;
  std::size_t experts_per_token = 0;
  std::vector<ExpertId> ids;             // [layer, token, rank]: the most wanted first
  std::vector<float> weights;            // as ids, what each result is multiplied by; or empty
  std::vector<std::size_t> num_experts;  // of each layer; empty: unknown
  std::vector<std::size_t> starts;       // tokens that begin a sequence; ascending, the first is 0
  std::vector<std::size_t> switches;  // tokens where the subject changes; ascending, may be empty
};

/// Which experts the routers of a model chose, token by token: what a policy is judged by, and what
/// routing can be driven from (docs/traces.md). Immutable.
class RoutingTrace {
 public:
  /// Trusts nothing. Errors: kCorrupt, naming what is wrong and where: sizes that disagree, ids out
  /// of range or twice in one choice, weights that are negative or not finite, boundaries that do
  /// not ascend within the trace.
  static Result<RoutingTrace> create(RoutingTraceData data);

  std::size_t layer_count() const { return data_.layer_count; }
  std::size_t token_count() const { return data_.token_count; }
  std::size_t experts_per_token() const { return data_.experts_per_token; }

  /// Experts of each layer: as declared, or else just enough for the ids there are.
  std::span<const std::size_t> num_experts() const { return data_.num_experts; }
  bool declares_num_experts() const { return declares_num_experts_; }

  /// Tokens that begin a sequence from a fresh state; the first is 0.
  std::span<const std::size_t> starts() const { return data_.starts; }
  /// One past the last token of the sequence that begins with starts()[i].
  std::size_t sequence_end(std::size_t i) const {
    return i + 1 < data_.starts.size() ? data_.starts[i + 1] : data_.token_count;
  }
  /// Tokens where the subject changes within a sequence, where that is known.
  std::span<const std::size_t> switches() const { return data_.switches; }

  /// The same routing with other changes of subject. Errors: as create().
  Result<RoutingTrace> with_switches(std::vector<std::size_t> switches) const {
    RoutingTraceData data = data_;
    data.switches = std::move(switches);
    if (!declares_num_experts_) data.num_experts.clear();
    return create(std::move(data));
  }

  /// What the router of `layer` chose for `token`, the most wanted first.
  std::span<const ExpertId> routed(std::size_t layer, std::size_t token) const {
    return std::span(data_.ids).subspan(at(layer, token), data_.experts_per_token);
  }
  bool has_weights() const { return !data_.weights.empty(); }
  /// The weights of routed(layer, token). Only if has_weights().
  std::span<const float> weights(std::size_t layer, std::size_t token) const {
    return std::span(data_.weights).subspan(at(layer, token), data_.experts_per_token);
  }

 private:
  RoutingTrace(RoutingTraceData data, bool declares_num_experts)
      : data_(std::move(data)), declares_num_experts_(declares_num_experts) {}
  std::size_t at(std::size_t layer, std::size_t token) const {
    return (layer * data_.token_count + token) * data_.experts_per_token;
  }

  RoutingTraceData data_;
  bool declares_num_experts_ = false;
};

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_ROUTING_TRACE_H_
