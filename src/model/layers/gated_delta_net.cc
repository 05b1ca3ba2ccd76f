#include "model/layers/gated_delta_net.h"

#include <cmath>
#include <cstring>
#include <vector>

namespace flashmoe {
namespace {

void copy_floats(float* to, const float* from, std::size_t count) {
  std::memcpy(to, from, count * sizeof(float));
}

/// The projections come grouped by key head: q, k [key_dim]; v, z [ratio * value_dim]; and b, a
/// [ratio]. The convolution wants all q, then all k, then all v, each head-major; the gates want
/// all b and all a.
void ungroup(const DeltaNetConfig& config, const float* qkvz, const float* ba, float* qkv, float* z,
             float* b, float* a) {
  const std::size_t ratio = config.heads_ratio();
  const std::size_t group_values = ratio * config.value_dim;
  float* k = qkv + config.keys_size();
  float* v = k + config.keys_size();
  for (std::size_t g = 0; g < config.key_heads; ++g) {
    copy_floats(qkv + g * config.key_dim, qkvz, config.key_dim);
    copy_floats(k + g * config.key_dim, qkvz + config.key_dim, config.key_dim);
    copy_floats(v + g * group_values, qkvz + 2 * config.key_dim, group_values);
    copy_floats(z + g * group_values, qkvz + 2 * config.key_dim + group_values, group_values);
    qkvz += 2 * (config.key_dim + group_values);
    copy_floats(b + g * ratio, ba, ratio);
    copy_floats(a + g * ratio, ba + ratio, ratio);
    ba += 2 * ratio;
  }
}

}  // namespace

// [q, k, v, z] = W_qkvz x;  [b, a] = W_ba x
// [q, k, v] = silu(conv([q, k, v]));  q = q / |q| / sqrt(key_dim);  k = k / |k|
// o = delta_rule(q, k, v, decay = exp(-exp(A_log) softplus(a + dt_bias)), beta = sigmoid(b))
// y = W_out (RMSNorm(o) * silu(z))
void GatedDeltaNet::forward(StepContext& context, Workspace& workspace, const Activations& x,
                            MatrixView<float> y) const {
  Ops& ops = context.ops;
  const std::size_t rows = context.rows;
  const std::size_t keys = config_.keys_size();
  const std::size_t values = config_.values_size();
  const std::size_t heads = config_.value_heads;
  const std::size_t channels = config_.conv_channels();

  // wide_a holds the projections; once they are ungrouped into wide_b, the convolution's output and
  // o.
  const MatrixView<float> qkvz(workspace.wide_a.data(), rows, 2 * keys + 2 * values);
  const MatrixView<float> ba(qkvz.row(rows), rows, 2 * heads);
  const LinearTask projections[] = {{.weight = weights_.in_proj_qkvz, .x = &x, .y = qkvz},
                                    {.weight = weights_.in_proj_ba, .x = &x, .y = ba}};
  ops.linear(projections);

  const MatrixView<float> conv_in(workspace.wide_b.data(), rows, channels);
  const MatrixView<float> z(conv_in.row(rows), rows, values);
  const MatrixView<float> beta(z.row(rows), rows, heads);
  const MatrixView<float> decay(beta.row(rows), rows, heads);
  for (std::size_t r = 0; r < rows; ++r) {
    ungroup(config_, qkvz.row(r), ba.row(r), conv_in.row(r), z.row(r), beta.row(r), decay.row(r));
  }

  const MatrixView<float> conv_out(workspace.wide_a.data(), rows, channels);
  const MatrixView<float> o(conv_out.row(rows), rows, values);
  std::vector<ConvSegment>& conv_segments = workspace.conv_segments;
  std::vector<DeltaSegment>& delta_segments = workspace.delta_segments;
  conv_segments.clear();
  delta_segments.clear();
  for (const StepSegment& segment : context.segments) {
    conv_segments.push_back(
        {segment.row_begin, segment.row_end, segment.sequence->conv_state(ordinal_)});
    delta_segments.push_back(
        {segment.row_begin, segment.row_end, segment.sequence->delta_state(ordinal_)});
  }
  ops.causal_conv_silu(conv_in, weights_.conv.data(), config_.conv_kernel, conv_segments, conv_out);

  const MatrixView<float> q(conv_out.data, rows, keys, channels);
  const MatrixView<float> k(conv_out.data + keys, rows, keys, channels);
  const MatrixView<float> v(conv_out.data + 2 * keys, rows, values, channels);
  const float q_scale = 1.0f / std::sqrt(static_cast<float>(config_.key_dim));
  ops.l2_normalize(q, config_.key_dim, q_scale);
  ops.l2_normalize(k, config_.key_dim, 1.0f);
  ops.delta_gates(decay, beta, weights_.neg_exp_a.data(), weights_.dt_bias.data(), decay, beta);
  ops.delta_rule({.key_heads = config_.key_heads,
                  .value_heads = heads,
                  .key_dim = config_.key_dim,
                  .value_dim = config_.value_dim},
                 q, k, v, decay, beta, delta_segments, o);
  ops.gated_rms_norm({o.data, rows * heads, config_.value_dim},
                     {z.data, rows * heads, config_.value_dim}, weights_.norm.data(),
                     rms_norm_eps_);

  ops.prepare(o, workspace.inner_activations);
  const LinearTask output = {
      .weight = weights_.out_proj, .x = &workspace.inner_activations, .y = y};
  ops.linear({&output, 1});
}

}  // namespace flashmoe
