#include "model/layers/ngram_embedding.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "model/layers/streams.h"
#include "model/row_source.h"
#include "model/step.h"

namespace flashmoe {
namespace {

/// Rows that are computed at a time: all streams of a row are wide.
constexpr std::size_t kEmbeddingRowsMax = 128;

/// sign(a) sqrt(max(|a|, 1e-6))
float signed_root(float a) {
  if (a == 0) return 0;
  const float magnitude = std::fabs(a);
  const float root = std::sqrt(magnitude < 1e-6f ? 1e-6f : magnitude);  // keeps NaN
  return a < 0 ? -root : root;
}

}  // namespace

struct NgramEmbedding::Buffers {
  Buffers(const NgramEmbeddingSpec& spec, std::size_t streams, std::size_t hidden, std::size_t rows,
          Scratch& scratch)
      : batch(std::min(rows, kEmbeddingRowsMax)),
        embedded(scratch.matrix(batch, spec.embed_dim)),
        value(scratch.matrix(batch, hidden)),
        keys(scratch.matrix(batch, streams * hidden)),
        queries(scratch.matrix(batch, streams * hidden)),
        convolved(scratch.matrix(batch, streams * hidden)),
        gates(scratch.matrix(batch * streams, 1)),
        embedded_prepared(scratch.activations(batch, spec.embed_dim)) {}

  Buffers first(std::size_t rows, std::size_t streams) const {
    Buffers some = *this;
    for (MatrixView<float> Buffers::*const buffer :
         {&Buffers::embedded, &Buffers::value, &Buffers::keys, &Buffers::queries,
          &Buffers::convolved}) {
      some.*buffer = (this->*buffer).slice(0, rows);
    }
    some.gates = gates.slice(0, rows * streams);
    return some;
  }

