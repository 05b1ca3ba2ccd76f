#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <vector>

#include "kernels/testing/cpu_ops_fixture.h"
#include "kernels/testing/op_inputs.h"

// docs/numerics.md, rule 1: a row's bits depend on that row's inputs alone. Whatever is cut out of
// a call, put beside it, or shared out among threads, the bits stay; and every target gives the
// same.

namespace flashmoe {
namespace {

using testing::allocate_activations;
using testing::Fill;
using testing::filled_matrix;
using testing::KvBlocks;
using testing::Matrix;
using testing::mixed_matrix;
using testing::Random;
using testing::Weight;

class OpsProperty : public testing::CpuOpsTest {
 protected:
  // The outputs of rows [begin, begin + count), a matrix with that many rows or a multiple of it.
  using Compute = std::function<Matrix(Ops& ops, std::size_t begin, std::size_t count)>;

  // compute(rows) on three threads equals, bit for bit, compute of any cut of them on one thread,
  // and all of it on the scalar target.
  void expect_rows_are_independent(std::size_t rows, const Compute& compute) {
    const Matrix all = compute(*ops_, 0, rows);
    if (GetParam() != "scalar") {
      EXPECT_EQ(compute(*scalar_, 0, rows), all) << "on the scalar target";
    }
    for (const std::size_t piece_max : {std::size_t{1}, std::size_t{5}}) {
      for (std::size_t begin = 0; begin < rows;) {
        const std::size_t count = std::min(rows - begin, 1 + random_.below(piece_max));
        const Matrix piece = compute(*single_, begin, count);
        const std::size_t rows_each = piece.rows() / count;
        Matrix same(piece.rows(), piece.cols());
        for (std::size_t r = 0; r < piece.rows(); ++r) {
          std::copy_n(all.row(begin * rows_each + r), piece.cols(), same.row(r));
        }
        EXPECT_EQ(piece, same) << "rows " << begin << " ... " << begin + count;
        begin += count;
      }
    }
  }

  // Random ascending cuts of [0, rows), both ends included.
  std::vector<std::size_t> random_cuts(std::size_t rows, std::size_t piece_max) {
    std::vector<std::size_t> cuts = {0};
    while (cuts.back() < rows) {
      cuts.push_back(std::min(rows, cuts.back() + 1 + random_.below(piece_max)));
    }
    return cuts;
  }

