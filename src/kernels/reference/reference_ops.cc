#include "kernels/reference/reference_ops.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/check.h"
#include "kernels/kv_rows.h"
#include "kernels/reference/dequantize.h"

// Source of the math: transformers models/qwen3_next/modeling_qwen3_next.py. The formula stands
// above the code that computes it.

namespace flashmoe::reference {
namespace {

void check_same_shape(MatrixView<const float> a, MatrixView<const float> b) {
  FM_CHECK(a.rows == b.rows);
  FM_CHECK(a.cols == b.cols);
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

double silu(double x) { return x / (1 + std::exp(-x)); }

// x/2 (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3); (1 + tanh(u)) / 2 = sigmoid(2 u), which
// cancels nothing.
double gelu_tanh(double x) {
  constexpr double kTwoSqrtTwoOverPi = 1.5957691216057308;
  return x * sigmoid(kTwoSqrtTwoOverPi * (x + 0.044715 * x * x * x));
}

// log(1 + exp(x)), which is x to the last bit of a float above 20.
double softplus(double x) { return x > 20 ? x : std::log1p(std::exp(x)); }

double sum_of_squares(std::span<const float> x) {
  double sum = 0;
  for (const double value : x) sum += value * value;
  return sum;
}

// 1 / sqrt(mean(x^2) + eps)
double reciprocal_rms(std::span<const float> x, double eps) {
  return 1 / std::sqrt(sum_of_squares(x) / static_cast<double>(x.size()) + eps);
}

double dot(const float* a, const float* b, std::size_t count) {
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

class ReferenceOps final : public Ops {
 public:
  std::string_view target() const override { return "reference"; }

  void embed(const WeightView& table, std::span<const std::int32_t> ids,
             MatrixView<float> out) override;
  void prepare(MatrixView<const float> x, Activations& out) override;
  void linear(std::span<const LinearTask> tasks) override;
  void rms_norm(MatrixView<const float> x, const float* weight, float eps,
                MatrixView<float> y) override;
  void add(MatrixView<float> x, MatrixView<const float> y) override;
  void swiglu(MatrixView<const float> gate, MatrixView<const float> up,
              MatrixView<float> h) override;
  void geglu(MatrixView<const float> gate, MatrixView<const float> up,
             MatrixView<float> h) override;
  void clamped_swiglu(const ClampedSwiglu& clamp, MatrixView<const float> gate,
                      MatrixView<const float> up, MatrixView<float> h) override;
  void row_dots(MatrixView<const float> a, MatrixView<const float> b,
                MatrixView<float> out) override;
  void scale(MatrixView<float> x, float factor) override;
  void soft_cap(MatrixView<float> x, float cap) override;
  void sigmoid_gate(MatrixView<float> x, MatrixView<const float> gate) override;
  void sigmoid_scale_rows(MatrixView<float> x, MatrixView<const float> gate) override;
  void route(const RouteRule& rule, MatrixView<const float> logits, std::span<std::uint16_t> ids,
             std::span<float> weights) override;
  void add_weighted_rows(MatrixView<const float> d, std::span<const WeightedRow> terms,
                         MatrixView<float> y) override;
  void rope_angles(std::span<const std::uint32_t> positions, std::span<const float> inv_freq,
                   float scale, MatrixView<float> cos, MatrixView<float> sin) override;
  void rope(MatrixView<float> x, std::size_t heads, MatrixView<const float> cos,
            MatrixView<const float> sin) override;
  void attention(const AttentionShape& shape, std::span<const AttentionRow> rows) override;
  void choose_keys(const KeySearchShape& shape, std::span<const KeySearch> rows) override;
  void causal_conv_silu(MatrixView<const float> u, const float* weight, const ConvShape& shape,
                        std::span<const ConvSegment> segments, MatrixView<float> y) override;
  void l2_normalize(MatrixView<float> x, std::size_t head_dim, float scale) override;
  void delta_gates(MatrixView<const float> a, MatrixView<const float> b, const float* neg_exp_a,
                   const float* dt_bias, MatrixView<float> decay, MatrixView<float> beta) override;
  void delta_rule(const DeltaShape& shape, MatrixView<const float> q, MatrixView<const float> k,
                  MatrixView<const float> v, MatrixView<const float> decay,
                  MatrixView<const float> beta, std::span<const DeltaSegment> segments,
                  MatrixView<float> o) override;
  void gated_rms_norm(MatrixView<float> x, MatrixView<const float> gate, const float* weight,
                      float eps) override;
};

void ReferenceOps::embed(const WeightView& table, std::span<const std::int32_t> ids,
                         MatrixView<float> out) {
  FM_CHECK(out.rows == ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    FM_CHECK(ids[i] >= 0);
    dequantize_row(table, static_cast<std::size_t>(ids[i]), out.row_span(i));
  }
}

void ReferenceOps::prepare(MatrixView<const float> x, Activations& out) { out.reset(x); }

// y[i][o] = sum_c W[o][c] x[x_rows[i]][c]
void ReferenceOps::linear(std::span<const LinearTask> tasks) {
  for (const LinearTask& task : tasks) {
    const MatrixView<const float> x = task.x->values();
    FM_CHECK(x.cols == task.weight.cols);
    FM_CHECK(task.y.cols == task.weight.rows);
    FM_CHECK(task.x_rows.empty() || task.x_rows.size() == task.y.rows);
    std::vector<float> w(task.weight.cols);
    for (std::size_t o = 0; o < task.weight.rows; ++o) {
      dequantize_row(task.weight, o, w);
      for (std::size_t i = 0; i < task.y.rows; ++i) {
        const std::size_t x_row = task.x_rows.empty() ? i : task.x_rows[i];
        FM_CHECK(x_row < x.rows);
        task.y.row(i)[o] = static_cast<float>(dot(w.data(), x.row(x_row), x.cols));
      }
    }
  }
}

// y = x * rsqrt(mean(x^2) + eps) * weight
void ReferenceOps::rms_norm(MatrixView<const float> x, const float* weight, float eps,
                            MatrixView<float> y) {
  check_same_shape(x, y);
  for (std::size_t r = 0; r < x.rows; ++r) {
    const double scale = reciprocal_rms(x.row_span(r), eps);
    for (std::size_t c = 0; c < x.cols; ++c) {
      y.row(r)[c] = static_cast<float>(x.row(r)[c] * scale * weight[c]);
    }
  }
}

void ReferenceOps::add(MatrixView<float> x, MatrixView<const float> y) {
  check_same_shape(x, y);
  for (std::size_t r = 0; r < x.rows; ++r) {
    for (std::size_t c = 0; c < x.cols; ++c) x.row(r)[c] += y.row(r)[c];
  }
}

// h = silu(gate) * up
void ReferenceOps::swiglu(MatrixView<const float> gate, MatrixView<const float> up,
                          MatrixView<float> h) {
  check_same_shape(gate, up);
  check_same_shape(gate, h);
  for (std::size_t r = 0; r < h.rows; ++r) {
    for (std::size_t c = 0; c < h.cols; ++c) {
      h.row(r)[c] = static_cast<float>(silu(gate.row(r)[c]) * up.row(r)[c]);
    }
  }
}

// h = gelu(gate) * up
void ReferenceOps::geglu(MatrixView<const float> gate, MatrixView<const float> up,
                         MatrixView<float> h) {
  check_same_shape(gate, up);
  check_same_shape(gate, h);
  for (std::size_t r = 0; r < h.rows; ++r) {
    for (std::size_t c = 0; c < h.cols; ++c) {
      h.row(r)[c] = static_cast<float>(gelu_tanh(gate.row(r)[c]) * up.row(r)[c]);
    }
  }
}

// h = (clamp(up, -limit, limit) + 1) * g * sigmoid(alpha g), g = min(gate, limit)
void ReferenceOps::clamped_swiglu(const ClampedSwiglu& clamp, MatrixView<const float> gate,
                                  MatrixView<const float> up, MatrixView<float> h) {
  check_same_shape(gate, up);
  check_same_shape(gate, h);
  for (std::size_t r = 0; r < h.rows; ++r) {
    for (std::size_t c = 0; c < h.cols; ++c) {
      const double g = std::min(gate.row(r)[c], clamp.limit);
      const double u = std::clamp(up.row(r)[c], -clamp.limit, clamp.limit);
      h.row(r)[c] = static_cast<float>((u + 1) * g * sigmoid(clamp.alpha * g));
    }
  }
}

// out_i = a_i . b_i
void ReferenceOps::row_dots(MatrixView<const float> a, MatrixView<const float> b,
                            MatrixView<float> out) {
  check_same_shape(a, b);
  FM_CHECK(out.rows == a.rows);
  for (std::size_t r = 0; r < a.rows; ++r) {
    *out.row(r) = static_cast<float>(dot(a.row(r), b.row(r), a.cols));
  }
}

void ReferenceOps::scale(MatrixView<float> x, float factor) {
  for (std::size_t r = 0; r < x.rows; ++r) {
    for (float& value : x.row_span(r)) value *= factor;
  }
}

// x = cap * tanh(x / cap)
void ReferenceOps::soft_cap(MatrixView<float> x, float cap) {
  for (std::size_t r = 0; r < x.rows; ++r) {
    for (float& value : x.row_span(r)) {
      value = static_cast<float>(cap * std::tanh(static_cast<double>(value) / cap));
    }
  }
}

void ReferenceOps::sigmoid_gate(MatrixView<float> x, MatrixView<const float> gate) {
  check_same_shape(x, gate);
  for (std::size_t r = 0; r < x.rows; ++r) {
    for (std::size_t c = 0; c < x.cols; ++c) {
      x.row(r)[c] = static_cast<float>(x.row(r)[c] * sigmoid(gate.row(r)[c]));
    }
  }
}

void ReferenceOps::sigmoid_scale_rows(MatrixView<float> x, MatrixView<const float> gate) {
  FM_CHECK(gate.rows == x.rows);
  FM_CHECK(gate.cols == 1);
  for (std::size_t r = 0; r < x.rows; ++r) {
    const double scale = sigmoid(gate.row(r)[0]);
    for (float& value : x.row_span(r)) value = static_cast<float>(value * scale);
  }
}

// s = softmax(logits) or sigmoid(logits); of s + bias in the groups kept, the k largest, the
// smaller id first among equals; their s, with normalize divided by the sum of these, times scale
// and expert_scale.
void ReferenceOps::route(const RouteRule& rule, MatrixView<const float> logits,
                         std::span<std::uint16_t> ids, std::span<float> weights) {
  const std::size_t experts = logits.cols;
  const bool is_sigmoid = rule.score == RouteRule::Score::kSigmoid;
  FM_CHECK(rule.k <= experts);
  FM_CHECK(experts % rule.groups == 0);
  FM_CHECK(ids.size() == logits.rows * rule.k);
  FM_CHECK(weights.size() == logits.rows * rule.k);
  for (std::size_t r = 0; r < logits.rows; ++r) {
    const std::span<const float> logit = logits.row_span(r);
    std::vector<double> score(logit.begin(), logit.end());
    if (is_sigmoid) {
      for (double& s : score) s = 1 / (1 + std::exp(-s));
    }
    std::vector<double> preference = score;
    for (std::size_t e = 0; rule.bias != nullptr && e < experts; ++e) {
      preference[e] += rule.bias[e];
    }

    const auto by = [](const std::vector<double>& value) {
      std::vector<std::size_t> order(value.size());
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(),
                       [&](std::size_t a, std::size_t b) { return value[a] > value[b]; });
      return order;
    };
    const std::size_t size = experts / rule.groups;
    std::vector<double> of_group;
    for (std::size_t g = 0; g < rule.groups; ++g) {
      std::vector<double> members(preference.begin() + static_cast<std::ptrdiff_t>(g * size),
                                  preference.begin() + static_cast<std::ptrdiff_t>((g + 1) * size));
      std::sort(members.rbegin(), members.rend());
      of_group.push_back(rule.groups_by_best_two && size > 1 ? members[0] + members[1]
                                                             : members[0]);
    }
    const std::vector<std::size_t> groups = by(of_group);
    for (std::size_t g = rule.groups_kept; g < rule.groups; ++g) {
      std::fill_n(preference.begin() + static_cast<std::ptrdiff_t>(groups[g] * size), size,
                  is_sigmoid ? 0 : -std::numeric_limits<double>::infinity());
    }

    const std::vector<std::size_t> order = by(preference);
    double largest = -std::numeric_limits<double>::infinity();
    for (const float l : logit) largest = std::max<double>(largest, l);
    const auto term = [&](std::size_t e) {
      return is_sigmoid ? score[e] : std::exp(score[e] - largest);
    };
    double sum = 0;
    if (rule.normalize) {
      for (std::size_t i = 0; i < rule.k; ++i) sum += term(order[i]);
    } else if (is_sigmoid) {
      sum = 1;
    } else {
      for (std::size_t e = 0; e < experts; ++e) sum += term(e);
    }
    for (std::size_t i = 0; i < rule.k; ++i) {
      ids[r * rule.k + i] = static_cast<std::uint16_t>(order[i]);
      const double of_expert = rule.expert_scale == nullptr ? 1 : rule.expert_scale[order[i]];
      weights[r * rule.k + i] = static_cast<float>(rule.scale * of_expert * term(order[i]) / sum);
    }
  }
}

void ReferenceOps::add_weighted_rows(MatrixView<const float> d, std::span<const WeightedRow> terms,
                                     MatrixView<float> y) {
  FM_CHECK(d.cols == y.cols);
  for (const WeightedRow& term : terms) {
    FM_CHECK(term.y_row < y.rows);
    FM_CHECK(term.d_row < d.rows);
    for (std::size_t c = 0; c < y.cols; ++c) {
      const double product = static_cast<double>(term.weight) * d.row(term.d_row)[c];
      y.row(term.y_row)[c] = static_cast<float>(y.row(term.y_row)[c] + product);
    }
  }
}

void ReferenceOps::rope_angles(std::span<const std::uint32_t> positions,
                               std::span<const float> inv_freq, float scale, MatrixView<float> cos,
                               MatrixView<float> sin) {
  check_same_shape(cos, sin);
  FM_CHECK(cos.rows == positions.size());
  FM_CHECK(cos.cols == inv_freq.size());
  for (std::size_t i = 0; i < positions.size(); ++i) {
    for (std::size_t j = 0; j < inv_freq.size(); ++j) {
      const float angle = static_cast<float>(positions[i]) * inv_freq[j];
      cos.row(i)[j] = static_cast<float>(scale * std::cos(static_cast<double>(angle)));
      sin.row(i)[j] = static_cast<float>(scale * std::sin(static_cast<double>(angle)));
    }
  }
}

// (x_i, x_{i+n}) <- (x_i cos_i - x_{i+n} sin_i, x_{i+n} cos_i + x_i sin_i),   i < n = rotary_dim /
// 2
void ReferenceOps::rope(MatrixView<float> x, std::size_t heads, MatrixView<const float> cos,
                        MatrixView<const float> sin) {
  check_same_shape(cos, sin);
  FM_CHECK(x.rows == cos.rows * heads);
  FM_CHECK(2 * cos.cols <= x.cols);
  const std::size_t half = cos.cols;
  for (std::size_t r = 0; r < x.rows; ++r) {
    const std::size_t token = r / heads;
    for (std::size_t i = 0; i < half; ++i) {
      const double a = x.row(r)[i], b = x.row(r)[i + half];
      const double c = cos.row(token)[i], s = sin.row(token)[i];
      x.row(r)[i] = static_cast<float>(a * c - b * s);
      x.row(r)[i + half] = static_cast<float>(b * c + a * s);
    }
  }
}

// The best k of score_j = sum_h w_h max(0, q_h . k_j), ties to the lower key, ascending
void ReferenceOps::choose_keys(const KeySearchShape& shape, std::span<const KeySearch> rows) {
  for (const KeySearch& row : rows) {
    FM_CHECK(row.key_count >= shape.k);
    std::vector<double> score(row.key_count);
    for (std::size_t j = 0; j < score.size(); ++j) {
      const float* const key = static_cast<const float*>(row.key_blocks[j / shape.keys_per_block]) +
                               j % shape.keys_per_block * shape.head_dim;
      for (std::size_t h = 0; h < shape.num_heads; ++h) {
        score[j] += shape.head_weights[h] *
                    std::max(0.0, dot(row.q + h * shape.head_dim, key, shape.head_dim));
      }
    }
    std::vector<std::uint32_t> order(score.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return score[a] > score[b]; });
    order.resize(shape.k);
    std::sort(order.begin(), order.end());
    std::copy(order.begin(), order.end(), row.chosen);
  }
}

// o = sum_j p_j v_j,   p = softmax_j(scale * q . k_j),   j = first ... position, of the runs if any
void ReferenceOps::attention(const AttentionShape& shape, std::span<const AttentionRow> rows) {
  FM_CHECK(shape.num_kv_heads > 0);
  FM_CHECK(shape.num_heads % shape.num_kv_heads == 0);
  for (const AttentionRow& row : rows) {
    for (std::size_t h = 0; h < shape.num_heads; ++h) {
      const std::size_t kv_head = h / (shape.num_heads / shape.num_kv_heads);
      const auto load = [&](const void* const* blocks, std::size_t j, std::size_t dim) {
        const std::size_t stride = kv_row_bytes(shape.precision, dim);
        std::vector<float> loaded(dim);
        load_kv_row(shape.precision,
                    static_cast<const std::byte*>(blocks[j / kKvBlock]) +
                        (kv_head * kKvBlock + j % kKvBlock) * stride,
                    loaded);
        return loaded;
      };
      std::vector<double> p(row.position + 1 - row.first);
      for (std::size_t j = 0; j < p.size(); ++j) {
        const std::vector<float> key = load(row.key_blocks, row.first + j, shape.head_dim);
        p[j] = shape.scale * dot(row.q + h * row.q_stride, key.data(), shape.head_dim);
        const auto run = static_cast<std::uint32_t>((row.first + j) / shape.run_size);
        if (!row.runs.empty() && !std::ranges::binary_search(row.runs, run)) {
          p[j] = -std::numeric_limits<double>::infinity();
        }
      }
      double largest = *std::max_element(p.begin(), p.end());
      if (shape.sinks != nullptr) largest = std::max<double>(largest, shape.sinks[h]);
      double sum = shape.sinks != nullptr ? std::exp(shape.sinks[h] - largest) : 0;
      for (double& weight : p) {
        weight = std::exp(weight - largest);
        sum += weight;
      }
      std::vector<double> o(shape.value_dim);
      for (std::size_t j = 0; j < p.size(); ++j) {
        const std::vector<float> value = load(row.value_blocks, row.first + j, shape.value_stride);
        for (std::size_t d = 0; d < o.size(); ++d) o[d] += p[j] * value[d];
      }
      for (std::size_t d = 0; d < o.size(); ++d) {
        row.out[h * shape.value_dim + d] = static_cast<float>(o[d] / sum);
      }
    }
  }
}

// y_t[c] = silu(sum_j weight[j][c] u_{t - (kernel-1-j) dilation}[c]); before a segment's first row
// its state stands in for u.
void ReferenceOps::causal_conv_silu(MatrixView<const float> u, const float* weight,
                                    const ConvShape& shape, std::span<const ConvSegment> segments,
                                    MatrixView<float> y) {
  const std::size_t kernel = shape.kernel;
  check_same_shape(u, y);
  FM_CHECK(kernel >= 1);
  const std::size_t channels = u.cols;
  const std::size_t past = shape.past();
  for (const ConvSegment& segment : segments) {
    FM_CHECK(segment.row_begin <= segment.row_end);
    FM_CHECK(segment.row_end <= u.rows);
    const std::size_t count = segment.row_end - segment.row_begin;
    for (std::size_t c = 0; c < channels; ++c) {
      std::vector<float> inputs(past + count);  // of this channel: the state, then the rows
      for (std::size_t t = 0; t < past; ++t) inputs[t] = segment.state[t * channels + c];
      for (std::size_t t = 0; t < count; ++t) inputs[past + t] = u.row(segment.row_begin + t)[c];
      for (std::size_t t = 0; t < count; ++t) {
        double sum = 0;
        for (std::size_t j = 0; j < kernel; ++j) {
          sum += static_cast<double>(weight[j * channels + c]) * inputs[t + j * shape.dilation];
        }
        y.row(segment.row_begin + t)[c] = static_cast<float>(silu(sum));
      }
      for (std::size_t t = 0; t < past; ++t) segment.state[t * channels + c] = inputs[count + t];
    }
  }
}

// x = scale * x / sqrt(sum(x^2) + 1e-6), per head
void ReferenceOps::l2_normalize(MatrixView<float> x, std::size_t head_dim, float scale) {
  FM_CHECK(x.cols % head_dim == 0);
  for (std::size_t r = 0; r < x.rows; ++r) {
    for (std::size_t begin = 0; begin < x.cols; begin += head_dim) {
      const std::span<float> head = x.row_span(r).subspan(begin, head_dim);
      const double factor = scale / std::sqrt(sum_of_squares(head) + 1e-6);
      for (float& value : head) value = static_cast<float>(value * factor);
    }
  }
}

// decay = exp(-exp(a_log) softplus(a + dt_bias)), beta = sigmoid(b)
void ReferenceOps::delta_gates(MatrixView<const float> a, MatrixView<const float> b,
                               const float* neg_exp_a, const float* dt_bias,
                               MatrixView<float> decay, MatrixView<float> beta) {
  check_same_shape(a, b);
  check_same_shape(a, decay);
  check_same_shape(b, beta);
  for (std::size_t r = 0; r < a.rows; ++r) {
    for (std::size_t h = 0; h < a.cols; ++h) {
      const double step = softplus(static_cast<double>(a.row(r)[h]) + dt_bias[h]);
      decay.row(r)[h] = static_cast<float>(std::exp(neg_exp_a[h] * step));
      beta.row(r)[h] = static_cast<float>(sigmoid(b.row(r)[h]));
    }
  }
}

// S <- decay S;  u = beta (v - S^T k);  S <- S + k u^T;  o = S^T q
void ReferenceOps::delta_rule(const DeltaShape& shape, MatrixView<const float> q,
                              MatrixView<const float> k, MatrixView<const float> v,
                              MatrixView<const float> decay, MatrixView<const float> beta,
                              std::span<const DeltaSegment> segments, MatrixView<float> o) {
  const std::size_t key_heads = shape.key_heads, key_dim = shape.key_dim;
  const std::size_t value_heads = shape.value_heads, value_dim = shape.value_dim;
  FM_CHECK(key_heads > 0);
  FM_CHECK(value_heads % key_heads == 0);
  FM_CHECK(q.cols == key_heads * key_dim);
  FM_CHECK(v.cols == value_heads * value_dim);
  FM_CHECK(decay.cols == value_heads);
  check_same_shape(q, k);
  check_same_shape(v, o);
  check_same_shape(decay, beta);
  for (const DeltaSegment& segment : segments) {
    FM_CHECK(segment.row_begin <= segment.row_end);
    FM_CHECK(segment.row_end <= v.rows);
    for (std::size_t t = segment.row_begin; t < segment.row_end; ++t) {
      for (std::size_t h = 0; h < value_heads; ++h) {
        const std::size_t key_head = shape.key_head_of(h);
        const float* q_t = q.row(t) + key_head * key_dim;
        const float* k_t = k.row(t) + key_head * key_dim;
        float* state = segment.state + h * key_dim * value_dim;
        for (std::size_t dv = 0; dv < value_dim; ++dv) {
          const auto s = [&](std::size_t dk) -> float& { return state[dk * value_dim + dv]; };
          const double alpha = decay.row(t)[h];
          double s_k = 0;
          for (std::size_t dk = 0; dk < key_dim; ++dk) s_k += alpha * s(dk) * k_t[dk];
          const double u = beta.row(t)[h] * (v.row(t)[h * value_dim + dv] - s_k);
          double s_q = 0;
          for (std::size_t dk = 0; dk < key_dim; ++dk) {
            const double updated = alpha * s(dk) + k_t[dk] * u;
            s_q += updated * q_t[dk];
            s(dk) = static_cast<float>(updated);
          }
          o.row(t)[h * value_dim + dv] = static_cast<float>(s_q);
        }
      }
    }
  }
}

// x = x * rsqrt(mean(x^2) + eps) * weight * silu(gate): the norm first, the gate after
void ReferenceOps::gated_rms_norm(MatrixView<float> x, MatrixView<const float> gate,
                                  const float* weight, float eps) {
  check_same_shape(x, gate);
  for (std::size_t r = 0; r < x.rows; ++r) {
    const double scale = reciprocal_rms(x.row_span(r), eps);
    for (std::size_t c = 0; c < x.cols; ++c) {
      x.row(r)[c] = static_cast<float>(x.row(r)[c] * scale * weight[c] * silu(gate.row(r)[c]));
    }
  }
}

}  // namespace
}  // namespace flashmoe::reference

namespace flashmoe {

std::unique_ptr<Ops> make_reference_ops() { return std::make_unique<reference::ReferenceOps>(); }

}  // namespace flashmoe
