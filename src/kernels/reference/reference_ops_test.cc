#include "kernels/reference/reference_ops.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/testing/op_inputs.h"

// The two ops that an implementation may compute in another order than their definition, against
// that other order: the delta rule by chunks, attention by the whole matrix of scores.

namespace flashmoe {
namespace {

using testing::Fill;
using testing::filled_matrix;
using testing::Matrix;
using testing::Random;
using testing::relative_rms_of_rows;

// One head's chunk of n tokens by the chunked form of the gated delta rule:
//   G_r = sum_{t<=r} log decay_t,   D_rc = exp(G_r - G_c)
//   L_rc = beta_r (k_r . k_c) D_rc,  c < r
//   (I + L) U = diag(beta) (V - diag(exp G) K S)
//   O = diag(exp G) Q S + tril((Q K^T) * D) U
//   S' = exp(G_n) S + sum_c exp(G_n - G_c) k_c u_c^T
// S: [key_dim, value_dim], updated; o: [n, value_dim].
struct Chunk {
  std::size_t n = 0, key_dim = 0, value_dim = 0;
  std::vector<std::vector<double>> q{}, k{}, v{};
  std::vector<double> decay{}, beta{};
};
std::vector<std::vector<double>> chunked_delta_rule(const Chunk& x,
                                                    std::vector<std::vector<double>>& s) {
  const auto dot = [](const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
  };
  const auto times_s = [&](const std::vector<double>& a, std::size_t dv) {
    double sum = 0;
    for (std::size_t dk = 0; dk < x.key_dim; ++dk) sum += a[dk] * s[dk][dv];
    return sum;
  };
  std::vector<double> g(x.n);
  for (std::size_t r = 0; r < x.n; ++r) g[r] = (r == 0 ? 0 : g[r - 1]) + std::log(x.decay[r]);

  std::vector<std::vector<double>> u(x.n, std::vector<double>(x.value_dim)), o = u;
  for (std::size_t r = 0; r < x.n; ++r) {
    for (std::size_t dv = 0; dv < x.value_dim; ++dv) {
      u[r][dv] = x.beta[r] * (x.v[r][dv] - std::exp(g[r]) * times_s(x.k[r], dv));
      for (std::size_t c = 0; c < r; ++c) {
        u[r][dv] -= x.beta[r] * dot(x.k[r], x.k[c]) * std::exp(g[r] - g[c]) * u[c][dv];
      }
      o[r][dv] = std::exp(g[r]) * times_s(x.q[r], dv);
      for (std::size_t c = 0; c <= r; ++c) {
        o[r][dv] += dot(x.q[r], x.k[c]) * std::exp(g[r] - g[c]) * u[c][dv];
      }
    }
  }
  for (std::size_t dk = 0; dk < x.key_dim; ++dk) {
    for (std::size_t dv = 0; dv < x.value_dim; ++dv) {
      double sum = std::exp(g[x.n - 1]) * s[dk][dv];
      for (std::size_t c = 0; c < x.n; ++c) {
        sum += std::exp(g[x.n - 1] - g[c]) * x.k[c][dk] * u[c][dv];
      }
      s[dk][dv] = sum;
    }
  }
  return o;
}

TEST(ReferenceOps, TheDeltaRuleEqualsItsChunkedForm) {
  const DeltaShape shape = {.key_heads = 2, .value_heads = 4, .key_dim = 24, .value_dim = 20};
  constexpr std::size_t kTokens = 70;
  Random random(1);
  const auto ops = make_reference_ops();
  Matrix q = filled_matrix(random, Fill::kNormal, kTokens, shape.key_heads * shape.key_dim);
  Matrix k = filled_matrix(random, Fill::kNormal, kTokens, shape.key_heads * shape.key_dim);
  const Matrix v = filled_matrix(random, Fill::kNormal, kTokens, 4 * shape.value_dim);
  for (Matrix* x : {&q, &k}) {  // per head, as the model does; without it the recurrence explodes
    ops->l2_normalize(x->view(), shape.key_dim, 1);
  }
  Matrix decay(kTokens, 4), beta(kTokens, 4);
  for (std::size_t t = 0; t < kTokens; ++t) {
    for (std::size_t h = 0; h < 4; ++h) {
      decay.row(t)[h] = random.uniform(0.3f, 1);
      beta.row(t)[h] = random.uniform(0, 1);
    }
  }
  const std::size_t state_rows = shape.value_heads * shape.key_dim;
  const Matrix state_before = filled_matrix(random, Fill::kNormal, state_rows, shape.value_dim);

  Matrix state = state_before;
  Matrix o(kTokens, 4 * shape.value_dim);
  const DeltaSegment segment = {.row_begin = 0, .row_end = kTokens, .state = state.data()};
  ops->delta_rule(shape, q.view(), k.view(), v.view(), decay.view(), beta.view(), {&segment, 1},
                  o.view());

  Matrix o_chunked(kTokens, 4 * shape.value_dim), state_chunked(state_rows, shape.value_dim);
  for (std::size_t h = 0; h < shape.value_heads; ++h) {
    std::vector<std::vector<double>> s(shape.key_dim);
    for (std::size_t dk = 0; dk < shape.key_dim; ++dk) {
      const float* row = state_before.row(h * shape.key_dim + dk);
      s[dk].assign(row, row + shape.value_dim);
    }
    for (const auto& [begin, end] : {std::pair<std::size_t, std::size_t>{0, 64}, {64, kTokens}}) {
      Chunk chunk = {.n = end - begin, .key_dim = shape.key_dim, .value_dim = shape.value_dim};
      for (std::size_t t = begin; t < end; ++t) {
        const float* q_t = q.row(t) + h / 2 * shape.key_dim;
        const float* k_t = k.row(t) + h / 2 * shape.key_dim;
        const float* v_t = v.row(t) + h * shape.value_dim;
        chunk.q.emplace_back(q_t, q_t + shape.key_dim);
        chunk.k.emplace_back(k_t, k_t + shape.key_dim);
        chunk.v.emplace_back(v_t, v_t + shape.value_dim);
        chunk.decay.push_back(decay.row(t)[h]);
        chunk.beta.push_back(beta.row(t)[h]);
      }
      const auto chunk_o = chunked_delta_rule(chunk, s);
      for (std::size_t t = begin; t < end; ++t) {
        for (std::size_t dv = 0; dv < shape.value_dim; ++dv) {
          o_chunked.row(t)[h * shape.value_dim + dv] = static_cast<float>(chunk_o[t - begin][dv]);
        }
      }
    }
    for (std::size_t dk = 0; dk < shape.key_dim; ++dk) {
      for (std::size_t dv = 0; dv < shape.value_dim; ++dv) {
        state_chunked.row(h * shape.key_dim + dk)[dv] = static_cast<float>(s[dk][dv]);
      }
    }
  }
  // What is left is the rounding of the state to float after every token.
  EXPECT_LT(relative_rms_of_rows(o, o_chunked), 2e-7);
  EXPECT_LT(relative_rms_of_rows(state, state_chunked), 2e-7);
}

TEST(ReferenceOps, AttentionEqualsTheFullSoftmax) {
  const AttentionShape shape = {.num_heads = 6,
                                .num_kv_heads = 2,
                                .head_dim = 12,
                                .value_dim = 12,
                                .value_stride = 12,
                                .scale = 0.3f};
  constexpr std::size_t kTokens = 130, kBlocks = 3;
  Random random(2);
  const Matrix q = filled_matrix(random, Fill::kNormal, kTokens, 6 * shape.head_dim);
  // [positions, num_kv_heads * head_dim] and the same in blocks.
  const Matrix keys = filled_matrix(random, Fill::kNormal, kTokens, 2 * shape.head_dim);
  const Matrix values = filled_matrix(random, Fill::kNormal, kTokens, 2 * shape.head_dim);
  const auto in_blocks = [&](const Matrix& cached) {
    std::vector<Matrix> blocks(kBlocks, Matrix(2 * kKvBlock, shape.head_dim));
    for (std::size_t j = 0; j < kTokens; ++j) {
      for (std::size_t h = 0; h < 2; ++h) {
        std::copy_n(cached.row(j) + h * shape.head_dim, shape.head_dim,
                    blocks[j / kKvBlock].row(h * kKvBlock + j % kKvBlock));
      }
    }
    return blocks;
  };
  const std::vector<Matrix> key_blocks = in_blocks(keys), value_blocks = in_blocks(values);
  std::vector<const void*> key_pointers, value_pointers;
  for (std::size_t b = 0; b < kBlocks; ++b) {
    key_pointers.push_back(key_blocks[b].data());
    value_pointers.push_back(value_blocks[b].data());
  }

  Matrix out(kTokens, 6 * shape.head_dim), expected = out;
  std::vector<AttentionRow> rows;
  for (std::size_t t = 0; t < kTokens; ++t) {
    rows.push_back({.q = q.row(t),
                    .q_stride = shape.head_dim,
                    .key_blocks = key_pointers.data(),
                    .value_blocks = value_pointers.data(),
                    .position = t,
                    .out = out.row(t)});
  }
  make_reference_ops()->attention(shape, rows);

  // softmax(scale Q K^T + mask) V over all positions, the mask being -infinity above the diagonal.
  for (std::size_t h = 0; h < 6; ++h) {
    const std::size_t at = h / 3 * shape.head_dim;
    for (std::size_t t = 0; t < kTokens; ++t) {
      std::vector<double> weight(kTokens);
      double total = 0;
      for (std::size_t j = 0; j < kTokens; ++j) {
        double score = 0;
        for (std::size_t d = 0; d < shape.head_dim; ++d) {
          score += static_cast<double>(q.row(t)[h * shape.head_dim + d]) * keys.row(j)[at + d];
        }
        weight[j] = std::exp(score * shape.scale + (j > t ? -INFINITY : 0));
        total += weight[j];
      }
      for (std::size_t d = 0; d < shape.head_dim; ++d) {
        double sum = 0;
        for (std::size_t j = 0; j < kTokens; ++j) sum += weight[j] * values.row(j)[at + d];
        expected.row(t)[h * shape.head_dim + d] = static_cast<float>(sum / total);
      }
    }
  }
  EXPECT_LT(relative_rms_of_rows(out, expected), 1e-7);  // both rounded once
}

}  // namespace
}  // namespace flashmoe