  static constexpr std::uint64_t kSeed = 11;
  Random random_{kSeed};
  ::testing::ScopedTrace seed_{__FILE__, __LINE__, fmt::format("seed {}", kSeed)};
  ThreadPool single_thread_{1};
  const std::unique_ptr<Ops> single_ = make_cpu_ops(single_thread_, GetParam()).value();
  const std::unique_ptr<Ops> scalar_ = make_cpu_ops(single_thread_, "scalar").value();
};

constexpr std::size_t kRows = 23;
constexpr std::size_t kColCounts[] = {1, 17, 64, 160};

TEST_P(OpsProperty, RowsOfNorms) {
  for (const std::size_t cols : kColCounts) {
    const Matrix x = mixed_matrix(random_, kRows, cols), gate = mixed_matrix(random_, kRows, cols);
    const Matrix weight = filled_matrix(random_, Fill::kNormal, 1, cols);
    expect_rows_are_independent(kRows, [&](Ops& ops, std::size_t begin, std::size_t count) {
      Matrix y(count, cols);
      ops.rms_norm(x.view().slice(begin, count), weight.data(), 1e-6f, y.view());
      return y;
    });
    const auto copy_of_x = [&](std::size_t begin, std::size_t count) {
      Matrix y(count, cols);
      std::copy_n(x.row(begin), count * cols, y.data());
      return y;
    };
    expect_rows_are_independent(kRows, [&](Ops& ops, std::size_t begin, std::size_t count) {
      Matrix y = copy_of_x(begin, count);
      ops.gated_rms_norm(y.view(), gate.view().slice(begin, count), weight.data(), 1e-6f);
      return y;
    });
    expect_rows_are_independent(kRows, [&](Ops& ops, std::size_t begin, std::size_t count) {
      Matrix y = copy_of_x(begin, count);
      ops.l2_normalize(y.view(), cols, 0.5f);
      return y;
    });
    expect_rows_are_independent(kRows, [&](Ops& ops, std::size_t begin, std::size_t count) {
      Matrix y(count, 1);
      ops.row_dots(x.view().slice(begin, count), gate.view().slice(begin, count), y.view());
      return y;
    });
  }
}

TEST_P(OpsProperty, RowsOfGates) {
  for (const std::size_t cols : kColCounts) {
    const Matrix x = mixed_matrix(random_, kRows, cols);
    const Matrix gate = mixed_matrix(random_, kRows, cols, 1);
    const Matrix dt_bias = filled_matrix(random_, Fill::kNormal, 1, cols);
    expect_rows_are_independent(kRows, [&](Ops& ops, std::size_t begin, std::size_t count) {
      Matrix y(count, cols);
      ops.swiglu(gate.view().slice(begin, count), x.view().slice(begin, count), y.view());
      ops.sigmoid_gate(y.view(), gate.view().slice(begin, count));
      ops.geglu(y.view(), x.view().slice(begin, count), y.view());
      ops.clamped_swiglu({.alpha = 1.702f, .limit = 7}, y.view(), x.view().slice(begin, count),
                         y.view());
      ops.scale(y.view(), 0.7f);
      ops.soft_cap(y.view(), 3);
      ops.sigmoid_scale_rows(
          y.view(), MatrixView<const float>{gate.row(begin), count, 1, gate.view().stride});
      ops.add(y.view(), x.view().slice(begin, count));
      return y;
    });
    expect_rows_are_independent(kRows, [&](Ops& ops, std::size_t begin, std::size_t count) {
      Matrix gates(2 * count, cols);  // decay and beta of each row
      ops.delta_gates(x.view().slice(begin, count), gate.view().slice(begin, count), dt_bias.data(),
                      dt_bias.data(), {gates.data(), count, cols, 2 * cols},
                      {gates.data() + cols, count, cols, 2 * cols});
      return gates;
    });
  }
}

TEST_P(OpsProperty, RowsOfRouting) {
  for (const std::size_t experts : {8u, 60u, 512u}) {
    const Matrix logits = mixed_matrix(random_, kRows, experts);
    for (const bool normalize : {false, true}) {
      expect_rows_are_independent(kRows, [&](Ops& ops, std::size_t begin, std::size_t count) {
        constexpr std::size_t kChosen = 7;
        Matrix routed(2 * count, kChosen);  // ids and weights of each row
        std::vector<std::uint16_t> ids(count * kChosen);
        std::vector<float> weights(count * kChosen);
        ops.route({.k = kChosen, .normalize = normalize}, logits.view().slice(begin, count), ids,
                  weights);
        for (std::size_t i = 0; i < ids.size(); ++i) {
          routed.row(i / kChosen * 2)[i % kChosen] = ids[i];
          routed.row(i / kChosen * 2 + 1)[i % kChosen] = weights[i];
        }
        return routed;
      });
    }
  }
}

TEST_P(OpsProperty, RowsOfRotation) {
  constexpr std::size_t kHeads = 3, kHalf = 20, kHeadDim = 50;
  std::vector<std::uint32_t> positions;
  for (std::size_t r = 0; r < kRows; ++r) {
    positions.push_back(static_cast<std::uint32_t>(random_.below(262144)));
  }
  Matrix inv_freq(1, kHalf);
  for (float& value : inv_freq.view().row_span(0)) value = random_.uniform(0, 1);
  const Matrix x = mixed_matrix(random_, kRows * kHeads, kHeadDim);
  expect_rows_are_independent(kRows, [&](Ops& ops, std::size_t begin, std::size_t count) {
    Matrix cos(count, kHalf), sin(count, kHalf), y(count * kHeads, kHeadDim);
    std::copy_n(x.row(begin * kHeads), count * kHeads * kHeadDim, y.data());
    ops.rope_angles(std::span(positions).subspan(begin, count), inv_freq.view().row_span(0), 1.25f,
                    cos.view(), sin.view());
    ops.rope(y.view(), kHeads, cos.view(), sin.view());
    return y;
  });
}

// Every width and group size, every float type.
std::vector<const WeightType*> all_types() {
  std::vector<const WeightType*> types;
  const auto add_affine = [&](std::uint32_t bits, std::uint32_t group_size, DType dtype) {
    types.push_back(find_affine_weights(bits, group_size, dtype));
  };
  for (const std::uint32_t bits : {1u, 2u, 3u, 4u, 5u, 6u, 8u}) {
    for (const std::uint32_t group_size : {32u, 64u, 128u}) {
      add_affine(bits, group_size, DType::kBF16);
    }
  }
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    types.push_back(&float_weights(dtype));
    if (dtype == DType::kBF16) continue;
    add_affine(4, 64, dtype);
    add_affine(5, 32, dtype);
  }
  const std::vector<const WeightType*> ggml = testing::ggml_weight_types();
  types.insert(types.end(), ggml.begin(), ggml.end());
  const std::vector<const WeightType*> packed = testing::packed_weight_types();
  types.insert(types.end(), packed.begin(), packed.end());
  return types;
}

TEST_P(OpsProperty, RowsOfActivationsTimesEveryWeightFormat) {
  constexpr std::size_t kOut = 11;
  for (const WeightType* const type : all_types()) {
    for (const std::size_t cols : {96u, 320u, 384u, 768u}) {
      if (cols % type->block_cols != 0) continue;
      SCOPED_TRACE(fmt::format("{}, {}: {} columns", type->name(), to_string(type->dtype), cols));
      const Weight weight(random_, *type, kOut, cols);
      const Matrix x = mixed_matrix(random_, kRows, cols);
      expect_rows_are_independent(kRows, [&](Ops& ops, std::size_t begin, std::size_t count) {
        Activations prepared = allocate_activations(count, cols);
        ops.prepare(x.view().slice(begin, count), prepared);
        Matrix y(count, kOut);
        const LinearTask task = {.weight = weight.view(), .x = &prepared, .y = y.view()};
        ops.linear({&task, 1});
        return y;
      });
    }
  }
}

// One task over all rows of W equals tasks over slices of W, gathered rows of x and other tasks
// beside them.
TEST_P(OpsProperty, RowsOfWeights) {
  constexpr std::size_t kOut = 41, kCols = 768;
  for (const WeightType* const type : all_types()) {
    SCOPED_TRACE(type->name());
    const Weight weight(random_, *type, kOut, kCols);
    const Matrix x = mixed_matrix(random_, kRows, kCols);
    Activations prepared = allocate_activations(kRows, kCols);
    ops_->prepare(x.view(), prepared);
    Matrix whole(kRows, kOut);
    LinearTask task = {.weight = weight.view(), .x = &prepared, .y = whole.view()};
    ops_->linear({&task, 1});

    std::vector<std::uint32_t> shuffled(kRows);
    std::iota(shuffled.begin(), shuffled.end(), 0u);
    for (std::size_t i = kRows; i > 1; --i) std::swap(shuffled[i - 1], shuffled[random_.below(i)]);
    Matrix gathered(kRows, kOut), pieces = gathered;
    std::vector<LinearTask> tasks;
    const std::vector<std::size_t> cuts = random_cuts(kOut, 9);
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
      task.weight = weight.view().row_range(cuts[i], cuts[i + 1] - cuts[i]);
      task.x_rows = shuffled;
      task.y = {gathered.data() + cuts[i], kRows, task.weight.rows, kOut};
      tasks.push_back(task);
    }
    ops_->linear(tasks);
    for (std::size_t i = 0; i < kRows; ++i) {
      std::copy_n(gathered.row(i), kOut, pieces.row(shuffled[i]));
    }
    EXPECT_EQ(pieces, whole);
  }
}

