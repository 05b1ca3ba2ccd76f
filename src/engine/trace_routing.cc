#include "engine/trace_routing.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "format/printable.h"

namespace flashmoe {
namespace {

Status check_fits(const NamedRoutingTrace& named, const std::string& spec, const ModelSpec& model) {
  const auto refuse = [&](std::string_view what, std::size_t has, std::size_t wants) {
    return error(StatusCode::kInvalidArgument,
                 "{}: routing trace {} has {} {}, the model {}; take a trace of such a model, or "
                 "make one with `flash-moe trace generate`",
                 spec, printable(named.name), has, what, wants);
  };
  const RoutingTrace& trace = named.trace;
  if (trace.experts_per_token() != model.moe().router.num_experts_per_tok) {
    return refuse("experts per token", trace.experts_per_token(),
                  model.moe().router.num_experts_per_tok);
  }
  for (const std::size_t count : trace.num_experts()) {
    const bool fits = trace.declares_num_experts() ? count == model.moe().router.num_experts
                                                   : count <= model.moe().router.num_experts;
    if (!fits) return refuse("experts in a layer", count, model.moe().router.num_experts);
  }
  return Status();
}

}  // namespace

Result<std::unique_ptr<TraceRouting>> TraceRouting::create(const std::string& spec,
                                                           const ModelSpec& model) {
  FM_ASSIGN_OR_RETURN(std::vector<NamedRoutingTrace> traces,
                      read_routing_traces(spec, /*all=*/false));
  for (const NamedRoutingTrace& trace : traces) {
    FM_RETURN_IF_ERROR(check_fits(trace, spec, model));
    if (trace.trace.layer_count() != traces.front().trace.layer_count()) {
      return error(StatusCode::kInvalidArgument, "{}: routing traces {} and {} differ in layers",
                   spec, printable(traces.front().name), printable(trace.name));
    }
  }
  std::unique_ptr<TraceRouting> routing(new TraceRouting(std::move(traces)));
  std::size_t moe_index = 0;
  for (const LayerSpec& layer : model.layers) {
    Place& place = routing->places_.emplace_back();
    if (layer.moe() == nullptr) continue;
    const std::size_t trace_count = routing->traces_.size();
    const std::size_t layer_count = routing->traces_.front().trace.layer_count();
    const std::size_t repetition = moe_index / layer_count;
    place.trace = &routing->traces_[repetition % trace_count].trace;
    place.layer = moe_index % layer_count;
    const std::span<const std::size_t> starts = place.trace->starts();
    place.first_token = starts[repetition / trace_count % starts.size()];
    ++moe_index;
  }
  return routing;
}

RoutingSource::Weights TraceRouting::choose(LayerId layer, std::span<const StepSegment> segments,
                                            std::span<std::uint16_t> ids,
                                            std::span<float> weights) {
  const Place& place = places_[layer.value];
  const RoutingTrace& trace = *place.trace;
  const std::size_t k = trace.experts_per_token();
  for (const StepSegment& segment : segments) {
    for (std::size_t row = segment.row_begin; row < segment.row_end; ++row) {
      const std::size_t position = segment.position + (row - segment.row_begin);
      const std::size_t token = (place.first_token + position) % trace.token_count();
      const std::span<const ExpertId> routed = trace.routed(place.layer, token);
      for (std::size_t i = 0; i < k; ++i) ids[row * k + i] = routed[i].value;
      if (trace.has_weights()) {
        std::ranges::copy(trace.weights(place.layer, token),
                          weights.begin() + static_cast<std::ptrdiff_t>(row * k));
      }
    }
  }
  return trace.has_weights() ? Weights::kGiven : Weights::kFromRouter;
}

Result<std::unique_ptr<TraceRecording>> TraceRecording::create(const std::filesystem::path& path,
                                                               const ModelSpec& model) {
  RoutingRecorderOptions options{.path = path,
                                 .experts_per_token = model.moe().router.num_experts_per_tok};
  std::vector<std::size_t> moe_indices;
  for (const LayerSpec& layer : model.layers) {
    moe_indices.push_back(options.num_experts.size());
    if (layer.moe() != nullptr) options.num_experts.push_back(model.moe().router.num_experts);
  }
  if (options.num_experts.empty()) {
    return error(StatusCode::kInvalidArgument,
                 "{}: nothing to record: no layer of the model has routed experts", path.string());
  }
  FM_ASSIGN_OR_RETURN(std::unique_ptr<RoutingRecorder> recorder,
                      RoutingRecorder::create(std::move(options)));
  return std::unique_ptr<TraceRecording>(
      new TraceRecording(std::move(recorder), std::move(moe_indices)));
}

void TraceRecording::on_routed(LayerId layer, std::span<const StepSegment> segments,
                               std::span<const std::uint16_t> ids, std::span<const float> weights) {
  const std::size_t moe_index = moe_indices_[layer.value];
  if (moe_index == 0) {
    starts_.clear();
    for (const StepSegment& segment : segments) {
      const bool goes_on = segment.sequence == last_sequence_ && segment.position == last_end_;
      if (!goes_on) starts_.push_back(segment.row_begin);
      last_sequence_ = segment.sequence;
      last_end_ = segment.position + (segment.row_end - segment.row_begin);
    }
    recorder_->begin_step(segments.back().row_end, starts_);
  }
  recorder_->record(moe_index, ids, weights);
}

}  // namespace flashmoe
