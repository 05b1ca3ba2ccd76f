#include "model/layers/indexer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "model/step.h"

namespace flashmoe {
namespace {

/// Rows that search at a time.
constexpr std::size_t kSearchRowsMax = 64;

}  // namespace

Indexer::Buffers::Buffers(const IndexerSpec& spec, const RopeSpec& rope, std::size_t rows,
                          Scratch& scratch)
    : batch(std::min(rows, kSearchRowsMax)),
      queries(scratch.matrix(rows, spec.num_heads * spec.head_dim)),
      keys(scratch.matrix(rows, spec.head_dim)),
      run_keys(scratch.matrix(rows, spec.head_dim)),
      cos(scratch.matrix(rows, rope.rotary_dim / 2)),
      sin(scratch.matrix(rows, rope.rotary_dim / 2)),
      chosen(scratch.matrix(rows, spec.runs_kept() + 1)),
      room(scratch.matrix(batch, 2 * spec.runs_kept())) {}

Indexer::Indexer(const IndexerSpec& spec, const RopeSpec& rope, std::size_t hidden_size,
                 float rms_norm_eps, std::size_t layer, std::size_t rope_index)
    : spec_(spec),
      rope_(rope),
      hidden_(hidden_size),
      rms_norm_eps_(rms_norm_eps),
      layer_(layer),
      rope_index_(rope_index),
      inv_freq_(inverse_frequencies(rope)),
      head_weights_(spec.num_heads, 1.0f / std::sqrt(static_cast<float>(spec.head_dim))) {}

std::size_t Indexer::position_bytes() const {
  return (fixed_bytes() + spec_.compress_ratio - 1) / spec_.compress_ratio;
}

Status Indexer::declare(LayerTensors& tensors) {
  FM_RETURN_IF_ERROR(tensors.matrix(TensorId::kIndexQkProj, (spec_.num_heads + 1) * spec_.head_dim,
                                    hidden_, &qk_proj_));
  FM_RETURN_IF_ERROR(tensors.vector(TensorId::kIndexQNorm, spec_.head_dim, &q_norm_));
  return tensors.vector(TensorId::kIndexKNorm, spec_.head_dim, &k_norm_);
}

// [q_1 ... q_n, k] = W x;  q_h = rope(RMSNorm(q_h))
// key of a run = rope(RMSNorm(mean of its positions' k)), rotated as its first position
// score of a whole run = sum_h max(0, q_h . key) / sqrt(head_dim)
// A row attends to the runs_kept best of the whole runs that it sees, ties going to the earlier,
// and to what is left behind the last of them.
void Indexer::choose(StepContext& context, const Activations& x, const Buffers& b) {
  Ops& ops = context.ops;
  const std::size_t q_rows = spec_.num_heads * spec_.head_dim;
  const LinearTask projections[] = {
      {.weight = qk_proj_.row_range(0, q_rows), .x = &x, .y = b.queries},
      {.weight = qk_proj_.row_range(q_rows, spec_.head_dim), .x = &x, .y = b.keys}};
  ops.linear(projections);
  const MatrixView<float> heads(b.queries.data, context.rows * spec_.num_heads, spec_.head_dim);
  ops.rms_norm(heads, q_norm_.data(), rms_norm_eps_, heads);
  const RopeAngles& angles = context.rope[rope_index_];
  ops.rope(heads, spec_.num_heads, angles.cos, angles.sin);
  store_keys(context, b);
  search(context, b);
}

/// Adds up the keys of runs, position by position, and keeps those of the runs that end here.
void Indexer::store_keys(StepContext& context, const Buffers& b) {
  const std::size_t ratio = spec_.compress_ratio;
  const std::size_t head_dim = spec_.head_dim;
  run_positions_.clear();
  run_places_.clear();
  for (const StepSegment& segment : context.segments) {
    float* const sum = segment.sequence->fixed_state(layer_);
    void* const* const blocks = segment.sequence->kv().blocks(layer_, kIndexKeys);
    for (std::size_t r = segment.row_begin; r < segment.row_end; ++r) {
      const std::size_t position = segment.position + (r - segment.row_begin);
      const float* const key = b.keys.row(r);
      if (position % ratio == 0) {
        std::memcpy(sum, key, fixed_bytes());
      } else {
        for (std::size_t d = 0; d < head_dim; ++d) sum[d] += key[d];
      }
      if (position % ratio != ratio - 1) continue;
      float* const mean = b.run_keys.row(run_positions_.size());
      for (std::size_t d = 0; d < head_dim; ++d) mean[d] = sum[d] / static_cast<float>(ratio);
      const std::size_t run = position / ratio;
      run_positions_.push_back(static_cast<std::uint32_t>(run * ratio));
      run_places_.push_back(static_cast<float*>(blocks[run / keys_per_block()]) +
                            run % keys_per_block() * head_dim);
    }
  }
  const std::size_t count = run_positions_.size();
  if (count == 0) return;
  const MatrixView<float> keys = b.run_keys.slice(0, count);
  const MatrixView<float> cos = b.cos.slice(0, count);
  const MatrixView<float> sin = b.sin.slice(0, count);
  context.ops.rms_norm(keys, k_norm_.data(), rms_norm_eps_, keys);
  context.ops.rope_angles(run_positions_, inv_freq_, rope_.attention_factor, cos, sin);
  context.ops.rope(keys, 1, cos, sin);
  for (std::size_t i = 0; i < count; ++i) {
    std::memcpy(run_places_[i], keys.row(i), fixed_bytes());
  }
}

void Indexer::search(StepContext& context, const Buffers& b) {
  const auto run_searches = [&] {
    context.ops.choose_keys({.num_heads = spec_.num_heads,
                             .head_dim = spec_.head_dim,
                             .keys_per_block = keys_per_block(),
                             .k = spec_.runs_kept(),
                             .head_weights = head_weights_.data()},
                            searches_);
    searches_.clear();
  };
  searches_.clear();
  for (const StepSegment& segment : context.segments) {
    const void* const* const blocks = segment.sequence->kv().blocks(layer_, kIndexKeys);
    for (std::size_t r = segment.row_begin; r < segment.row_end; ++r) {
      const std::size_t position = segment.position + (r - segment.row_begin);
      if (!must_choose(position)) continue;
      const std::size_t run_count = (position + 1) / spec_.compress_ratio;
      searches_.push_back({.q = b.queries.row(r),
                           .key_blocks = blocks,
                           .key_count = run_count,
                           .chosen = chosen(b, r),
                           .room = reinterpret_cast<std::uint64_t*>(b.room.row(searches_.size()))});
      chosen(b, r)[spec_.runs_kept()] = static_cast<std::uint32_t>(run_count);
      if (searches_.size() == b.batch) run_searches();
    }
  }
  if (!searches_.empty()) run_searches();
}

std::span<const std::uint32_t> Indexer::runs(const Buffers& buffers, std::size_t row,
                                             std::size_t position) const {
  if (!must_choose(position)) return {};
  const bool has_tail = (position + 1) % spec_.compress_ratio != 0;
  return {chosen(buffers, row), spec_.runs_kept() + (has_tail ? 1 : 0)};
}

}  // namespace flashmoe