// Activations hold whatever was prepared in them before; nothing of it may show.
TEST_P(OpsProperty, PreparedMemoryCanBeReused) {
  constexpr std::size_t kOut = 8;
  for (const WeightType* const type : all_types()) {
    for (const std::size_t cols : {32u, 64u, 96u, 128u, 160u, 384u, 768u}) {
      if (cols % type->block_cols != 0) continue;
      SCOPED_TRACE(fmt::format("{}, {}: {} columns", type->name(), to_string(type->dtype), cols));
      const Weight weight(random_, *type, kOut, cols);
      const Matrix x = mixed_matrix(random_, kRows, cols);
      const auto times_weight = [&](Activations& prepared) {
        ops_->prepare(x.view(), prepared);
        Matrix y(kRows, kOut);
        const LinearTask task = {.weight = weight.view(), .x = &prepared, .y = y.view()};
        ops_->linear({&task, 1});
        return y;
      };
      Activations fresh = allocate_activations(kRows, cols);
      Activations used = allocate_activations(kRows, 1024);
      // Beside 1e30, -2e27 becomes the integer -65 or 0xffbf: in memory read as floats, NaN.
      Matrix before(kRows, 1024);
      for (std::size_t i = 0; i < kRows * 1024; ++i) {
        before.data()[i] = random_.below(4) == 0 ? 1e30f : -2e27f;
      }
      ops_->prepare(before.view(), used);
      EXPECT_EQ(times_weight(used), times_weight(fresh));
    }
  }
}

