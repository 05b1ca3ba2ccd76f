#include "model/layers/latent_attention.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "base/check.h"
#include "kernels/kv_rows.h"
#include "kernels/reference/dequantize.h"
#include "model/step.h"

namespace flashmoe {
namespace {

// The part of a position's state.
constexpr std::size_t kLatents = 0;

/// Rows whose queries are in the latent space at a time: those of all heads are wide.
constexpr std::size_t kQueryRowsMax = 64;

/// Of the two inner norms, whatever the model's own is.
constexpr float kNormEps = 1e-6f;

/// Floats stored [cols, rows] one after the other.
WeightView transposed_floats(DType dtype, const std::byte* weight, std::size_t rows,
                             std::size_t cols) {
  return {.type = &float_weights(dtype),
          .rows = rows,
          .cols = cols,
          .planes = {weight},
          .transposed_stride = rows * size_of(dtype)};
}

}  // namespace

struct LatentAttention::Buffers {
  Buffers(const LatentAttentionSpec& spec, std::size_t rows, Scratch& scratch)
      : batch(std::min(rows, kQueryRowsMax)),
        keys(scratch.matrix(rows, spec.latent_size())),
        low_rank(scratch.matrix(rows, spec.q_lora_rank)),
        heads(scratch.matrix(batch, spec.num_heads * spec.qk_head_dim())),
        queries(scratch.matrix(batch, spec.num_heads * spec.latent_size())),
        latents(scratch.matrix(batch, spec.num_heads * spec.kv_lora_rank)),
        values(scratch.matrix(batch, spec.num_heads * spec.v_head_dim)),
        low_rank_prepared(scratch.activations(rows, spec.q_lora_rank)),
        heads_prepared(scratch.activations(batch * spec.num_heads, spec.qk_nope_head_dim)),
        latents_prepared(scratch.activations(batch * spec.num_heads, spec.kv_lora_rank)),
        values_prepared(scratch.activations(batch, spec.num_heads * spec.v_head_dim)) {}

