#include "model/model.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/stopwatch.h"

namespace flashmoe {

Result<std::unique_ptr<Model>> Model::create(std::unique_ptr<Network> network, Ops& ops,
                                             ExpertCache* experts, RowSource* tables,
                                             std::size_t rows_max) {
  FM_ASSIGN_OR_RETURN(Workspace workspace, Workspace::create(*network, rows_max));
  return std::unique_ptr<Model>(
      new Model(std::move(network), ops, experts, tables, std::move(workspace)));
}

Model::Model(std::unique_ptr<Network> network, Ops& ops, ExpertCache* experts, RowSource* tables,
             Workspace workspace)
    : network_(std::move(network)),
      ops_(ops),
      experts_(experts),
      tables_(tables),
      workspace_(std::move(workspace)) {
  for (const RopeSpec& rope : network_->ropes()) inv_freq_.push_back(inverse_frequencies(rope));
}

void Model::set_speculation(bool is_on) {
  const bool is_possible = experts_ != nullptr && spec().moe_layer_count() > 0;
  speculation_ =
      is_on && is_possible ? std::make_unique<SpeculativeReader>(*network_, *experts_) : nullptr;
}

Status Model::reserve(std::span<const SequenceRows> batch) {
  segments_.clear();
  ids_.clear();
  positions_.clear();
  for (const SequenceRows& rows : batch) {
    SequenceState& sequence = *rows.sequence;
    FM_CHECK(!sequence.broken_);
    FM_RETURN_IF_ERROR(
        sequence.kv_.reserve(sequence.position_, sequence.position_ + rows.ids.size()));
    segments_.push_back({&sequence, ids_.size(), ids_.size() + rows.ids.size(), sequence.position_,
                         rows.is_generated});
    for (std::size_t i = 0; i < rows.ids.size(); ++i) {
      FM_CHECK(rows.ids[i] >= 0 && static_cast<std::size_t>(rows.ids[i]) < spec().vocab_size);
      ids_.push_back(rows.ids[i]);
      positions_.push_back(static_cast<std::uint32_t>(sequence.position_ + i));
    }
  }
  FM_CHECK(ids_.size() <= rows_max());
  return Status();
}

Status Model::forward(std::span<const SequenceRows> batch, const ForwardSinks& sinks,
                      StepWatch* watch) {
  FM_RETURN_IF_ERROR(reserve(batch));
  const std::size_t rows = ids_.size();
  if (rows == 0) return Status();

  ops_.set_stop(watch != nullptr ? watch->stop() : nullptr);
  rope_.clear();
  for (std::size_t i = 0; i < inv_freq_.size(); ++i) {
    rope_.push_back({workspace_.rope[i].cos.slice(0, rows), workspace_.rope[i].sin.slice(0, rows)});
    ops_.rope_angles(positions_, inv_freq_[i], network_->ropes()[i].attention_factor, rope_[i].cos,
                     rope_[i].sin);
  }
  StepContext context{.ops = ops_,
                      .experts = experts_,
                      .step = step_++,
                      .rows = rows,
                      .rows_max = rows_max(),
                      .segments = segments_,
                      .ids = ids_,
                      .rows_of_tables = tables_,
                      .rope = rope_,
                      .times = times_,
                      .routing_observer = routing_observer_,
                      .routing_source = routing_source_,
                      .misses = miss_handler_,
                      .watch = watch,
                      .block_count = 2 * network_->layers().size()};
  // A source's choices have nothing to do with what the routers would say.
  if (routing_source_ == nullptr) context.speculation = speculation_.get();
  ++times_.step_count;
  Status status = run_layers(context, sinks);
  if (!status.ok() && speculation_ != nullptr) speculation_->abandon();
  if (!status.ok() && experts_ != nullptr) experts_->rest();
  if (status.ok()) {
    Stopwatch output;
    status = compute_logits(context, batch, sinks);
    times_.output_seconds += output.lap();
  }
  ops_.set_stop(nullptr);
  for (const StepSegment& segment : segments_) {
    segment.sequence->broken_ = !status.ok();
    segment.sequence->position_ += segment.row_end - segment.row_begin;
  }
  return status;
}

/// Every stream begins as the embedding.
void Model::embed() {
  const std::size_t hidden = spec().hidden_size;
  const MatrixView<float> x = workspace_.x.slice(0, ids_.size());
  const MatrixView<float> first(x.data, x.rows, hidden, x.stride);
  ops_.embed(network_->embed_tokens(), ids_, first);
  if (spec().embedding_scale != 1) ops_.scale(first, spec().embedding_scale);
  for (std::size_t r = 0; r < x.rows; ++r) {
    for (std::size_t s = 1; s < spec().streams(); ++s) {
      std::copy_n(x.row(r), hidden, x.row(r) + s * hidden);
    }
  }
}

/// Leaves what lm_head gets of the residual stream in workspace_.normed.
Status Model::run_layers(StepContext& context, const ForwardSinks& sinks) {
  const MatrixView<float> x = workspace_.x.slice(0, context.rows);
  const MatrixView<float> normed = workspace_.normed.slice(0, context.rows);
  const std::span<Network::Layer> layers = network_->layers();
  embed();
  FM_RETURN_IF_ERROR(context.check(0));
  if (sinks.on_hidden) sinks.on_hidden(0, x);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (context.speculation != nullptr && i > 0 && layers[i].feed_forward->router() != nullptr)
      guess(i, context);
    FM_RETURN_IF_ERROR(run_layer(layers[i], context));
    FM_RETURN_IF_ERROR(context.check(0));
    if (sinks.on_hidden && i + 1 < layers.size()) sinks.on_hidden(i + 1, x);
  }
  Scratch scratch = workspace_.scratch();
  network_->final_connection().take(ops_, scratch, x, normed,
                                    workspace_.carried.slice(0, context.rows));
  FM_RETURN_IF_ERROR(context.check(0));
  if (sinks.on_hidden) sinks.on_hidden(layers.size(), normed);
  return Status();
}

