#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/testing/cpu_ops_fixture.h"
#include "kernels/testing/op_inputs.h"

// The ops that carry something along a sequence (KV cache, convolution state, delta state) on every
// CPU target against the reference.

namespace flashmoe {
namespace {

using testing::Fill;
using testing::filled_matrix;
using testing::KvBlocks;
using testing::Matrix;
using testing::mixed_matrix;
using testing::Random;
using testing::relative_rms_of_rows;

class SequenceParity : public testing::CpuOpsTest {
 protected:
  Random random_{9};

  // `q_size`: about the length of a score's spread.
  void check_attention(const AttentionShape& shape, std::size_t position, float q_size,
                       double tolerance, std::size_t first = 0,
                       std::span<const std::uint32_t> runs = {}) {
    SCOPED_TRACE(fmt::format("{} heads over {} of {}, position {}, scores of size {}",
                             shape.num_heads, shape.num_kv_heads, shape.head_dim, position,
                             q_size));
    const std::size_t q_stride = shape.head_dim + 5;  // a gate lies between the heads
    Matrix q = filled_matrix(random_, Fill::kNormal, shape.num_heads, shape.head_dim, 5);
    for (std::size_t h = 0; h < shape.num_heads; ++h) {
      for (float& value : q.view().row_span(h)) value *= q_size;
    }
    const KvBlocks keys(random_, shape.num_kv_heads, shape.head_dim, position + 1, shape.precision);
    const KvBlocks values(random_, shape.num_kv_heads, shape.value_stride, position + 1,
                          shape.precision);
    Matrix actual(shape.num_heads, shape.value_dim), expected = actual;
    AttentionRow row = {.q = q.data(),
                        .q_stride = q_stride,
                        .key_blocks = keys.pointers(),
                        .value_blocks = values.pointers(),
                        .first = first,
                        .position = position,
                        .runs = runs,
                        .out = actual.data()};
    ops_->attention(shape, {&row, 1});
    row.out = expected.data();
    reference_->attention(shape, {&row, 1});
    EXPECT_LE(relative_rms_of_rows(actual, expected), tolerance);
  }

  void check_conv(const ConvShape& shape, std::size_t channels,
                  const std::vector<std::size_t>& lengths) {
    const std::size_t kernel = shape.kernel;
    SCOPED_TRACE(fmt::format("kernel {} over {}, {} channels, segments {}", kernel, shape.dilation,
                             channels, fmt::join(lengths, ", ")));
    const std::size_t rows = std::accumulate(lengths.begin(), lengths.end(), std::size_t{0});
    const Matrix u = mixed_matrix(random_, rows, channels, 3);
    const Matrix weight = filled_matrix(random_, Fill::kNormal, kernel, channels);
    Matrix actual(rows, channels, 2), expected = actual;
    const std::size_t state_rows = shape.past();
    Matrix actual_state =
        filled_matrix(random_, Fill::kNormal, state_rows * lengths.size(), channels);
    Matrix expected_state = actual_state;
    const auto segments_on = [&](Matrix& state) {
      std::vector<ConvSegment> segments;
      std::size_t begin = 0;
      for (std::size_t s = 0; s < lengths.size(); ++s) {
        segments.push_back({.row_begin = begin,
                            .row_end = begin + lengths[s],
                            .state = state.row(s * state_rows)});
        begin += lengths[s];
      }
      return segments;
    };
    ops_->causal_conv_silu(u.view(), weight.data(), shape, segments_on(actual_state),
                           actual.view());
    reference_->causal_conv_silu(u.view(), weight.data(), shape, segments_on(expected_state),
                                 expected.view());
    // Up to five products, rounded relative to the largest; with one channel that is all but
    // cancelled now and then. The floor is silu's: exp is 0 below -87.34.
    EXPECT_LE(relative_rms_of_rows(actual, expected, 1e-35), 5e-6);
    EXPECT_TRUE(actual.gaps_intact());
    EXPECT_EQ(actual_state, expected_state);  // a copy of inputs
  }

