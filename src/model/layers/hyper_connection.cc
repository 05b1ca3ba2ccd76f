#include "model/layers/hyper_connection.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "model/layers/streams.h"

namespace flashmoe {
namespace {

/// Rows that are mixed at a time: all streams of a row are wide.
constexpr std::size_t kMixRowsMax = 128;

/// Rows whose terms are added at a time.
constexpr std::size_t kGiveRows = 64;

}  // namespace

struct HyperConnection::Buffers {
  Buffers(const HyperConnectionSpec& spec, std::size_t hidden, std::size_t rows, Scratch& scratch)
      : batch(std::min(rows, kMixRowsMax)),
        normed(scratch.matrix(batch, spec.streams * hidden)),
        gates(scratch.matrix(batch, spec.streams * hidden)),
        low_rank(scratch.matrix(batch, spec.rank)),
        normed_prepared(scratch.activations(batch, spec.streams * hidden)),
        low_rank_prepared(scratch.activations(batch, spec.rank)) {}

  Buffers first(std::size_t rows) const {
    Buffers some = *this;
    some.normed = normed.slice(0, rows);
    some.gates = gates.slice(0, rows);
    some.low_rank = low_rank.slice(0, rows);
    return some;
  }

  std::size_t batch;
  MatrixView<float> normed;
  MatrixView<float> gates;
  MatrixView<float> low_rank;
  Activations* normed_prepared;
  Activations* low_rank_prepared;
};

Status HyperConnection::declare(LayerTensors& tensors) {
  FM_RETURN_IF_ERROR(tensors.vector(tensors_.norm, width(), &norm_));
  FM_RETURN_IF_ERROR(tensors.matrix(tensors_.down, spec_.rank, width(), &down_));
  FM_RETURN_IF_ERROR(tensors.matrix(tensors_.up, width(), spec_.rank, &up_));
  if (!tensors_.inject) return Status();
  return tensors.matrix(*tensors_.inject, spec_.streams, width(), &inject_);
}

ScratchSize HyperConnection::scratch_size(std::size_t rows) const {
  Scratch scratch;
  Buffers(spec_, hidden_, rows, scratch);
  return scratch.size();
}

void HyperConnection::take(Ops& ops, Scratch& scratch, MatrixView<const float> x,
                           MatrixView<float> input, MatrixView<float> carried) const {
  const Buffers buffers(spec_, hidden_, x.rows, scratch);
  for (std::size_t begin = 0; begin < x.rows; begin += buffers.batch) {
    const std::size_t count = std::min(buffers.batch, x.rows - begin);
    mix(ops, buffers.first(count), x.slice(begin, count), input.slice(begin, count),
        carried.slice(begin, count));
  }
}

// n_s = RMSNorm_s(x_s) of each of the S streams;  m = sigmoid(W_up silu(W_down n / S))
// input = mean over s of m_s * n_s;  inject = 2 sigmoid(W_inject n / S)
void HyperConnection::mix(Ops& ops, const Buffers& b, MatrixView<const float> x,
                          MatrixView<float> input, MatrixView<float> carried) const {
  const std::size_t streams = spec_.streams;
  const float share = 1.0f / static_cast<float>(streams);
  norm_streams(ops, x, norm_, hidden_, rms_norm_eps_, b.normed);
  ops.prepare(b.normed, *b.normed_prepared);
  // Nobody reads `carried` where nothing is given back.
  const MatrixView<float> injected(carried.data, x.rows, streams, carried.stride);
  const LinearTask from_normed[] = {{.weight = down_, .x = b.normed_prepared, .y = b.low_rank},
                                    {.weight = inject_, .x = b.normed_prepared, .y = injected}};
  ops.linear(std::span(from_normed).first(tensors_.inject ? 2 : 1));
  ops.scale(b.low_rank, share);
  ops.sigmoid_gate(b.low_rank, b.low_rank);
  ops.prepare(b.low_rank, *b.low_rank_prepared);
  const LinearTask up = {.weight = up_, .x = b.low_rank_prepared, .y = b.gates};
  ops.linear({&up, 1});
  ops.sigmoid_gate(b.normed, b.gates);

  for (std::size_t r = 0; r < x.rows; ++r) {
    std::memcpy(input.row(r), b.normed.row(r), hidden_ * sizeof(float));
  }
  for (std::size_t s = 1; s < streams; ++s) ops.add(input, stream_of(b.normed, hidden_, s));
  ops.scale(input, share);

  if (!tensors_.inject) return;
  ops.scale(injected, share);
  const MatrixView<float> twos(b.gates.data, x.rows, streams, b.gates.stride);
  for (std::size_t r = 0; r < x.rows; ++r) std::ranges::fill(twos.row_span(r), 2.0f);
  ops.sigmoid_gate(twos, injected);
  for (std::size_t r = 0; r < x.rows; ++r) {
    std::ranges::copy(twos.row_span(r), injected.row(r));
  }
}

// x_s = x_s + inject_s y
void HyperConnection::give(Ops& ops, MatrixView<float> y, MatrixView<const float> carried,
                           MatrixView<float> x) const {
  FM_CHECK(x.stride == width());
  const MatrixView<float> all_streams(x.data, x.rows * spec_.streams, hidden_);
  std::array<WeightedRow, kGiveRows * HyperConnectionSpec::kStreamsMax> terms;
  std::size_t count = 0;
  for (std::size_t r = 0; r < x.rows; ++r) {
    for (std::size_t s = 0; s < spec_.streams; ++s) {
      terms[count++] = {.y_row = static_cast<std::uint32_t>(r * spec_.streams + s),
                        .d_row = static_cast<std::uint32_t>(r),
                        .weight = carried.row(r)[s]};
    }
    if (count + spec_.streams <= terms.size() && r + 1 < x.rows) continue;
    ops.add_weighted_rows(y, std::span(terms).first(count), all_streams);
    count = 0;
  }
}

}  // namespace flashmoe
