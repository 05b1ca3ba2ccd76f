#include "model/layers/attention.h"

#include <cmath>
#include <vector>

namespace flashmoe {
namespace {

/// Every row of x += bias, which is empty where a projection has none.
void add_bias(Ops& ops, const std::vector<float>& bias, MatrixView<float> x) {
  if (!bias.empty()) ops.add(x, {bias.data(), x.rows, x.cols, /*stride_in=*/0});
}

}  // namespace

//   [q, gate] = W_q x (+ b_q);  k = W_k x (+ b_k);  v = W_v x (+ b_v)   q and gate: head by head
//   q = rope(RMSNorm(q));  k = rope(RMSNorm(k))
//   y = W_o (softmax(q k^T / sqrt(head_dim)) v * sigmoid(gate)) (+ b_o)
void GatedAttention::forward(StepContext& context, Workspace& workspace, const Activations& x,
                             MatrixView<float> y) const {
  Ops& ops = context.ops;
  const std::size_t rows = context.rows;
  const std::size_t head_dim = config_.head_dim;
  const std::size_t q_size = config_.num_heads * head_dim;
  const std::size_t kv_size = config_.num_kv_heads * head_dim;

  const MatrixView<float> query_gate(workspace.wide_a.data(), rows, 2 * q_size);
  const MatrixView<float> keys(query_gate.row(rows), rows, kv_size);
  const MatrixView<float> values(keys.row(rows), rows, kv_size);
  const LinearTask projections[] = {{.weight = weights_.q_proj, .x = &x, .y = query_gate},
                                    {.weight = weights_.k_proj, .x = &x, .y = keys},
                                    {.weight = weights_.v_proj, .x = &x, .y = values}};
  ops.linear(projections);
  add_bias(ops, weights_.q_bias, query_gate);
  add_bias(ops, weights_.k_bias, keys);
  add_bias(ops, weights_.v_bias, values);

  const MatrixView<float> q_heads(query_gate.data, rows * config_.num_heads, head_dim,
                                  2 * head_dim);
  const MatrixView<float> gate_heads(query_gate.data + head_dim, rows * config_.num_heads, head_dim,
                                     2 * head_dim);
  const MatrixView<float> k_heads(keys.data, rows * config_.num_kv_heads, head_dim);
  ops.rms_norm(q_heads, weights_.q_norm.data(), rms_norm_eps_, q_heads);
  ops.rms_norm(k_heads, weights_.k_norm.data(), rms_norm_eps_, k_heads);
  ops.rope(q_heads, config_.num_heads, context.rope_cos, context.rope_sin);
  ops.rope(k_heads, config_.num_kv_heads, context.rope_cos, context.rope_sin);

  const MatrixView<float> attended(workspace.wide_b.data(), rows, q_size);
  std::vector<AttentionRow>& attention_rows = workspace.attention_rows;
  attention_rows.clear();
  for (const StepSegment& segment : context.segments) {
    KvCache& kv = segment.sequence->kv();
    for (std::size_t r = segment.row_begin; r < segment.row_end; ++r) {
      const std::size_t position = segment.position + (r - segment.row_begin);
      kv.store(ordinal_, position, keys.row(r), values.row(r));
      attention_rows.push_back({.q = query_gate.row(r),
                                .q_stride = 2 * head_dim,
                                .key_blocks = kv.key_blocks(ordinal_),
                                .value_blocks = kv.value_blocks(ordinal_),
                                .position = position,
                                .out = attended.row(r)});
    }
  }
  ops.attention({.num_heads = config_.num_heads,
                 .num_kv_heads = config_.num_kv_heads,
                 .head_dim = head_dim,
                 .scale = 1.0f / std::sqrt(static_cast<float>(head_dim))},
                attention_rows);
  ops.sigmoid_gate({attended.data, rows * config_.num_heads, head_dim}, gate_heads);

  ops.prepare(attended, workspace.inner_activations);
  const LinearTask output = {.weight = weights_.o_proj, .x = &workspace.inner_activations, .y = y};
  ops.linear({&output, 1});
  add_bias(ops, weights_.o_bias, y);
}

}  // namespace flashmoe
