#include "model/layers/attention.h"

#include <cmath>

#include "kernels/kv_rows.h"
#include "model/layers/bias.h"
#include "model/step.h"

namespace flashmoe {
namespace {

// The parts of a position's state.
constexpr std::size_t kKeys = 0;
constexpr std::size_t kValues = 1;

}  // namespace

struct Attention::Buffers {
  Buffers(const AttentionSpec& spec, std::size_t query_stride, std::size_t rows, Scratch& scratch)
      : query_gate(scratch.matrix(rows, spec.num_heads * query_stride)),
        keys(scratch.matrix(rows, spec.kv_size())),
        values(scratch.matrix(rows, spec.kv_size())),
        attended(scratch.matrix(rows, spec.query_size())),
        inner(scratch.activations(rows, spec.query_size())) {
    if (spec.indexer) indexer.emplace(*spec.indexer, spec.rope, rows, scratch);
  }
  MatrixView<float> query_gate;
  MatrixView<float> keys;
  MatrixView<float> values;
  MatrixView<float> attended;
  Activations* inner;
  std::optional<Indexer::Buffers> indexer;
};

Status Attention::declare(LayerTensors& tensors) {
  const std::size_t q_rows = spec_.num_heads * query_stride();
  const std::size_t kv_rows = spec_.kv_size();
  FM_RETURN_IF_ERROR(tensors.matrix(TensorId::kQProj, q_rows, hidden_, &q_proj_));
  FM_RETURN_IF_ERROR(tensors.matrix(TensorId::kKProj, kv_rows, hidden_, &k_proj_));
  if (!spec_.keys_are_values) {
    FM_RETURN_IF_ERROR(tensors.matrix(TensorId::kVProj, kv_rows, hidden_, &v_proj_));
  }
  FM_RETURN_IF_ERROR(tensors.matrix(TensorId::kOProj, hidden_, spec_.query_size(), &o_proj_));
  if (spec_.has_qkv_bias) {
    FM_RETURN_IF_ERROR(tensors.bias(TensorId::kQProj, q_rows, &q_bias_));
    FM_RETURN_IF_ERROR(tensors.bias(TensorId::kKProj, kv_rows, &k_bias_));
    if (!spec_.keys_are_values) {
      FM_RETURN_IF_ERROR(tensors.bias(TensorId::kVProj, kv_rows, &v_bias_));
    }
  }
  if (spec_.has_output_bias) {
    FM_RETURN_IF_ERROR(tensors.bias(TensorId::kOProj, hidden_, &o_bias_));
  }
  if (indexer_) FM_RETURN_IF_ERROR(indexer_->declare(tensors));
  is_interleaved_ = tensors.stored_as(TensorId::kQProj) == StoredAs::kInterleavedPairs;
  if (spec_.has_sinks) {
    FM_RETURN_IF_ERROR(tensors.vector(TensorId::kSinks, spec_.num_heads, &sinks_));
  }
  if (spec_.qk_norm == QkNorm::kNone) return Status();
  const bool is_whole = spec_.qk_norm == QkNorm::kWhole;
  FM_RETURN_IF_ERROR(
      tensors.vector(TensorId::kQNorm, is_whole ? spec_.query_size() : spec_.head_dim, &q_norm_));
  return tensors.vector(TensorId::kKNorm, is_whole ? kv_rows : spec_.head_dim, &k_norm_);
}

StateNeeds Attention::state() const {
  const std::size_t bytes = spec_.num_kv_heads * kv_row_bytes(precision_, spec_.head_dim);
  StateNeeds needs = {.position_bytes = {bytes, bytes}, .window = spec_.window};
  if (indexer_) {
    needs.position_bytes[Indexer::kIndexKeys] = indexer_->position_bytes();
    needs.fixed_bytes = indexer_->fixed_bytes();
  }
  return needs;
}

ScratchSize Attention::scratch_size(std::size_t rows) const {
  Scratch scratch;
  Buffers(spec_, query_stride(), rows, scratch);
  return scratch.size();
}

//   [q, gate] = W_q x (+ b_q);  k = W_k x (+ b_k);  v = W_v x (+ b_v)   q and gate: head by head
//   v = RMSNorm(v), or RMSNorm(k)
//   q = rope(RMSNorm(q));  k = rope(RMSNorm(k))       where the family has these norms and the gate
//   y = W_o (softmax(scale q k^T) v * sigmoid(gate)) (+ b_o)     with a sink beside the scores,
//                                                                and over what an indexer chooses
Status Attention::forward(StepContext& context, Scratch& scratch, const Activations& x,
                          MatrixView<float> y) {
  Ops& ops = context.ops;
  const std::size_t rows = context.rows;
  const std::size_t head_dim = spec_.head_dim;
  const Buffers buffers(spec_, query_stride(), rows, scratch);

  const LinearTask projections[] = {{.weight = q_proj_, .x = &x, .y = buffers.query_gate},
                                    {.weight = k_proj_, .x = &x, .y = buffers.keys},
                                    {.weight = v_proj_, .x = &x, .y = buffers.values}};
  ops.linear(std::span(projections).first(spec_.keys_are_values ? 2 : 3));
  FM_RETURN_IF_ERROR(context.check(0.4));
  add_bias(ops, q_bias_, buffers.query_gate);
  add_bias(ops, k_bias_, buffers.keys);
  add_bias(ops, v_bias_, buffers.values);

  const MatrixView<float> q_heads(buffers.query_gate.data, rows * spec_.num_heads, head_dim,
                                  query_stride());
  const MatrixView<float> k_heads(buffers.keys.data, rows * spec_.num_kv_heads, head_dim);
  if (spec_.has_value_norm) {
    const MatrixView<float> v_heads(buffers.values.data, k_heads.rows, head_dim);
    ops.rms_norm(spec_.keys_are_values ? k_heads : v_heads, v_norm_.data(), rms_norm_eps_, v_heads);
  }
  if (spec_.qk_norm == QkNorm::kHeads) {
    ops.rms_norm(q_heads, q_norm_.data(), rms_norm_eps_, q_heads);
    ops.rms_norm(k_heads, k_norm_.data(), rms_norm_eps_, k_heads);
  } else if (spec_.qk_norm == QkNorm::kWhole) {
    ops.rms_norm(buffers.query_gate, q_norm_.data(), rms_norm_eps_, buffers.query_gate);
    ops.rms_norm(buffers.keys, k_norm_.data(), rms_norm_eps_, buffers.keys);
  }
  if (is_interleaved_) {
    for (const MatrixView<float>& heads : {q_heads, k_heads}) {
      for (std::size_t i = 0; i < heads.rows; ++i) {
        deinterleave_pairs(heads.row(i), head_dim, heads.row(i));
      }
    }
  }
  const RopeAngles& angles = context.rope[rope_];
  ops.rope(q_heads, spec_.num_heads, angles.cos, angles.sin);
  ops.rope(k_heads, spec_.num_kv_heads, angles.cos, angles.sin);

  if (indexer_) {
    FM_RETURN_IF_ERROR(context.check(0.5));
    indexer_->choose(context, x, *buffers.indexer);
    FM_RETURN_IF_ERROR(context.check(0.6));  // what it chose says where to look
  }
  attend(context, buffers);
  FM_RETURN_IF_ERROR(context.check(0.8));
  if (spec_.has_output_gate) {
    const MatrixView<float> gate_heads(buffers.query_gate.data + head_dim, rows * spec_.num_heads,
                                       head_dim, query_stride());
    ops.sigmoid_gate({buffers.attended.data, rows * spec_.num_heads, head_dim}, gate_heads);
  }
  ops.prepare(buffers.attended, *buffers.inner);
  const LinearTask output = {.weight = o_proj_, .x = buffers.inner, .y = y};
  ops.linear({&output, 1});
  add_bias(ops, o_bias_, y);
  return Status();
}

/// Stores every row's key and value, then attends from every row: also to those of this step as
/// they are stored, or bits would depend on how a prompt is cut.
void Attention::attend(StepContext& context, const Buffers& buffers) {
  const std::size_t head_dim = spec_.head_dim;
  // A block has one head after the other, each kKvBlock positions.
  const std::size_t row_bytes = kv_row_bytes(precision_, head_dim);
  const auto store = [&](void* block, std::size_t position, const float* row) {
    const std::size_t slot = position % kKvBlock;
    for (std::size_t head = 0; head < spec_.num_kv_heads; ++head) {
      store_kv_row(precision_, {row + head * head_dim, head_dim},
                   static_cast<std::byte*>(block) + (head * kKvBlock + slot) * row_bytes);
    }
  };
  rows_.clear();
  for (const StepSegment& segment : context.segments) {
    KvCache& kv = segment.sequence->kv();
    void* const* const keys = kv.blocks(layer_, kKeys);
    void* const* const values = kv.blocks(layer_, kValues);
    for (std::size_t r = segment.row_begin; r < segment.row_end; ++r) {
      const std::size_t position = segment.position + (r - segment.row_begin);
      store(keys[position / kKvBlock], position, buffers.keys.row(r));
      store(values[position / kKvBlock], position, buffers.values.row(r));
      rows_.push_back({.q = buffers.query_gate.row(r),
                       .q_stride = query_stride(),
                       .key_blocks = keys,
                       .value_blocks = values,
                       .first = first_in_window(spec_.window, position),
                       .position = position,
                       .runs = indexer_ ? indexer_->runs(*buffers.indexer, r, position)
                                        : std::span<const std::uint32_t>(),
                       .out = buffers.attended.row(r)});
    }
  }
  context.ops.attention(
      {.num_heads = spec_.num_heads,
       .num_kv_heads = spec_.num_kv_heads,
       .head_dim = head_dim,
       .value_dim = head_dim,
       .value_stride = head_dim,
       .precision = precision_,
       .scale = spec_.scale != 0 ? spec_.scale : 1.0f / std::sqrt(static_cast<float>(head_dim)),
       .sinks = sinks_.empty() ? nullptr : sinks_.data(),
       .run_size = indexer_ ? indexer_->run_size() : 1},
      rows_);
}

}  // namespace flashmoe