void Model::guess(std::size_t index, StepContext& context) {
  Stopwatch watch;
  context.speculation->guess(ops_, workspace_, LayerId{static_cast<std::uint32_t>(index)},
                             workspace_.x.slice(0, context.rows));
  times_.guess_seconds += watch.lap();
}

//   x = x + Mixer(RMSNorm(x));  x = x + FeedForward(RMSNorm(x))
//
// or as the layer's connections have it; before that what it embeds is added to x, and at the end x
// = scale x, where it has these.
Status Model::run_layer(Network::Layer& layer, StepContext& context) {
  const MatrixView<float> x = workspace_.x.slice(0, context.rows);
  const MatrixView<float> normed = workspace_.normed.slice(0, context.rows);
  const MatrixView<float> y = workspace_.block_out.slice(0, context.rows);
  Activations& activations = workspace_.normed_activations;
  Stopwatch watch;

  const MatrixView<float> carried = workspace_.carried.slice(0, context.rows);
  if (layer.embedding != nullptr) {
    Scratch scratch = workspace_.scratch();
    FM_RETURN_IF_ERROR(layer.embedding->forward(context, scratch, x));
  }
  Scratch scratch = workspace_.scratch();
  layer.mixer_connection->take(ops_, scratch, x, normed, carried);
  ops_.prepare(normed, activations);
  Scratch mixer_scratch = workspace_.scratch();
  FM_RETURN_IF_ERROR(layer.mixer->forward(context, mixer_scratch, activations, y));
  layer.mixer_connection->give(ops_, y, carried, x);
  ++context.blocks_done;
  times_.mixer_seconds += watch.lap();

  scratch = workspace_.scratch();
  layer.feed_forward_connection->take(ops_, scratch, x, normed, carried);
  ops_.prepare(normed, activations);
  Scratch mlp_scratch = workspace_.scratch();
  FM_RETURN_IF_ERROR(layer.feed_forward->forward(context, mlp_scratch, {x, activations}, y));
  layer.feed_forward_connection->give(ops_, y, carried, x);
  if (!layer.scale.empty()) ops_.scale(x, layer.scale.front());
  ++context.blocks_done;
  times_.mlp_seconds += watch.lap();
  return Status();
}

/// Rows of several sequences are gathered, so that lm_head is traversed once for up to kLogitsRows
/// of them.
Status Model::compute_logits(const StepContext& context, std::span<const SequenceRows> batch,
                             const ForwardSinks& sinks) {
  wanted_rows_.clear();
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const StepSegment& segment = segments_[i];
    if (batch[i].logits == LogitsWanted::kNone || segment.row_begin == segment.row_end) continue;
    std::size_t row =
        batch[i].logits == LogitsWanted::kLast ? segment.row_end - 1 : segment.row_begin;
    for (; row < segment.row_end; ++row) wanted_rows_.push_back(row);
  }
  for (std::size_t begin = 0; begin < wanted_rows_.size(); begin += kLogitsRows) {
    const std::size_t count = std::min(kLogitsRows, wanted_rows_.size() - begin);
    const MatrixView<float> gathered = workspace_.block_out.slice(0, count);
    for (std::size_t i = 0; i < count; ++i) {
      const float* const from = workspace_.normed.row(wanted_rows_[begin + i]);
      std::copy(from, from + gathered.cols, gathered.row(i));
    }
    ops_.prepare(gathered, workspace_.normed_activations);
    const MatrixView<float> logits = workspace_.logits.slice(0, count);
    const LinearTask task = {
        .weight = network_->lm_head(), .x = &workspace_.normed_activations, .y = logits};
    ops_.linear({&task, 1});
    if (spec().final_logit_softcapping != 0) {
      ops_.soft_cap(logits, spec().final_logit_softcapping);
    }
    FM_RETURN_IF_ERROR(context.check(0));
    // Sinks hear of consecutive rows together.
    for (std::size_t first = 0; first < count;) {
      std::size_t next = first + 1;
      while (next < count && wanted_rows_[begin + next] == wanted_rows_[begin + next - 1] + 1) {
        ++next;
      }
      sinks.on_logits(wanted_rows_[begin + first], logits.slice(first, next - first));
      first = next;
    }
  }
  return Status();
}

}  // namespace flashmoe