TEST_P(OpsProperty, WeightedRowsInOneCallOrMany) {
  constexpr std::size_t kCols = 70, kTerms = 60;
  const Matrix d = mixed_matrix(random_, 9, kCols);
  std::vector<WeightedRow> terms;
  for (std::size_t i = 0; i < kTerms; ++i) {
    terms.push_back({.y_row = static_cast<std::uint32_t>(random_.below(5)),
                     .d_row = static_cast<std::uint32_t>(random_.below(9)),
                     .weight = random_.normal()});
  }
  const Matrix before = filled_matrix(random_, Fill::kNormal, 5, kCols);
  Matrix whole = before, cut = before, scalar = before;
  ops_->add_weighted_rows(d.view(), terms, whole.view());
  scalar_->add_weighted_rows(d.view(), terms, scalar.view());
  const std::vector<std::size_t> cuts = random_cuts(kTerms, 7);
  for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
    single_->add_weighted_rows(d.view(), std::span(terms).subspan(cuts[i], cuts[i + 1] - cuts[i]),
                               cut.view());
  }
  EXPECT_EQ(cut, whole);
  EXPECT_EQ(scalar, whole);
}

// Rows of two sequences at once, in any order, and each alone.
TEST_P(OpsProperty, RowsOfAttention) {
  using Kind = std::pair<std::size_t, KvPrecision>;
  for (const Kind& kind :
       {Kind{16, KvPrecision::kF32}, Kind{20, KvPrecision::kF32}, Kind{96, KvPrecision::kF32},
        Kind{96, KvPrecision::kBF16}, Kind{20, KvPrecision::kInt8}, Kind{96, KvPrecision::kInt8}}) {
    const std::size_t head_dim = kind.first;
    const KvPrecision precision = kind.second;
    const AttentionShape shape = {.num_heads = 6,
                                  .num_kv_heads = 2,
                                  .head_dim = head_dim,
                                  .value_dim = head_dim,
                                  .value_stride = head_dim,
                                  .precision = precision,
                                  .scale = 0.2f,
                                  .run_size = 4};
    constexpr std::size_t kPositionCount = 140;
    const KvBlocks keys[] = {{random_, 2, head_dim, kPositionCount, precision},
                             {random_, 2, head_dim, kPositionCount, precision}};
    const KvBlocks values[] = {{random_, 2, head_dim, kPositionCount, precision},
                               {random_, 2, head_dim, kPositionCount, precision}};
    const Matrix q = filled_matrix(random_, Fill::kOutliers, kRows * 6, head_dim, 3);
    std::vector<std::size_t> positions = {0, 63, 64, 127, 128, 139};
    const std::vector<std::uint32_t> some_runs = {0, 1, 15, 16, 17, 30, 31, 32, 33, 34};
    while (positions.size() < kRows) positions.push_back(random_.below(kPositionCount));
    expect_rows_are_independent(kRows, [&](Ops& ops, std::size_t begin, std::size_t count) {
      Matrix out(count, 6 * head_dim);
      std::vector<AttentionRow> rows;
      for (std::size_t i = 0; i < count; ++i) {
        rows.push_back({.q = q.row((begin + i) * 6),
                        .q_stride = head_dim + 3,
                        .key_blocks = keys[(begin + i) % 2].pointers(),
                        .value_blocks = values[(begin + i) % 2].pointers(),
                        .position = positions[begin + i],
                        .out = out.row(i)});
        if ((begin + i) % 3 == 1) rows.back().runs = some_runs;
      }
      ops.attention(shape, rows);
      return out;
    });
  }
}