  void check_delta(const DeltaShape& shape, const std::vector<std::size_t>& lengths,
                   double tolerance) {
    SCOPED_TRACE(fmt::format("{} key heads of {}, {} value heads of {}, segments {}",
                             shape.key_heads, shape.key_dim, shape.value_heads, shape.value_dim,
                             fmt::join(lengths, ", ")));
    const std::size_t rows = std::accumulate(lengths.begin(), lengths.end(), std::size_t{0});
    const std::size_t key_cols = shape.key_heads * shape.key_dim;
    const std::size_t value_cols = shape.value_heads * shape.value_dim;
    Matrix q = filled_matrix(random_, Fill::kNormal, rows, key_cols, 3);
    Matrix k = filled_matrix(random_, Fill::kNormal, rows, key_cols, 1);
    for (Matrix* x : {&q, &k}) {  // unit vectors, as in the model: longer ones let S explode
      reference_->l2_normalize(x->view(), shape.key_dim, 1);
    }
    const Matrix v = filled_matrix(random_, Fill::kOutliers, rows, value_cols, 2);
    Matrix decay(rows, shape.value_heads), beta(rows, shape.value_heads, 1);
    for (std::size_t t = 0; t < rows; ++t) {
      for (std::size_t h = 0; h < shape.value_heads; ++h) {
        decay.row(t)[h] =
            random_.below(8) == 0 ? static_cast<float>(random_.below(2)) : random_.uniform(0.5f, 1);
        beta.row(t)[h] =
            random_.below(8) == 0 ? static_cast<float>(random_.below(2)) : random_.uniform(0, 1);
      }
    }
    Matrix actual(rows, value_cols, 4), expected = actual;
    const std::size_t state_rows = shape.value_heads * shape.key_dim;
    Matrix actual_state =
        filled_matrix(random_, Fill::kNormal, state_rows * lengths.size(), shape.value_dim);
    Matrix expected_state = actual_state;
    const auto segments_on = [&](Matrix& state) {
      std::vector<DeltaSegment> segments;
      std::size_t begin = 0;
      for (std::size_t s = 0; s < lengths.size(); ++s) {
        segments.push_back({.row_begin = begin,
                            .row_end = begin + lengths[s],
                            .state = state.row(s * state_rows)});
        begin += lengths[s];
      }
      return segments;
    };
    ops_->delta_rule(shape, q.view(), k.view(), v.view(), decay.view(), beta.view(),
                     segments_on(actual_state), actual.view());
    reference_->delta_rule(shape, q.view(), k.view(), v.view(), decay.view(), beta.view(),
                           segments_on(expected_state), expected.view());
    EXPECT_LE(relative_rms_of_rows(actual, expected), tolerance);
    // The state as one vector: a row of it can be all but zero.
    const std::size_t state_size = state_rows * lengths.size() * shape.value_dim;
    EXPECT_LE(testing::relative_rms({actual_state.data(), state_size},
                                    {expected_state.data(), state_size}),
              tolerance);
    EXPECT_TRUE(actual.gaps_intact());
  }
};

constexpr std::size_t kPositions[] = {0, 1, 15, 16, 62, 63, 64, 65, 126, 127, 128, 129, 200};

TEST_P(SequenceParity, AttentionOfEveryShape) {
  for (const auto& [num_heads, num_kv_heads] :
       {std::pair<std::size_t, std::size_t>{1, 1}, {4, 2}, {6, 2}, {3, 3}, {16, 2}}) {
    for (const std::size_t head_dim : {4u, 15u, 16u, 20u, 64u, 96u, 256u}) {
      AttentionShape shape = {.num_heads = num_heads,
                              .num_kv_heads = num_kv_heads,
                              .head_dim = head_dim,
                              .value_dim = head_dim,
                              .value_stride = head_dim,
                              .scale = 1 / std::sqrt(static_cast<float>(head_dim))};
      for (const std::size_t position : {0u, 5u, 64u, 130u}) {
        // Scores of size 1 in float: 16-lane dots, exp, and sums of positive weights. What rounds
        // keys and values has done so before either meets them.
        for (const KvPrecision precision :
             {KvPrecision::kF32, KvPrecision::kBF16, KvPrecision::kInt8}) {
          shape.precision = precision;
          check_attention(shape, position, 1, 1e-6);
        }
      }
    }
  }
}

TEST_P(SequenceParity, AttentionAtTheEdgesOfBlocks) {
  const AttentionShape shape = {.num_heads = 4,
                                .num_kv_heads = 2,
                                .head_dim = 32,
                                .value_dim = 32,
                                .value_stride = 32,
                                .scale = 0.18f};
  for (const std::size_t position : kPositions) {
    check_attention(shape, position, 1, 1e-6);
    // exp turns a score's absolute error, 1e-7 of |q| |k| scale (about 30 sqrt(32)), into a
    // relative one.
    check_attention(shape, position, 30, 3e-5);
    // Scores beyond +-88: all weights but a few are zero, those of whole blocks too.
    check_attention(shape, position, 300, 3e-4);
  }
}

TEST_P(SequenceParity, AttentionWithWindowsSinksAndNarrowValues) {
  const std::vector<float> sinks = {0.5f, -1, 3, 0, 1, -30};
  for (const std::size_t value_dim : {16u, 33u, 64u, 80u}) {
    AttentionShape shape = {.num_heads = 6,
                            .num_kv_heads = 1,
                            .head_dim = 80,
                            .value_dim = value_dim,
                            .value_stride = 80,
                            .scale = 0.1f};
    for (const bool has_sinks : {false, true}) {
      shape.sinks = has_sinks ? sinks.data() : nullptr;
      for (const std::size_t first : {0u, 1u, 63u, 64u, 100u, 190u}) {
        for (const KvPrecision precision :
             {KvPrecision::kF32, KvPrecision::kBF16, KvPrecision::kInt8}) {
          shape.precision = precision;
          check_attention(shape, 190, 1, 1e-6, first);
        }
      }
    }
  }
}

TEST_P(SequenceParity, AttentionToRunsOfPositions) {
  for (const std::size_t run_size : {1u, 2u, 4u, 16u, 64u}) {
    for (const std::size_t head_dim : {20u, 64u}) {
      const AttentionShape shape = {.num_heads = 6,
                                    .num_kv_heads = 2,
                                    .head_dim = head_dim,
                                    .value_dim = head_dim,
                                    .value_stride = head_dim,
                                    .scale = 0.1f,
                                    .run_size = run_size};
      for (const std::size_t position : kPositions) {
        const std::size_t last = position / run_size;
        std::vector<std::uint32_t> some, own = {static_cast<std::uint32_t>(last)}, all;
        for (std::uint32_t run = 0; run <= last; ++run) {
          all.push_back(run);
          if (run == last || random_.below(3) == 0) some.push_back(run);
        }
        for (const auto& runs : {some, own, all}) {
          check_attention(shape, position, 1, 1e-6, 0, runs);
          check_attention(shape, position, 1, 1e-6, position - position % run_size / 2, runs);
        }
      }
    }
  }
}

TEST_P(SequenceParity, ChosenKeys) {
  for (const std::size_t keys_per_block : {1u, 4u, 16u, 64u}) {
    for (const std::size_t head_dim : {4u, 20u, 128u}) {
      constexpr std::size_t kHeads = 3, kKeys = 150, kRows = 4;
      const std::size_t blocks = (kKeys + keys_per_block - 1) / keys_per_block;
      // Half the rows are of small whole numbers, with many equal scores and many that are 0.
      Matrix q = filled_matrix(random_, Fill::kNormal, kRows, kHeads * head_dim);
      Matrix keys = filled_matrix(random_, Fill::kNormal, blocks * keys_per_block, head_dim);
      const std::vector<float> weights = {0.5f, 0.25f, -0.125f};
      for (const bool is_whole : {false, true}) {
        if (is_whole) {
          for (Matrix* m : {&q, &keys}) {
            for (std::size_t r = 0; r < m->rows(); ++r) {
              for (float& value : m->view().row_span(r)) value = std::round(value * 0.7f);
            }
          }
        }
        std::vector<const void*> pointers;
        for (std::size_t b = 0; b < blocks; ++b) pointers.push_back(keys.row(b * keys_per_block));
        for (const std::size_t k : {1u, 7u, 64u, 100u}) {
          std::vector<std::uint32_t> actual(kRows * k), expected(kRows * k);
          std::vector<std::uint64_t> room(kRows * k);
          const auto rows = [&](std::vector<std::uint32_t>& chosen) {
            std::vector<KeySearch> rows;
            for (std::size_t r = 0; r < kRows; ++r) {
              rows.push_back({.q = q.row(r),
                              .key_blocks = pointers.data(),
                              .key_count = r == 0 ? k : kKeys - r,
                              .chosen = chosen.data() + r * k,
                              .room = room.data() + r * k});
            }
            return rows;
          };
          const KeySearchShape shape = {.num_heads = kHeads,
                                        .head_dim = head_dim,
                                        .keys_per_block = keys_per_block,
                                        .k = k,
                                        .head_weights = weights.data()};
          ops_->choose_keys(shape, rows(actual));
          reference_->choose_keys(shape, rows(expected));
          EXPECT_EQ(actual, expected) << keys_per_block << " " << head_dim << " " << k;
        }
      }
    }
  }
}

TEST_P(SequenceParity, ConvolutionInSegments) {
  for (const std::size_t kernel : {1u, 2u, 4u, 5u}) {
    for (const std::size_t channels : {1u, 7u, 16u, 33u, 96u, 300u}) {
      for (const std::size_t dilation : {1u, 3u}) {
        const ConvShape shape = {kernel, dilation};
        check_conv(shape, channels, {9});
        check_conv(shape, channels, {1, 2, 3, 0, 5, 1});  // shorter than the state, and empty
      }
    }
  }
}

TEST_P(SequenceParity, DeltaRuleOfEveryShape) {
  // Sums of key_dim products in float, and a state that is rounded twice per token where the
  // reference rounds once: a few 1e-7, and more where a short row of o happens to cancel.
  constexpr double kTolerance = 1e-5;
  for (const DeltaShape& shape :
       {DeltaShape{1, 1, 8, 8}, DeltaShape{2, 4, 24, 20}, DeltaShape{1, 3, 16, 33},
        DeltaShape{2, 2, 5, 1}, DeltaShape{1, 2, 128, 128}, DeltaShape{2, 6, 64, 96},
        DeltaShape{2, 6, 16, 8, /*is_tiled=*/true}}) {
    check_delta(shape, {1}, kTolerance);
    check_delta(shape, {33}, kTolerance);
    check_delta(shape, {1, 2, 0, 5, 1}, kTolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, SequenceParity, ::testing::ValuesIn(testing::cpu_targets()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace flashmoe
