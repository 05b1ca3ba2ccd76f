#include "model/model.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/portable_math.h"
#include "base/stopwatch.h"

namespace flashmoe {
namespace {

/// inv_freq_j = theta^(-2j / rotary_dim), rounded to float.
std::vector<float> inverse_frequencies(const AttentionConfig& attention) {
  std::vector<float> inv_freq(attention.rotary_dim / 2);
  for (std::size_t j = 0; j < inv_freq.size(); ++j) {
    const double exponent =
        -2.0 * static_cast<double>(j) / static_cast<double>(attention.rotary_dim);
    inv_freq[j] = static_cast<float>(portable::pow(attention.rope_theta, exponent));
  }
  return inv_freq;
}

}  // namespace

Result<std::unique_ptr<Model>> Model::create(ModelConfig config,
                                             std::unique_ptr<ModelWeights> weights,
                                             std::vector<ExpertLayout> layouts, Ops& ops,
                                             ExpertCache* experts, std::size_t rows_max) {
  FM_CHECK(layouts.size() == config.layers.size());
  FM_ASSIGN_OR_RETURN(Workspace workspace, Workspace::create(WorkspaceShape(config, rows_max)));
  return std::unique_ptr<Model>(new Model(std::move(config), std::move(weights), std::move(layouts),
                                          ops, experts, std::move(workspace)));
}

Model::Model(ModelConfig config, std::unique_ptr<ModelWeights> weights,
             std::vector<ExpertLayout> layouts, Ops& ops, ExpertCache* experts, Workspace workspace)
    : config_(std::move(config)),
      weights_(std::move(weights)),
      layouts_(std::move(layouts)),
      inv_freq_(inverse_frequencies(config_.attention)),
      ops_(ops),
      experts_(experts),
      workspace_(std::move(workspace)) {
  std::size_t attention_count = 0;
  std::size_t delta_count = 0;
  for (std::size_t i = 0; i < config_.layers.size(); ++i) {
    const LayerWeights& layer = weights_->layers[i];
    Layer& out = layers_.emplace_back();
    if (config_.layers[i].mixer == MixerKind::kFullAttention) {
      out.attention = std::make_unique<GatedAttention>(config_, layer.attention, attention_count++);
    } else {
      out.delta_net = std::make_unique<GatedDeltaNet>(config_, layer.delta_net, delta_count++);
    }
    if (config_.layers[i].is_moe) {
      out.moe = std::make_unique<MoeBlock>(config_, layer, layouts_[i],
                                           LayerId{static_cast<std::uint32_t>(i)}, moe_scratch_);
    }
  }
}

void Model::set_speculation(bool is_on) {
  const bool is_possible = experts_ != nullptr && config_.moe.num_experts_per_tok > 0;
  speculation_ = is_on && is_possible
                     ? std::make_unique<SpeculativeReader>(config_, *weights_, *experts_)
                     : nullptr;
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
      FM_CHECK(rows.ids[i] >= 0 && static_cast<std::size_t>(rows.ids[i]) < config_.vocab_size);
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

  const MatrixView<float> cos = workspace_.rope_cos.slice(0, rows);
  const MatrixView<float> sin = workspace_.rope_sin.slice(0, rows);
  ops_.set_stop(watch != nullptr ? watch->stop() : nullptr);
  ops_.rope_angles(positions_, inv_freq_, cos, sin);
  StepContext context{.ops = ops_,
                      .experts = experts_,
                      .step = step_++,
                      .rows = rows,
                      .segments = segments_,
                      .rope_cos = cos,
                      .rope_sin = sin,
                      .times = times_,
                      .routing_observer = routing_observer_,
                      .routing_source = routing_source_,
                      .misses = miss_handler_,
                      .watch = watch,
                      .layer_count = layers_.size()};
  // A source's choices have nothing to do with what the routers would say.
  if (routing_source_ == nullptr) context.speculation = speculation_.get();
  ++times_.step_count;
  Status status = run_layers(context, sinks);
  if (!status.ok() && speculation_ != nullptr) speculation_->abandon();
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

/// Leaves the final norm of the residual stream in workspace_.normed.
Status Model::run_layers(StepContext& context, const ForwardSinks& sinks) {
  const MatrixView<float> x = workspace_.x.slice(0, context.rows);
  const MatrixView<float> normed = workspace_.normed.slice(0, context.rows);
  ops_.embed(weights_->embed_tokens, ids_, x);
  FM_RETURN_IF_ERROR(context.check(0));
  if (sinks.on_hidden) sinks.on_hidden(0, x);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    context.layers_done = i;
    if (context.speculation != nullptr && i > 0 && layers_[i].moe) guess(i, context);
    FM_RETURN_IF_ERROR(run_layer(i, context));
    FM_RETURN_IF_ERROR(context.check(1));
    if (sinks.on_hidden && i + 1 < layers_.size()) sinks.on_hidden(i + 1, x);
  }
  ops_.rms_norm(x, weights_->final_norm.data(), config_.rms_norm_eps, normed);
  FM_RETURN_IF_ERROR(context.check(1));
  if (sinks.on_hidden) sinks.on_hidden(layers_.size(), normed);
  return Status();
}

void Model::guess(std::size_t index, StepContext& context) {
  Stopwatch watch;
  context.speculation->guess(ops_, workspace_, LayerId{static_cast<std::uint32_t>(index)},
                             workspace_.x.slice(0, context.rows));
  times_.guess_seconds += watch.lap();
}

// x = x + Mixer(RMSNorm(x));  x = x + MLP(RMSNorm(x))
Status Model::run_layer(std::size_t index, StepContext& context) {
  const LayerWeights& weights = weights_->layers[index];
  const Layer& layer = layers_[index];
  const MatrixView<float> x = workspace_.x.slice(0, context.rows);
  const MatrixView<float> normed = workspace_.normed.slice(0, context.rows);
  const MatrixView<float> y = workspace_.block_out.slice(0, context.rows);
  Activations& activations = workspace_.normed_activations;
  Stopwatch watch;

  ops_.rms_norm(x, weights.input_layernorm.data(), config_.rms_norm_eps, normed);
  ops_.prepare(normed, activations);
  if (layer.attention) {
    layer.attention->forward(context, workspace_, activations, y);
  } else {
    layer.delta_net->forward(context, workspace_, activations, y);
  }
  ops_.add(x, y);
  times_.mixer_seconds += watch.lap();

  ops_.rms_norm(x, weights.post_attention_layernorm.data(), config_.rms_norm_eps, normed);
  ops_.prepare(normed, activations);
  if (layer.moe) {
    FM_RETURN_IF_ERROR(layer.moe->forward(context, workspace_, activations, y));
  } else {
    run_dense_mlp(weights, context, y);
  }
  ops_.add(x, y);
  times_.mlp_seconds += watch.lap();
  return Status();
}

// y = W_down (silu(W_gate x) * (W_up x))
void Model::run_dense_mlp(const LayerWeights& weights, StepContext& context, MatrixView<float> y) {
  const Activations& x = workspace_.normed_activations;
  const MatrixView<float> gate(workspace_.wide_a.data(), context.rows, weights.mlp.gate_proj.rows);
  const MatrixView<float> up(workspace_.wide_b.data(), context.rows, weights.mlp.up_proj.rows);
  const LinearTask projections[] = {{.weight = weights.mlp.gate_proj, .x = &x, .y = gate},
                                    {.weight = weights.mlp.up_proj, .x = &x, .y = up}};
  ops_.linear(projections);
  ops_.swiglu(gate, up, gate);
  ops_.prepare(gate, workspace_.inner_activations);
  const LinearTask output = {
      .weight = weights.mlp.down_proj, .x = &workspace_.inner_activations, .y = y};
  ops_.linear({&output, 1});
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
        .weight = weights_->lm_head, .x = &workspace_.normed_activations, .y = logits};
    ops_.linear({&task, 1});
    FM_RETURN_IF_ERROR(context.check(1));
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