  std::size_t batch;           // rows of those below
  MatrixView<float> keys;      // all rows: latents and rotated keys
  MatrixView<float> low_rank;  // all rows, with q_lora_rank
  MatrixView<float> heads;     // queries as projected
  MatrixView<float> queries;   // in the latent space, beside what rotates
  MatrixView<float> latents;   // what queries attend to
  MatrixView<float> values;
  Activations* low_rank_prepared;
  Activations* heads_prepared;
  Activations* latents_prepared;
  Activations* values_prepared;
};

Status LatentAttention::declare(LayerTensors& tensors) {
  const std::size_t heads = spec_.num_heads;
  const std::size_t q_rows = heads * spec_.qk_head_dim();
  const std::size_t rank = spec_.kv_lora_rank;
  if (spec_.q_lora_rank == 0) {
    FM_RETURN_IF_ERROR(tensors.matrix(TensorId::kQProj, q_rows, hidden_, &q_proj_));
  } else {
    const std::size_t q_rank = spec_.q_lora_rank;
    FM_RETURN_IF_ERROR(tensors.matrix(TensorId::kQAProj, q_rank, hidden_, &q_a_proj_));
    FM_RETURN_IF_ERROR(tensors.vector(TensorId::kQANorm, q_rank, &q_a_norm_));
    FM_RETURN_IF_ERROR(tensors.matrix(TensorId::kQBProj, q_rows, q_rank, &q_b_proj_));
  }
  FM_RETURN_IF_ERROR(tensors.matrix(TensorId::kKvAProj, spec_.latent_size(), hidden_, &kv_a_proj_));
  FM_RETURN_IF_ERROR(tensors.vector(TensorId::kKvANorm, rank, &kv_a_norm_));
  if (tensors.has_matrix(TensorId::kEmbedQ)) {
    FM_RETURN_IF_ERROR(
        tensors.matrix_stack(TensorId::kEmbedQ, heads, rank, spec_.qk_nope_head_dim, &embed_q_));
    FM_RETURN_IF_ERROR(
        tensors.matrix_stack(TensorId::kUnembedOut, heads, spec_.v_head_dim, rank, &unembed_out_));
  } else {
    FM_RETURN_IF_ERROR(tensors.matrix(TensorId::kKvBProj,
                                      heads * (spec_.qk_nope_head_dim + spec_.v_head_dim), rank,
                                      &kv_b_proj_));
  }
  return tensors.matrix(TensorId::kOProj, hidden_, heads * spec_.v_head_dim, &o_proj_);
}

std::uint64_t LatentAttention::derived_bytes() const {
  if (kv_b_proj_.rows == 0 || kv_b_proj_.type->encoding == WeightEncoding::kFloat) {
    return 0;
  }
  return spec_.num_heads * spec_.qk_nope_head_dim * spec_.kv_lora_rank * sizeof(float);
}

void LatentAttention::finish() {
  if (derived_bytes() == 0) return;
  key_rows_.resize(derived_bytes() / sizeof(float));
  std::span<float> rest(key_rows_);
  const std::size_t head_rows = spec_.qk_nope_head_dim + spec_.v_head_dim;
  for (std::size_t head = 0; head < spec_.num_heads; ++head) {
    for (std::size_t row = 0; row < spec_.qk_nope_head_dim; ++row) {
      reference::dequantize_row(kv_b_proj_, head * head_rows + row, rest.first(spec_.kv_lora_rank));
      rest = rest.subspan(spec_.kv_lora_rank);
    }
  }
}

WeightView LatentAttention::embed_q(std::size_t head) const {
  const std::size_t rank = spec_.kv_lora_rank;
  const std::size_t nope = spec_.qk_nope_head_dim;
  if (embed_q_.rows > 0) return embed_q_.row_range(head * rank, rank);
  if (!key_rows_.empty()) {
    const float* const keys = key_rows_.data() + head * nope * rank;
    return transposed_floats(DType::kF32, reinterpret_cast<const std::byte*>(keys), rank, nope);
  }
  return transposed_floats(kv_b_proj_.type->dtype,
                           kv_b_proj_.plane_row(0, head * (nope + spec_.v_head_dim)), rank, nope);
}

WeightView LatentAttention::unembed_out(std::size_t head) const {
  if (unembed_out_.rows > 0) {
    return unembed_out_.row_range(head * spec_.v_head_dim, spec_.v_head_dim);
  }
  const std::size_t begin =
      head * (spec_.qk_nope_head_dim + spec_.v_head_dim) + spec_.qk_nope_head_dim;
  return kv_b_proj_.row_range(begin, spec_.v_head_dim);
}

StateNeeds LatentAttention::state() const {
  return {.position_bytes = {kv_row_bytes(precision_, spec_.latent_size()), 0}};
}

ScratchSize LatentAttention::scratch_size(std::size_t rows) const {
  Scratch scratch;
  Buffers(spec_, rows, scratch);
  return scratch.size();
}

/// begin, begin + step, ...
std::span<const std::uint32_t> LatentAttention::indices(std::size_t begin, std::size_t count,
                                                        std::size_t step) {
  const std::size_t at = indices_.size();
  FM_CHECK(at + count <= indices_.capacity());  // spans that were given out stay
  for (std::size_t i = 0; i < count; ++i) {
    indices_.push_back(static_cast<std::uint32_t>(begin + i * step));
  }
  return std::span(indices_).subspan(at, count);
}

//   c, k' = W_kv_a x;  c = RMSNorm(c);  k' = rope(k')               kept of the position
//   q, q' of each head = W_q_b RMSNorm(W_q_a x), or W_q x;  q' = rope(q')
//   score_j = ((W_k^T q) . c_j + q' . k'_j) * scale                 W_k, W_v: the head's rows
//   y = W_o (W_v sum_j softmax(score)_j c_j)                        of kv_b_proj
Status LatentAttention::forward(StepContext& context, Scratch& scratch, const Activations& x,
                                MatrixView<float> y) {
  const Buffers buffers(spec_, context.rows, scratch);
  store_keys(context, x, buffers);
  if (spec_.q_lora_rank != 0) {
    const LinearTask task = {.weight = q_a_proj_, .x = &x, .y = buffers.low_rank};
    context.ops.linear({&task, 1});
    context.ops.rms_norm(buffers.low_rank, q_a_norm_.data(), kNormEps, buffers.low_rank);
    context.ops.prepare(buffers.low_rank, *buffers.low_rank_prepared);
  }
  for (std::size_t begin = 0; begin < context.rows; begin += buffers.batch) {
    FM_RETURN_IF_ERROR(
        context.check(static_cast<double>(begin) / static_cast<double>(context.rows)));
    const Rows rows = {begin, std::min(buffers.batch, context.rows - begin)};
    make_queries(context, x, buffers, rows);
    attend(context, buffers, rows);
    read_out(context, buffers, rows, y.slice(begin, rows.count));
  }
  return Status();
}

void LatentAttention::store_keys(StepContext& context, const Activations& x,
                                 const Buffers& buffers) {
  Ops& ops = context.ops;
  const MatrixView<float> keys = buffers.keys;
  const std::size_t rank = spec_.kv_lora_rank;
  const std::size_t rope_dim = spec_.qk_rope_head_dim;
  const LinearTask task = {.weight = kv_a_proj_, .x = &x, .y = keys};
  ops.linear({&task, 1});
  const MatrixView<float> latents(keys.data, keys.rows, rank, keys.stride);
  ops.rms_norm(latents, kv_a_norm_.data(), kNormEps, latents);
  const MatrixView<float> rotated(keys.data + rank, keys.rows, rope_dim, keys.stride);
  for (std::size_t r = 0; r < keys.rows && spec_.is_rope_interleaved; ++r) {
    deinterleave_pairs(rotated.row(r), rope_dim, rotated.row(r));
  }
  const RopeAngles& angles = context.rope[rope_];
  ops.rope(rotated, 1, angles.cos, angles.sin);
  const std::size_t row_bytes = kv_row_bytes(precision_, spec_.latent_size());
  for (const StepSegment& segment : context.segments) {
    void* const* const blocks = segment.sequence->kv().blocks(layer_, kLatents);
    for (std::size_t r = segment.row_begin; r < segment.row_end; ++r) {
      const std::size_t position = segment.position + (r - segment.row_begin);
      store_kv_row(
          precision_, keys.row_span(r),
          static_cast<std::byte*>(blocks[position / kKvBlock]) + position % kKvBlock * row_bytes);
    }
  }
}

/// Queries of rows, in the latent space beside what rotates.
void LatentAttention::make_queries(StepContext& context, const Activations& x,
                                   const Buffers& buffers, Rows rows) {
  Ops& ops = context.ops;
  const std::size_t heads = spec_.num_heads;
  const std::size_t nope = spec_.qk_nope_head_dim;
  const std::size_t rope_dim = spec_.qk_rope_head_dim;
  const std::size_t latent_size = spec_.latent_size();
  indices_.clear();
  indices_.reserve(rows.count * (heads + 1));

  const MatrixView<float> projected = buffers.heads.slice(0, rows.count);
  const bool has_low_rank = spec_.q_lora_rank != 0;
  const LinearTask projection = {.weight = has_low_rank ? q_b_proj_ : q_proj_,
                                 .x = has_low_rank ? buffers.low_rank_prepared : &x,
                                 .x_rows = indices(rows.begin, rows.count, 1),
                                 .y = projected};
  ops.linear({&projection, 1});

  ops.prepare({projected.data, rows.count * heads, nope, spec_.qk_head_dim()},
              *buffers.heads_prepared);
  tasks_.clear();
  for (std::size_t head = 0; head < heads; ++head) {
    tasks_.push_back({.weight = embed_q(head),
                      .x = buffers.heads_prepared,
                      .x_rows = indices(head, rows.count, heads),
                      .y = {buffers.queries.data + head * latent_size, rows.count,
                            spec_.kv_lora_rank, buffers.queries.stride}});
  }
  ops.linear(tasks_);

  const MatrixView<float> rotated(buffers.queries.data + spec_.kv_lora_rank, rows.count * heads,
                                  rope_dim, latent_size);
  for (std::size_t i = 0; i < rotated.rows; ++i) {
    const float* const from = projected.data + i * spec_.qk_head_dim() + nope;
    if (spec_.is_rope_interleaved) {
      deinterleave_pairs(from, rope_dim, rotated.row(i));
    } else {
      std::memcpy(rotated.row(i), from, rope_dim * sizeof(float));
    }
  }
  const RopeAngles& angles = context.rope[rope_];
  ops.rope(rotated, heads, angles.cos.slice(rows.begin, rows.count),
           angles.sin.slice(rows.begin, rows.count));
}

/// All heads look at the same keys, whose first elements are the values.
void LatentAttention::attend(StepContext& context, const Buffers& buffers, Rows rows) {
  const std::size_t end = rows.begin + rows.count;
  rows_.clear();
  for (const StepSegment& segment : context.segments) {
    const void* const* const blocks = segment.sequence->kv().blocks(layer_, kLatents);
    for (std::size_t r = std::max(segment.row_begin, rows.begin);
         r < std::min(segment.row_end, end); ++r) {
      rows_.push_back({.q = buffers.queries.row(r - rows.begin),
                       .q_stride = spec_.latent_size(),
                       .key_blocks = blocks,
                       .value_blocks = blocks,
                       .position = segment.position + (r - segment.row_begin),
                       .out = buffers.latents.row(r - rows.begin)});
    }
  }
  context.ops.attention({.num_heads = spec_.num_heads,
                         .num_kv_heads = 1,
                         .head_dim = spec_.latent_size(),
                         .value_dim = spec_.kv_lora_rank,
                         .value_stride = spec_.latent_size(),
                         .precision = precision_,
                         .scale = spec_.scale},
                        rows_);
}

void LatentAttention::read_out(StepContext& context, const Buffers& buffers, Rows rows,
                               MatrixView<float> y) {
  Ops& ops = context.ops;
  const std::size_t heads = spec_.num_heads;
  indices_.clear();
  indices_.reserve(rows.count * heads);
  ops.prepare({buffers.latents.data, rows.count * heads, spec_.kv_lora_rank},
              *buffers.latents_prepared);
  tasks_.clear();
  for (std::size_t head = 0; head < heads; ++head) {
    tasks_.push_back({.weight = unembed_out(head),
                      .x = buffers.latents_prepared,
                      .x_rows = indices(head, rows.count, heads),
                      .y = {buffers.values.data + head * spec_.v_head_dim, rows.count,
                            spec_.v_head_dim, buffers.values.stride}});
  }
  ops.linear(tasks_);
  ops.prepare(buffers.values.slice(0, rows.count), *buffers.values_prepared);
  const LinearTask output = {.weight = o_proj_, .x = buffers.values_prepared, .y = y};
  ops.linear({&output, 1});
}

}  // namespace flashmoe