// Of two sequences, in any order, with windows, and of some runs alone; also where values are the
// first elements of keys.
TEST_P(OpsProperty, RoundedKeysAndValuesCountAsTheFloatsTheyStandFor) {
  for (const KvPrecision precision : {KvPrecision::kBF16, KvPrecision::kInt8}) {
    for (const std::size_t head_dim : {7u, 16u, 40u, 80u, 129u}) {
      SCOPED_TRACE(head_dim);
      AttentionShape shape = {.num_heads = 6,
                              .num_kv_heads = 2,
                              .head_dim = head_dim,
                              .value_dim = head_dim - head_dim / 4,
                              .value_stride = head_dim,
                              .precision = precision,
                              .scale = 0.2f,
                              .run_size = 4};
      constexpr std::size_t kPositionCount = 200;
      const KvBlocks keys[] = {{random_, 2, head_dim, kPositionCount, precision},
                               {random_, 2, head_dim, kPositionCount, precision}};
      const KvBlocks values = {random_, 2, head_dim, kPositionCount, precision};
      const Matrix q = filled_matrix(random_, Fill::kOutliers, kRows * 6, head_dim, 3);
      const KvBlocks key_floats[] = {keys[0].widened(), keys[1].widened()};
      const KvBlocks value_floats = values.widened();
      Matrix out(kRows, 6 * shape.value_dim), expected = out;
      std::vector<AttentionRow> rows, float_rows;
      std::vector<std::vector<std::uint32_t>> runs(kRows);
      for (std::size_t i = 0; i < kRows; ++i) {
        const std::size_t sequence = random_.below(2);
        const std::size_t position = random_.below(kPositionCount);
        const bool has_own_values = i % 3 != 0;
        rows.push_back({.q = q.row(i * 6),
                        .q_stride = head_dim + 3,
                        .key_blocks = keys[sequence].pointers(),
                        .value_blocks = (has_own_values ? values : keys[sequence]).pointers(),
                        .first = random_.below(2) * random_.below(position + 1),
                        .position = position,
                        .out = out.row(i)});
        if (random_.below(2) == 0) {
          for (std::uint32_t run = 0; run <= position / shape.run_size; ++run) {
            if (run == position / shape.run_size || random_.below(3) == 0) runs[i].push_back(run);
          }
          rows.back().runs = runs[i];
        }
        AttentionRow& floats = float_rows.emplace_back(rows.back());
        floats.key_blocks = key_floats[sequence].pointers();
        floats.value_blocks = (has_own_values ? value_floats : key_floats[sequence]).pointers();
        floats.out = expected.row(i);
      }
      ops_->attention(shape, rows);
      shape.precision = KvPrecision::kF32;
      ops_->attention(shape, float_rows);
      EXPECT_EQ(out, expected);
    }
  }
}

// Several rows, each a thread's, and single ones, whose keys threads share.
TEST_P(OpsProperty, RowsOfChosenKeys) {
  constexpr std::size_t kHeads = 3, kHeadDim = 40, kPerBlock = 16, kKeys = 2000, kChosen = 50;
  const Matrix keys = filled_matrix(random_, Fill::kNormal, kKeys, kHeadDim);
  const Matrix q = filled_matrix(random_, Fill::kNormal, kRows, kHeads * kHeadDim);
  const std::vector<float> weights = {0.5f, 0.25f, -0.5f};
  std::vector<const void*> blocks;
  for (std::size_t key = 0; key < kKeys; key += kPerBlock) blocks.push_back(keys.row(key));
  expect_rows_are_independent(kRows, [&](Ops& ops, std::size_t begin, std::size_t count) {
    std::vector<std::uint32_t> chosen(count * kChosen);
    std::vector<std::uint64_t> room(count * kChosen);
    std::vector<KeySearch> rows;
    for (std::size_t i = 0; i < count; ++i) {
      rows.push_back({.q = q.row(begin + i),
                      .key_blocks = blocks.data(),
                      .key_count = kKeys - 61 * (begin + i),
                      .chosen = chosen.data() + i * kChosen,
                      .room = room.data() + i * kChosen});
    }
    ops.choose_keys({.num_heads = kHeads,
                     .head_dim = kHeadDim,
                     .keys_per_block = kPerBlock,
                     .k = kChosen,
                     .head_weights = weights.data()},
                    rows);
    Matrix out(count, kChosen);
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      out.row(i / kChosen)[i % kChosen] = static_cast<float>(chosen[i]);
    }
    return out;
  });
}

