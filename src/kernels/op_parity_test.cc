#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/testing/cpu_ops_fixture.h"
#include "kernels/testing/op_inputs.h"

// Every op that works on rows by themselves, on every CPU target, against the reference in double.
// Each tolerance is the largest relative RMS of a row; one rounding to float is 3e-8 of that kind.

namespace flashmoe {
namespace {

using testing::Fill;
using testing::filled_matrix;
using testing::kFills;
using testing::Matrix;
using testing::mixed_matrix;
using testing::Random;
using testing::relative_rms_of_rows;

// exp is 0 below -87.34, so that silu and sigmoid of less may be 0 where they are 1e-36 at most;
// and results below the normal floats differ by the underflow of an intermediate one.
constexpr double kFloor = 1e-35;
constexpr std::size_t kGap = 3;

constexpr std::size_t kRowCounts[] = {0, 1, 2, 7, 15};
constexpr std::size_t kColCounts[] = {1, 5, 15, 16, 17, 31, 33, 64, 96, 160, 384};

class OpParity : public testing::CpuOpsTest {
 protected:
  Random random_{7};

  template <typename Test>
  void for_sizes(Test test) {
    for (const std::size_t rows : kRowCounts) {
      for (const std::size_t cols : kColCounts) {
        SCOPED_TRACE(fmt::format("{} x {}", rows, cols));
        test(rows, cols);
      }
    }
  }
};

void expect_close(const Matrix& actual, const Matrix& expected, double tolerance) {
  EXPECT_LE(relative_rms_of_rows(actual, expected, kFloor), tolerance);
  EXPECT_TRUE(actual.gaps_intact());
}

TEST_P(OpParity, RmsNorm) {
  for_sizes([&](std::size_t rows, std::size_t cols) {
    const Matrix x = mixed_matrix(random_, rows, cols, kGap);
    const Matrix weight = filled_matrix(random_, Fill::kNormal, 1, cols);
    Matrix actual(rows, cols, kGap), expected = actual, in_place = x;
    ops_->rms_norm(x.view(), weight.data(), 1e-6f, actual.view());
    ops_->rms_norm(in_place.view(), weight.data(), 1e-6f, in_place.view());
    reference_->rms_norm(x.view(), weight.data(), 1e-6f, expected.view());
    // The sum of squares in 16 lanes (no cancellation), a square root, a division, two products.
    expect_close(actual, expected, 5e-7);
    EXPECT_EQ(in_place, actual);
  });
}

TEST_P(OpParity, GatedRmsNorm) {
  for_sizes([&](std::size_t rows, std::size_t cols) {
    const Matrix x = mixed_matrix(random_, rows, cols, kGap);
    const Matrix gate = filled_matrix(random_, Fill::kSaturating, rows, cols, kGap);
    const Matrix weight = filled_matrix(random_, Fill::kNormal, 1, cols);
    Matrix actual = x, expected = x;
    ops_->gated_rms_norm(actual.view(), gate.view(), weight.data(), 1e-6f);
    reference_->gated_rms_norm(expected.view(), gate.view(), weight.data(), 1e-6f);
    expect_close(actual, expected, 8e-7);  // rms_norm's and silu's
  });
}

TEST_P(OpParity, L2Normalize) {
  for_sizes([&](std::size_t rows, std::size_t cols) {
    const Matrix x = mixed_matrix(random_, rows, cols, kGap);
    for (const std::size_t heads : {1, 3, 4}) {
      if (cols % heads != 0) continue;
      Matrix actual = x, expected = x;
      ops_->l2_normalize(actual.view(), cols / heads, 0.0884f);
      reference_->l2_normalize(expected.view(), cols / heads, 0.0884f);
      expect_close(actual, expected, 5e-7);  // as rms_norm
    }
  });
}

TEST_P(OpParity, RowDots) {
  for_sizes([&](std::size_t rows, std::size_t cols) {
    Matrix a = mixed_matrix(random_, rows, cols, kGap);
    Matrix b = filled_matrix(random_, Fill::kDecades, rows, cols, 1);
    for (Matrix* m : {&a, &b}) {  // of one sign: sums that cancel have no relative error
      for (std::size_t r = 0; r < rows; ++r) {
        for (float& value : m->view().row_span(r)) value = std::abs(value);
      }
    }
    Matrix actual(rows, 1, 2), expected = actual;
    ops_->row_dots(a.view(), b.view(), actual.view());
    reference_->row_dots(a.view(), b.view(), expected.view());
    expect_close(actual, expected, 1e-6);  // a sum in 16 lanes
  });
}

TEST_P(OpParity, SigmoidGateOfItself) {
  for_sizes([&](std::size_t rows, std::size_t cols) {
    Matrix actual = filled_matrix(random_, Fill::kNormal, rows, cols, kGap), expected = actual;
    ops_->sigmoid_gate(actual.view(), actual.view());
    reference_->sigmoid_gate(expected.view(), expected.view());
    expect_close(actual, expected, 1e-6);  // exp, a division and a product
  });
}

TEST_P(OpParity, Add) {
  for_sizes([&](std::size_t rows, std::size_t cols) {
    const Matrix x = mixed_matrix(random_, rows, cols, kGap);
    const Matrix y = filled_matrix(random_, Fill::kDecades, rows, cols, 1);
    Matrix actual = x, expected = x;
    ops_->add(actual.view(), y.view());
    reference_->add(expected.view(), y.view());
    EXPECT_EQ(actual, expected);  // one rounding on both sides
    EXPECT_TRUE(actual.gaps_intact());
  });
}

TEST_P(OpParity, Swiglu) {
  for_sizes([&](std::size_t rows, std::size_t cols) {
    const Matrix gate = mixed_matrix(random_, rows, cols, kGap);
    const Matrix up = filled_matrix(random_, Fill::kNormal, rows, cols, 1);
    Matrix actual(rows, cols, 2), expected = actual, over_gate = gate, over_up = up;
    ops_->swiglu(gate.view(), up.view(), actual.view());
    ops_->swiglu(over_gate.view(), up.view(), over_gate.view());
    ops_->swiglu(gate.view(), over_up.view(), over_up.view());
    reference_->swiglu(gate.view(), up.view(), expected.view());
    // exp is good to 3e-7 (a polynomial of degree 6 and its roundings); a sum, a quotient, a
    // product.
    expect_close(actual, expected, 5e-7);
    EXPECT_EQ(over_gate, actual);
    EXPECT_EQ(over_up, actual);
  });
}

TEST_P(OpParity, Geglu) {
  for_sizes([&](std::size_t rows, std::size_t cols) {
    const Matrix gate = mixed_matrix(random_, rows, cols, kGap);
    const Matrix up = filled_matrix(random_, Fill::kNormal, rows, cols, 1);
    Matrix actual(rows, cols, 2), expected = actual, over_gate = gate, over_up = up;
    ops_->geglu(gate.view(), up.view(), actual.view());
    ops_->geglu(over_gate.view(), up.view(), over_gate.view());
    ops_->geglu(gate.view(), over_up.view(), over_up.view());
    reference_->geglu(gate.view(), up.view(), expected.view());
    // As swiglu; and exp's argument, of up to 87, is rounded three times.
    expect_close(actual, expected, 1.5e-5);
    EXPECT_EQ(over_gate, actual);
    EXPECT_EQ(over_up, actual);
  });
}

// Where a model's gates are, none of the tail's roundings show.
TEST_P(OpParity, GegluOfGatesOfOrdinarySize) {
  for_sizes([&](std::size_t rows, std::size_t cols) {
    const Matrix gate = filled_matrix(random_, Fill::kNormal, rows, cols, kGap);
    const Matrix up = filled_matrix(random_, Fill::kNormal, rows, cols, 1);
    Matrix actual(rows, cols, 2), expected = actual;
    ops_->geglu(gate.view(), up.view(), actual.view());
    reference_->geglu(gate.view(), up.view(), expected.view());
    expect_close(actual, expected, 1e-6);
  });
}

TEST_P(OpParity, ClampedSwiglu) {
  for_sizes([&](std::size_t rows, std::size_t cols) {
    const Matrix gate = mixed_matrix(random_, rows, cols, kGap);
    const Matrix up = mixed_matrix(random_, rows, cols, 1);
    Matrix actual(rows, cols, 2), expected = actual, over_gate = gate, over_up = up;
    const ClampedSwiglu clamp = {.alpha = 1.702f, .limit = 7};
    ops_->clamped_swiglu(clamp, gate.view(), up.view(), actual.view());
    ops_->clamped_swiglu(clamp, over_gate.view(), up.view(), over_gate.view());
    ops_->clamped_swiglu(clamp, gate.view(), over_up.view(), over_up.view());
    reference_->clamped_swiglu(clamp, gate.view(), up.view(), expected.view());
    // As swiglu; and exp's argument, of up to 87, is rounded.
    expect_close(actual, expected, 1e-5);
    EXPECT_EQ(over_gate, actual);
    EXPECT_EQ(over_up, actual);
  });
}

TEST_P(OpParity, Scale) {
  for_sizes([&](std::size_t rows, std::size_t cols) {
    Matrix actual = mixed_matrix(random_, rows, cols, kGap), expected = actual;
    ops_->scale(actual.view(), 53.065994f);
    reference_->scale(expected.view(), 53.065994f);
    EXPECT_EQ(actual, expected);  // one rounding on both sides
    EXPECT_TRUE(actual.gaps_intact());
  });
}

TEST_P(OpParity, SoftCap) {
  for_sizes([&](std::size_t rows, std::size_t cols) {
    const Matrix x = mixed_matrix(random_, rows, cols, kGap);
    for (const float cap : {0.05f, 1.0f, 30.0f}) {
      Matrix actual = x, expected = x;
      ops_->soft_cap(actual.view(), cap);
      reference_->soft_cap(expected.view(), cap);
      // A quotient, tanh, which is good to 2e-7, a product.
      expect_close(actual, expected, 5e-7);
    }
  });
}

TEST_P(OpParity, SigmoidGate) {
  for_sizes([&](std::size_t rows, std::size_t cols) {
    const Matrix x = filled_matrix(random_, Fill::kNormal, rows, cols, kGap);
    const Matrix gate = mixed_matrix(random_, rows, cols, 1);
    Matrix actual = x, expected = x;
    ops_->sigmoid_gate(actual.view(), gate.view());
    reference_->sigmoid_gate(expected.view(), gate.view());
    expect_close(actual, expected, 5e-7);  // as swiglu
  });
}

TEST_P(OpParity, SigmoidScaleRows) {
  for_sizes([&](std::size_t rows, std::size_t cols) {
    const Matrix x = mixed_matrix(random_, rows, cols, kGap);
    const Matrix gate = filled_matrix(random_, Fill::kSaturating, rows, 1, 2);
    Matrix actual = x, expected = x;
    ops_->sigmoid_scale_rows(actual.view(), gate.view());
    reference_->sigmoid_scale_rows(expected.view(), gate.view());
    // As swiglu, but that sigmoid below exp(-87.3) may be 0: kLarge times that is 1e-26.
    EXPECT_LE(relative_rms_of_rows(actual, expected, 1e-25), 5e-7);
    EXPECT_TRUE(actual.gaps_intact());
  });
}

TEST_P(OpParity, RouteTopK) {
  for (const std::size_t experts : {1u, 2u, 8u, 15u, 17u, 60u, 128u, 512u}) {
    for (const std::size_t k : {std::size_t{1}, std::size_t{2}, std::size_t{10}, experts}) {
      if (k > experts) continue;
      for (const bool normalize : {false, true}) {
        SCOPED_TRACE(fmt::format("{} of {} experts, normalize {}", k, experts, normalize));
        constexpr std::size_t kRows = 2 * std::size(kFills);
        const Matrix logits = mixed_matrix(random_, kRows, experts, kGap);
        std::vector<std::uint16_t> actual_ids(kRows * k), expected_ids(kRows * k);
        Matrix actual(kRows, k), expected(kRows, k);
        ops_->route({.k = k, .normalize = normalize}, logits.view(), actual_ids,
                    {actual.data(), kRows * k});
        reference_->route({.k = k, .normalize = normalize}, logits.view(), expected_ids,
                          {expected.data(), kRows * k});
        EXPECT_EQ(actual_ids, expected_ids);  // comparisons only
        // exp, a sum of up to 512 terms without cancellation, a quotient.
        expect_close(actual, expected, 5e-7);
      }
    }
  }
}

TEST_P(OpParity, RouteBySigmoidScores) {
  constexpr std::size_t kRows = 7;
  for (const std::size_t experts : {8u, 24u, 256u}) {
    const Matrix bias = filled_matrix(random_, Fill::kNormal, 1, experts);
    const Matrix expert_scale = filled_matrix(random_, Fill::kNormal, 1, experts);
    for (const std::size_t groups : {1u, 4u}) {
      for (const bool normalize : {false, true}) {
        SCOPED_TRACE(
            fmt::format("{} experts in {} groups, normalize {}", experts, groups, normalize));
        const Matrix logits = filled_matrix(random_, Fill::kNormal, kRows, experts);
        const RouteRule rule = {.k = 4,
                                .normalize = normalize,
                                .score = RouteRule::Score::kSigmoid,
                                .scale = 2.5f,
                                .bias = bias.row(0),
                                .expert_scale = groups == 1 ? nullptr : expert_scale.row(0),
                                .groups = groups,
                                .groups_kept = groups == 1 ? 1u : 2u,
                                .groups_by_best_two = true};
        std::vector<std::uint16_t> actual_ids(kRows * rule.k), expected_ids(kRows * rule.k);
        Matrix actual(kRows, rule.k), expected(kRows, rule.k);
        ops_->route(rule, logits.view(), actual_ids, {actual.data(), kRows * rule.k});
        reference_->route(rule, logits.view(), expected_ids, {expected.data(), kRows * rule.k});
        EXPECT_EQ(actual_ids, expected_ids);
        expect_close(actual, expected, 5e-7);
      }
    }
  }
}

TEST_P(OpParity, AddWeightedRows) {
  for_sizes([&](std::size_t rows, std::size_t cols) {
    const Matrix d = filled_matrix(random_, Fill::kDecades, 6, cols, kGap);
    Matrix actual = filled_matrix(random_, Fill::kNormal, rows, cols, kGap), expected = actual;
    std::vector<WeightedRow> terms;
    for (std::size_t i = 0; i < 3 * rows; ++i) {
      terms.push_back({.y_row = static_cast<std::uint32_t>(random_.below(rows)),
                       .d_row = static_cast<std::uint32_t>(random_.below(6)),
                       .weight = random_.normal()});
    }
    ops_->add_weighted_rows(d.view(), terms, actual.view());
    reference_->add_weighted_rows(d.view(), terms, expected.view());
    expect_close(actual, expected, 1e-7);  // one rounding per term on both sides
  });
}

TEST_P(OpParity, RopeAngles) {
  const std::vector<std::uint32_t> positions = {0,    1,    2,     63,     64,
                                                1000, 4097, 65535, 262143, 1000000};
  for (const std::size_t half : {1u, 4u, 15u, 16u, 17u, 32u, 64u}) {
    SCOPED_TRACE(half);
    Matrix inv_freq(1, half);
    for (std::size_t j = 0; j < half; ++j) {
      inv_freq.data()[j] =
          static_cast<float>(std::pow(1e6, -static_cast<double>(j) / static_cast<double>(half)));
    }
    Matrix cos(positions.size(), half, kGap), sin = cos, expected_cos = cos, expected_sin = cos;
    ops_->rope_angles(positions, {inv_freq.data(), half}, 1.25f, cos.view(), sin.view());
    reference_->rope_angles(positions, {inv_freq.data(), half}, 1.25f, expected_cos.view(),
                            expected_sin.view());
    expect_close(cos, expected_cos, 1.2e-7);  // computed in double, rounded twice
    expect_close(sin, expected_sin, 1.2e-7);
  }
}

TEST_P(OpParity, Rope) {
  for (const std::size_t tokens : {0u, 1u, 5u}) {
    for (const std::size_t heads : {1u, 3u}) {
      for (const std::size_t half : {1u, 5u, 16u, 20u, 32u}) {
        for (const std::size_t head_dim : {2 * half, 2 * half + 7}) {
          SCOPED_TRACE(fmt::format("{} tokens, {} heads of {}, {} rotated", tokens, heads, head_dim,
                                   2 * half));
          Matrix cos(tokens, half), sin(tokens, half);
          for (std::size_t t = 0; t < tokens; ++t) {
            for (std::size_t i = 0; i < half; ++i) {
              const float angle = random_.uniform(-3, 3);
              cos.row(t)[i] = std::cos(angle);
              sin.row(t)[i] = std::sin(angle);
            }
          }
          Matrix actual = filled_matrix(random_, Fill::kNormal, tokens * heads, head_dim, kGap);
          const Matrix x = actual;
          Matrix expected = actual;
          ops_->rope(actual.view(), heads, cos.view(), sin.view());
          reference_->rope(expected.view(), heads, cos.view(), sin.view());
          expect_close(actual, expected, 2e-7);  // a product and a fma
          for (std::size_t r = 0; r < x.rows(); ++r) {
            EXPECT_TRUE(std::equal(actual.row(r) + 2 * half, actual.row(r) + head_dim,
                                   x.row(r) + 2 * half));
          }
        }
      }
    }
  }
}

TEST_P(OpParity, DeltaGates) {
  for_sizes([&](std::size_t rows, std::size_t heads) {
    const Matrix a = mixed_matrix(random_, rows, heads, kGap);
    const Matrix b = mixed_matrix(random_, rows, heads, 1);
    const Matrix dt_bias = filled_matrix(random_, Fill::kNormal, 1, heads);
    Matrix neg_exp_a(1, heads);
    for (std::size_t h = 0; h < heads; ++h) neg_exp_a.data()[h] = -random_.uniform(1e-3f, 16);
    Matrix decay(rows, heads, kGap), beta = decay, expected_decay = decay, expected_beta = decay;
    Matrix decay_in_place = a, beta_in_place = b;
    ops_->delta_gates(a.view(), b.view(), neg_exp_a.data(), dt_bias.data(), decay.view(),
                      beta.view());
    ops_->delta_gates(decay_in_place.view(), beta_in_place.view(), neg_exp_a.data(), dt_bias.data(),
                      decay_in_place.view(), beta_in_place.view());
    reference_->delta_gates(a.view(), b.view(), neg_exp_a.data(), dt_bias.data(),
                            expected_decay.view(), expected_beta.view());
    // exp(x) magnifies the relative error of x, some 2e-7, by |x|, which reaches 87.
    expect_close(decay, expected_decay, 2e-5);
    expect_close(beta, expected_beta, 5e-7);  // as swiglu
    EXPECT_EQ(decay_in_place, decay);
    EXPECT_EQ(beta_in_place, beta);
  });
}

INSTANTIATE_TEST_SUITE_P(Targets, OpParity, ::testing::ValuesIn(testing::cpu_targets()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace flashmoe