  std::size_t batch;
  MatrixView<float> embedded;   // heads' rows of the table, one after the other
  MatrixView<float> value;      // for all streams
  MatrixView<float> keys;       // then what is added
  MatrixView<float> queries;    // then its norm
  MatrixView<float> convolved;  // of that
  MatrixView<float> gates;      // of every stream
  Activations* embedded_prepared;
};

Status NgramEmbedding::declare(LayerTensors& tensors) {
  const NgramSpec& ngrams = spec_.ngrams;
  FM_RETURN_IF_ERROR(tensors.row_table(TensorId::kNgramTable, spec_.table_parts,
                                       ngram_table_rows(ngrams), spec_.head_dim(), &table_));
  FM_RETURN_IF_ERROR(
      tensors.integers(TensorId::kNgramMultipliers, ngrams.ngram_size, &hashes_.multipliers));
  FM_RETURN_IF_ERROR(tensors.integers(TensorId::kNgramSizes, ngrams.heads(), &hashes_.sizes));
  FM_RETURN_IF_ERROR(tensors.integers(TensorId::kNgramOffsets, ngrams.heads(), &hashes_.offsets));
  FM_RETURN_IF_ERROR(tensors.matrix(TensorId::kNgramKeyProj, width(), spec_.embed_dim, &key_proj_));
  FM_RETURN_IF_ERROR(
      tensors.matrix(TensorId::kNgramValueProj, hidden_, spec_.embed_dim, &value_proj_));
  FM_RETURN_IF_ERROR(tensors.vector(TensorId::kNgramKeyNorm, width(), &norm_key_));
  FM_RETURN_IF_ERROR(tensors.vector(TensorId::kNgramQueryNorm, width(), &norm_query_));
  FM_RETURN_IF_ERROR(tensors.vector(TensorId::kNgramConvNorm, width(), &norm_conv_));
  const TensorShape conv[] = {{width(), 1, spec_.conv.kernel}, {width(), spec_.conv.kernel, 1}};
  return tensors.vector(TensorId::kNgramConv, conv, &conv_);
}

Status NgramEmbedding::check_loaded() const {
  const std::uint64_t rows = ngram_table_rows(spec_.ngrams);
  for (std::size_t head = 0; head < hashes_.sizes.size(); ++head) {
    const std::int64_t size = hashes_.sizes[head];
    const std::int64_t offset = hashes_.offsets[head];
    if (size >= 1 && offset >= 0 && static_cast<std::uint64_t>(size) <= rows &&
        static_cast<std::uint64_t>(offset) <= rows - static_cast<std::uint64_t>(size)) {
      continue;
    }
    return error(StatusCode::kCorrupt,
                 "layer {}: head {} of the n-gram embedding has {} rows from {} on "
                 "(ngram_heads_vocab_sizes, ngram_heads_offsets) where the table has {}; download "
                 "the model again",
                 layer_, head, size, offset, rows);
  }
  return Status();
}

/// The convolution's last inputs, then the last tokens.
StateNeeds NgramEmbedding::state() const {
  return {.fixed_bytes = spec_.conv.past() * width() * sizeof(float) +
                         (spec_.ngrams.ngram_size - 1) * sizeof(std::int32_t)};
}

ScratchSize NgramEmbedding::scratch_size(std::size_t rows) const {
  Scratch scratch;
  Buffers(spec_, streams_, hidden_, rows, scratch);
  return scratch.size();
}

/// The tokens before a segment, the last one first; of those before the sequence nothing is said.
std::int32_t* NgramEmbedding::history(const StepSegment& segment) const {
  float* const state = segment.sequence->fixed_state(state_);
  return reinterpret_cast<std::int32_t*>(state + spec_.conv.past() * width());
}

/// The token `distance` before row `row`.
std::int32_t NgramEmbedding::token_before(const StepContext& context, const StepSegment& segment,
                                          std::size_t row, std::size_t distance) const {
  const std::size_t in_segment = row - segment.row_begin;
  if (distance <= in_segment) return context.ids[row - distance];
  if (distance > segment.position + in_segment) return spec_.ngrams.eos_token_id;
  return history(segment)[distance - in_segment - 1];
}

void NgramEmbedding::remember_tokens(const StepContext& context, const StepSegment& segment) const {
  if (segment.row_begin == segment.row_end) return;
  // The oldest first: it is read of what the younger ones overwrite.
  for (std::size_t i = spec_.ngrams.ngram_size - 1; i-- > 0;) {
    history(segment)[i] = token_before(context, segment, segment.row_end - 1, i);
  }
}

/// Tokens at and before the last end of a text are none of this one.
void NgramEmbedding::find_rows(const StepContext& context, const StepSegment& segment,
                               std::size_t row, std::span<std::uint64_t> ids) {
  const std::int32_t eos = spec_.ngrams.eos_token_id;
  tokens_.assign(spec_.ngrams.ngram_size, eos);
  tokens_[0] = context.ids[row];
  for (std::size_t i = 1; i < tokens_.size(); ++i) {
    tokens_[i] = token_before(context, segment, row, i);
    if (tokens_[i] == eos) break;
  }
  ngram_rows(spec_.ngrams, hashes_, tokens_, ids);
}

// e = the table's rows of the n-grams that end here;  k_s = RMSNorm_s(W_key e);  v = W_value e
// g_s = sigmoid(root(k_s . RMSNorm_s(x_s) / sqrt(hidden))) v,  root(a) = sign(a) sqrt(max(|a|,
// 1e-6)) x_s = x_s + g_s + silu(conv(RMSNorm_s(g_s)))                          of each stream s
Status NgramEmbedding::forward(StepContext& context, Scratch& scratch, MatrixView<float> x) {
  FM_CHECK(context.rows_of_tables != nullptr);
  Ops& ops = context.ops;
  const std::size_t heads = spec_.ngrams.heads();
  const Buffers all(spec_, streams_, hidden_, context.rows, scratch);
  for (std::size_t begin = 0; begin < context.rows; begin += all.batch) {
    FM_RETURN_IF_ERROR(context.check(0));
    const std::size_t end = std::min(begin + all.batch, context.rows);
    const Buffers b = all.first(end - begin, streams_);
    const MatrixView<float> x_rows = x.slice(begin, end - begin);
    ids_.resize((end - begin) * heads);
    conv_segments_.clear();
    for (const StepSegment& segment : context.segments) {
      const std::size_t first = std::max(segment.row_begin, begin);
      const std::size_t last = std::min(segment.row_end, end);
      for (std::size_t r = first; r < last; ++r) {
        find_rows(context, segment, r, std::span(ids_).subspan((r - begin) * heads, heads));
      }
      if (first >= last) continue;
      conv_segments_.push_back(
          {first - begin, last - begin, segment.sequence->fixed_state(state_)});
    }
    FM_RETURN_IF_ERROR(context.rows_of_tables->read_rows(
        table_, ids_, {b.embedded.data, ids_.size(), spec_.head_dim()}));

    ops.prepare(b.embedded, *b.embedded_prepared);
    const LinearTask projections[] = {
        {.weight = key_proj_, .x = b.embedded_prepared, .y = b.keys},
        {.weight = value_proj_, .x = b.embedded_prepared, .y = b.value}};
    ops.linear(projections);
    gate(ops, b, x_rows);
    norm_streams(ops, b.keys, norm_conv_, hidden_, rms_norm_eps_, b.queries);
    ops.causal_conv_silu(b.queries, conv_.data(), spec_.conv, conv_segments_, b.convolved);
    ops.add(b.keys, b.convolved);
    ops.add(x_rows, b.keys);
  }
  for (const StepSegment& segment : context.segments) remember_tokens(context, segment);
  return Status();
}

/// Leaves every stream's gated value in the place of its key.
void NgramEmbedding::gate(Ops& ops, const Buffers& b, MatrixView<const float> x) const {
  norm_streams(ops, b.keys, norm_key_, hidden_, rms_norm_eps_, b.keys);
  norm_streams(ops, x, norm_query_, hidden_, rms_norm_eps_, b.queries);
  const MatrixView<float> keys(b.keys.data, x.rows * streams_, hidden_);
  const MatrixView<float> queries(b.queries.data, x.rows * streams_, hidden_);
  ops.row_dots(keys, queries, b.gates);
  const float root = std::sqrt(static_cast<float>(hidden_));
  for (std::size_t i = 0; i < b.gates.rows; ++i) {
    *b.gates.row(i) = signed_root(*b.gates.row(i) / root);
  }
  for (std::size_t i = 0; i < keys.rows; ++i) {
    std::memcpy(keys.row(i), b.value.row(i / streams_), hidden_ * sizeof(float));
  }
  ops.sigmoid_scale_rows(keys, b.gates);
}

}  // namespace flashmoe
