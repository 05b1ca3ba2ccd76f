#include "model/layers/gated_delta_net.h"

#include <array>
#include <cmath>
#include <cstring>
#include <span>

#include "model/step.h"

namespace flashmoe {
namespace {

void copy_floats(float* to, const float* from, std::size_t count) {
  std::memcpy(to, from, count * sizeof(float));
}

/// Projections that come grouped by key head: q, k [key_dim]; v, z [ratio * value_dim]. The
/// convolution wants all q, then all k, then all v, each head-major.
void ungroup_qkvz(const DeltaNetSpec& spec, const float* qkvz, float* qkv, float* z) {
  const std::size_t group_values = spec.heads_ratio() * spec.value_dim;
  float* k = qkv + spec.keys_size();
  float* v = k + spec.keys_size();
  for (std::size_t g = 0; g < spec.key_heads; ++g) {
    copy_floats(qkv + g * spec.key_dim, qkvz, spec.key_dim);
    copy_floats(k + g * spec.key_dim, qkvz + spec.key_dim, spec.key_dim);
    copy_floats(v + g * group_values, qkvz + 2 * spec.key_dim, group_values);
    copy_floats(z + g * group_values, qkvz + 2 * spec.key_dim + group_values, group_values);
    qkvz += 2 * (spec.key_dim + group_values);
  }
}

/// Likewise b, a [ratio], where the gates want all b and all a.
void ungroup_ba(const DeltaNetSpec& spec, const float* ba, float* b, float* a) {
  const std::size_t ratio = spec.heads_ratio();
  for (std::size_t g = 0; g < spec.key_heads; ++g) {
    copy_floats(b + g * ratio, ba, ratio);
    copy_floats(a + g * ratio, ba + ratio, ratio);
    ba += 2 * ratio;
  }
}

}  // namespace

struct GatedDeltaNet::Buffers {
  Buffers(const DeltaNetSpec& spec, std::size_t rows, Scratch& scratch)
      : projections(scratch.matrix(
            rows, 2 * spec.keys_size() + 2 * spec.values_size() + 2 * spec.value_heads)),
        conv_in(scratch.matrix(rows, spec.conv_channels())),
        z(scratch.matrix(rows, spec.values_size())),
        beta(scratch.matrix(rows, spec.value_heads)),
        decay(scratch.matrix(rows, spec.value_heads)),
        inner(scratch.activations(rows, spec.values_size())) {}