// Two sequences, side by side in one call, cut differently, or row by row.
TEST_P(OpsProperty, ConvolutionCutAnywhere) {
  constexpr ConvShape kShape = {.kernel = 4, .dilation = 2};
  constexpr std::size_t kStateRows = kShape.past(), kBoundary = 9;
  for (const std::size_t channels : {5u, 48u, 300u}) {
    const Matrix u = mixed_matrix(random_, kRows, channels);
    const Matrix weight = filled_matrix(random_, Fill::kNormal, kShape.kernel, channels);
    const Matrix before = filled_matrix(random_, Fill::kNormal, 2 * kStateRows, channels);
    const auto run = [&](Ops& ops, std::size_t piece_max) {
      Matrix y(kRows, channels), state = before;
      for (const std::size_t sequence : {0u, 1u}) {
        const std::size_t first = sequence == 0 ? 0 : kBoundary;
        const std::size_t rows = sequence == 0 ? kBoundary : kRows - kBoundary;
        const std::vector<std::size_t> cuts = random_cuts(rows, piece_max);
        for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
          const ConvSegment segment = {.row_begin = first + cuts[i],
                                       .row_end = first + cuts[i + 1],
                                       .state = state.row(sequence * kStateRows)};
          ops.causal_conv_silu(u.view(), weight.data(), kShape, {&segment, 1}, y.view());
        }
      }
      return std::pair(y, state);
    };
    Matrix y(kRows, channels), state = before;
    const ConvSegment segments[] = {
        {.row_begin = 0, .row_end = kBoundary, .state = state.row(0)},
        {.row_begin = kBoundary, .row_end = kRows, .state = state.row(kStateRows)}};
    ops_->causal_conv_silu(u.view(), weight.data(), kShape, segments, y.view());
    EXPECT_EQ(run(*single_, 1), std::pair(y, state));
    EXPECT_EQ(run(*ops_, 4), std::pair(y, state));
    EXPECT_EQ(run(*scalar_, 100), std::pair(y, state));
  }
}

TEST_P(OpsProperty, DeltaRuleCutAnywhere) {
  constexpr std::size_t kBoundary = 9;
  for (const DeltaShape& shape :
       {DeltaShape{1, 1, 8, 5}, DeltaShape{2, 4, 24, 20}, DeltaShape{1, 2, 128, 128}}) {
    const std::size_t value_cols = shape.value_heads * shape.value_dim;
    const std::size_t state_rows = shape.value_heads * shape.key_dim;
    Matrix q = filled_matrix(random_, Fill::kNormal, kRows, shape.key_heads * shape.key_dim);
    Matrix k = filled_matrix(random_, Fill::kNormal, kRows, shape.key_heads * shape.key_dim);
    for (Matrix* x : {&q, &k}) {
      reference_->l2_normalize(x->view(), shape.key_dim, 1);
    }
    const Matrix v = mixed_matrix(random_, kRows, value_cols);
    Matrix decay(kRows, shape.value_heads), beta = decay;
    for (std::size_t t = 0; t < kRows; ++t) {
      for (float& value : decay.view().row_span(t)) value = random_.uniform(0.2f, 1);
      for (float& value : beta.view().row_span(t)) value = random_.uniform(0, 1);
    }
    const Matrix before = filled_matrix(random_, Fill::kNormal, 2 * state_rows, shape.value_dim);
    const auto run = [&](Ops& ops, std::size_t piece_max) {
      Matrix o(kRows, value_cols), state = before;
      for (const std::size_t sequence : {0u, 1u}) {
        const std::size_t first = sequence == 0 ? 0 : kBoundary;
        const std::size_t rows = sequence == 0 ? kBoundary : kRows - kBoundary;
        const std::vector<std::size_t> cuts = random_cuts(rows, piece_max);
        for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
          const DeltaSegment segment = {.row_begin = first + cuts[i],
                                        .row_end = first + cuts[i + 1],
                                        .state = state.row(sequence * state_rows)};
          ops.delta_rule(shape, q.view(), k.view(), v.view(), decay.view(), beta.view(),
                         {&segment, 1}, o.view());
        }
      }
      return std::pair(o, state);
    };
    Matrix o(kRows, value_cols), state = before;
    const DeltaSegment segments[] = {
        {.row_begin = 0, .row_end = kBoundary, .state = state.row(0)},
        {.row_begin = kBoundary, .row_end = kRows, .state = state.row(state_rows)}};
    ops_->delta_rule(shape, q.view(), k.view(), v.view(), decay.view(), beta.view(), segments,
                     o.view());
    EXPECT_EQ(run(*single_, 1), std::pair(o, state));
    EXPECT_EQ(run(*ops_, 4), std::pair(o, state));
    EXPECT_EQ(run(*scalar_, 100), std::pair(o, state));
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, OpsProperty, ::testing::ValuesIn(testing::cpu_targets()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace flashmoe