  MatrixView<float> projections;  // what grouped matrices give, then conv_out and o
  MatrixView<float> conv_in;
  MatrixView<float> z;
  MatrixView<float> beta;
  MatrixView<float> decay;
  Activations* inner;
};

Status GatedDeltaNet::declare(LayerTensors& tensors) {
  const std::size_t qkvz_rows = 2 * spec_.keys_size() + 2 * spec_.values_size();
  const std::size_t heads = spec_.value_heads;
  // Files of a family that groups may have either pair taken apart already.
  const auto is_grouped = [&](TensorId grouped, TensorId apart) {
    return spec_.is_grouped_by_head && (tensors.has_matrix(grouped) || !tensors.has_matrix(apart));
  };
  if (is_grouped(TensorId::kInProjQkvz, TensorId::kInProjQkv)) {
    FM_RETURN_IF_ERROR(tensors.matrix(TensorId::kInProjQkvz, qkvz_rows, hidden_, &in_proj_qkvz_));
  } else {
    FM_RETURN_IF_ERROR(
        tensors.matrix(TensorId::kInProjQkv, spec_.conv_channels(), hidden_, &in_proj_qkv_));
    FM_RETURN_IF_ERROR(
        tensors.matrix(TensorId::kInProjZ, spec_.values_size(), hidden_, &in_proj_z_));
  }
  if (is_grouped(TensorId::kInProjBa, TensorId::kInProjB)) {
    FM_RETURN_IF_ERROR(tensors.matrix(TensorId::kInProjBa, 2 * heads, hidden_, &in_proj_ba_));
  } else {
    FM_RETURN_IF_ERROR(tensors.matrix(TensorId::kInProjB, heads, hidden_, &in_proj_b_));
    FM_RETURN_IF_ERROR(tensors.matrix(TensorId::kInProjA, heads, hidden_, &in_proj_a_));
  }
  is_tiled_ = tensors.stored_as(TensorId::kInProjQkv) == StoredAs::kTiledHeads;
  FM_RETURN_IF_ERROR(tensors.matrix(TensorId::kOutProj, hidden_, spec_.values_size(), &out_proj_));
  // As PyTorch, GGUF and MLX have it: the same bytes.
  const TensorShape conv[] = {{spec_.conv_channels(), 1, spec_.conv_kernel},
                              {spec_.conv_channels(), spec_.conv_kernel},
                              {spec_.conv_channels(), spec_.conv_kernel, 1}};
  FM_RETURN_IF_ERROR(tensors.vector(TensorId::kConv1d, conv, &conv_));
  FM_RETURN_IF_ERROR(tensors.vector(TensorId::kALog, heads, &neg_exp_a_));
  FM_RETURN_IF_ERROR(tensors.vector(TensorId::kDtBias, heads, &dt_bias_));
  return tensors.vector(TensorId::kDeltaNorm, spec_.value_dim, &norm_);
}

/// The convolution's last inputs, then the recurrent state.
StateNeeds GatedDeltaNet::state() const {
  return {.fixed_bytes = (spec_.conv_state_size() + spec_.state_size()) * sizeof(float)};
}

ScratchSize GatedDeltaNet::scratch_size(std::size_t rows) const {
  Scratch scratch;
  Buffers(spec_, rows, scratch);
  return scratch.size();
}

/// [q, k, v], z, b and a of every row, each where the rest of the block expects it.
void GatedDeltaNet::project(Ops& ops, const Activations& x, const Buffers& b) const {
  const std::size_t rows = b.z.rows;
  const MatrixView<float> qkvz(b.projections.data, rows,
                               2 * spec_.keys_size() + 2 * spec_.values_size());
  const MatrixView<float> ba(qkvz.row(rows), rows, 2 * spec_.value_heads);
  const bool is_qkvz_grouped = in_proj_qkvz_.rows > 0;
  const bool is_ba_grouped = in_proj_ba_.rows > 0;
  std::array<LinearTask, 4> tasks;
  std::size_t count = 0;
  const auto add = [&](const WeightView& weight, MatrixView<float> y) {
    tasks[count++] = {.weight = weight, .x = &x, .y = y};
  };
  if (is_qkvz_grouped) {
    add(in_proj_qkvz_, qkvz);
  } else {
    add(in_proj_qkv_, b.conv_in);
    add(in_proj_z_, b.z);
  }
  if (is_ba_grouped) {
    add(in_proj_ba_, ba);
  } else {
    add(in_proj_b_, b.beta);
    add(in_proj_a_, b.decay);
  }
  ops.linear(std::span(tasks).first(count));
  for (std::size_t r = 0; r < rows; ++r) {
    if (is_qkvz_grouped) ungroup_qkvz(spec_, qkvz.row(r), b.conv_in.row(r), b.z.row(r));
    if (is_ba_grouped) ungroup_ba(spec_, ba.row(r), b.beta.row(r), b.decay.row(r));
  }
}

// [q, k, v, z] = W_qkvz x;  [b, a] = W_ba x
// [q, k, v] = silu(conv([q, k, v]));  q = q / |q| / sqrt(key_dim);  k = k / |k|
// o = delta_rule(q, k, v, decay = exp(-exp(A_log) softplus(a + dt_bias)), beta = sigmoid(b))
// y = W_out (RMSNorm(o) * silu(z)), or sigmoid(z)
Status GatedDeltaNet::forward(StepContext& context, Scratch& scratch, const Activations& x,
                              MatrixView<float> y) {
  Ops& ops = context.ops;
  const std::size_t rows = context.rows;
  const std::size_t keys = spec_.keys_size();
  const std::size_t values = spec_.values_size();
  const std::size_t heads = spec_.value_heads;
  const std::size_t channels = spec_.conv_channels();
  const Buffers b(spec_, rows, scratch);

  project(ops, x, b);
  FM_RETURN_IF_ERROR(context.check(0.5));
  const MatrixView<float> conv_out(b.projections.data, rows, channels);
  const MatrixView<float> o(conv_out.row(rows), rows, values);

  conv_segments_.clear();
  delta_segments_.clear();
  for (const StepSegment& segment : context.segments) {
    float* const state = segment.sequence->fixed_state(layer_);
    conv_segments_.push_back({segment.row_begin, segment.row_end, state});
    delta_segments_.push_back(
        {segment.row_begin, segment.row_end, state + spec_.conv_state_size()});
  }
  ops.causal_conv_silu(b.conv_in, conv_.data(), {.kernel = spec_.conv_kernel}, conv_segments_,
                       conv_out);

  const MatrixView<float> q(conv_out.data, rows, keys, channels);
  const MatrixView<float> k(conv_out.data + keys, rows, keys, channels);
  const MatrixView<float> v(conv_out.data + 2 * keys, rows, values, channels);
  const float q_scale = 1.0f / std::sqrt(static_cast<float>(spec_.key_dim));
  ops.l2_normalize(q, spec_.key_dim, q_scale);
  ops.l2_normalize(k, spec_.key_dim, 1.0f);
  ops.delta_gates(b.decay, b.beta, neg_exp_a_.data(), dt_bias_.data(), b.decay, b.beta);
  ops.delta_rule({.key_heads = spec_.key_heads,
                  .value_heads = heads,
                  .key_dim = spec_.key_dim,
                  .value_dim = spec_.value_dim,
                  .is_tiled = is_tiled_},
                 q, k, v, b.decay, b.beta, delta_segments_, o);
  FM_RETURN_IF_ERROR(context.check(0.8));
  const MatrixView<float> o_heads(o.data, rows * heads, spec_.value_dim);
  const MatrixView<float> z_heads(b.z.data, rows * heads, spec_.value_dim);
  if (spec_.has_sigmoid_gate) {
    ops.rms_norm(o_heads, norm_.data(), rms_norm_eps_, o_heads);
    ops.sigmoid_gate(o_heads, z_heads);
  } else {
    ops.gated_rms_norm(o_heads, z_heads, norm_.data(), rms_norm_eps_);
  }

  ops.prepare(o, *b.inner);
  const LinearTask output = {.weight = out_proj_, .x = b.inner, .y = y};
  ops.linear({&output, 1});
  return Status();
}

}  // namespace flashmoe
