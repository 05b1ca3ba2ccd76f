#include "kernels/cpu/cpu_ops.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/portable_math.h"
#include "kernels/cpu/cpu_ops_impl.h"
#include "kernels/cpu/order_key.h"

namespace flashmoe {
namespace {

void check_same_shape(MatrixView<const float> a, MatrixView<const float> b) {
  FM_CHECK(a.rows == b.rows);
  FM_CHECK(a.cols == b.cols);
}

/// The k largest of logits to ids[k], descending, ties to the smaller id.
void select_top_k(std::span<const float> logits, std::size_t k, std::uint16_t* ids) {
  std::size_t count = 0;
  for (std::size_t e = 0; e < logits.size(); ++e) {
    const std::uint32_t key = order_key(logits[e]);
    if (count == k && key <= order_key(logits[ids[k - 1]])) continue;
    std::size_t at = count < k ? count++ : k - 1;
    for (; at > 0 && key > order_key(logits[ids[at - 1]]); --at) ids[at] = ids[at - 1];
    ids[at] = static_cast<std::uint16_t>(e);
  }
}

/// Leaves no candidates in the groups that are not kept (RouteRule).
void drop_groups(const RouteRule& rule, std::span<float> preferences) {
  const std::size_t size = preferences.size() / rule.groups;
  const auto group = [&](std::size_t g) { return preferences.subspan(g * size, size); };
  const auto is_less = [](float a, float b) { return order_key(a) < order_key(b); };
  // A group stays if fewer than groups_kept are better, or as good and before it.
  const auto value = [&](std::size_t g) {
    float best = group(g)[0];
    float second = 0;
    if (!rule.groups_by_best_two || size == 1) {
      for (const float p : group(g)) best = is_less(best, p) ? p : best;
      return best;
    }
    second = group(g)[1];
    if (is_less(best, second)) std::swap(best, second);
    for (const float p : group(g).subspan(2)) {
      if (is_less(best, p)) {
        second = std::exchange(best, p);
      } else if (is_less(second, p)) {
        second = p;
      }
    }
    return best + second;
  };
  FM_CHECK(rule.groups <= RouteRule::kGroupsMax);
  std::array<float, RouteRule::kGroupsMax> values;
  for (std::size_t g = 0; g < rule.groups; ++g) values[g] = value(g);
  for (std::size_t g = 0; g < rule.groups; ++g) {
    std::size_t better = 0;
    for (std::size_t other = 0; other < rule.groups; ++other) {
      better +=
          is_less(values[g], values[other]) || (other < g && !is_less(values[other], values[g]));
    }
    if (better < rule.groups_kept) continue;
    std::ranges::fill(group(g), rule.score == RouteRule::Score::kSigmoid
                                    ? 0.0f
                                    : -std::numeric_limits<float>::infinity());
  }
}

void weigh_sigmoid(std::span<const float> scores, std::span<const std::uint16_t> ids,
                   bool normalize, float* weights) {
  float sum = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    weights[i] = scores[ids[i]];
    sum += weights[i];
  }
  if (!normalize) return;
  for (std::size_t i = 0; i < ids.size(); ++i) weights[i] /= sum + 1e-20f;
}

}  // namespace

Result<std::unique_ptr<Ops>> make_cpu_ops(ThreadPool& pool, std::string_view target) {
  FM_ASSIGN_OR_RETURN(const KernelTable* kernels, find_kernels(target));
  return std::unique_ptr<Ops>(std::make_unique<CpuOps>(pool, *kernels));
}

void CpuOps::embed(const WeightView& table, std::span<const std::int32_t> ids,
                   MatrixView<float> out) {
  FM_CHECK(out.rows == ids.size());
  FM_CHECK(out.cols == table.cols);
  FM_CHECK(table.transposed_stride == 0);
  const WeightRows weights = to_weight_rows(table);
  for (const std::int32_t id : ids) {
    FM_CHECK(id >= 0);
    FM_CHECK(static_cast<std::size_t>(id) < table.rows);
  }
  for_rows(out.rows, out.cols, [&](std::size_t r) {
    kernels_.dequantize_row(weights, static_cast<std::size_t>(ids[r]), out.row(r));
  });
}

void CpuOps::prepare(MatrixView<const float> x, Activations& out) {
  out.reset(x);
  if (!out.has_integers()) return;
  for_rows(x.rows, x.cols,
           [&](std::size_t r) { kernels_.quantize_row(x.row(r), x.cols, out.parts(r)); });
}

void CpuOps::rms_norm(MatrixView<const float> x, const float* weight, float eps,
                      MatrixView<float> y) {
  check_same_shape(x, y);
  for_rows(x.rows, x.cols,
           [&](std::size_t r) { kernels_.rms_norm(x.row(r), weight, eps, x.cols, y.row(r)); });
}

void CpuOps::gated_rms_norm(MatrixView<float> x, MatrixView<const float> gate, const float* weight,
                            float eps) {
  check_same_shape(x, gate);
  for_rows(x.rows, 2 * x.cols, [&](std::size_t r) {
    kernels_.gated_rms_norm(x.row(r), gate.row(r), weight, eps, x.cols);
  });
}

void CpuOps::l2_normalize(MatrixView<float> x, std::size_t head_dim, float scale) {
  FM_CHECK(head_dim >= 1);
  FM_CHECK(x.cols % head_dim == 0);
  for_rows(x.rows, x.cols, [&](std::size_t r) {
    for (std::size_t h = 0; h < x.cols; h += head_dim) {
      kernels_.l2_normalize(x.row(r) + h, scale, head_dim);
    }
  });
}

void CpuOps::add(MatrixView<float> x, MatrixView<const float> y) {
  check_same_shape(x, y);
  for_rows(x.rows, x.cols, [&](std::size_t r) { kernels_.add(x.row(r), y.row(r), x.cols); });
}

void CpuOps::swiglu(MatrixView<const float> gate, MatrixView<const float> up, MatrixView<float> h) {
  check_same_shape(gate, up);
  check_same_shape(gate, h);
  for_rows(h.rows, 2 * h.cols,
           [&](std::size_t r) { kernels_.swiglu(gate.row(r), up.row(r), h.row(r), h.cols); });
}

void CpuOps::geglu(MatrixView<const float> gate, MatrixView<const float> up, MatrixView<float> h) {
  check_same_shape(gate, up);
  check_same_shape(gate, h);
  for_rows(h.rows, 2 * h.cols,
           [&](std::size_t r) { kernels_.geglu(gate.row(r), up.row(r), h.row(r), h.cols); });
}

void CpuOps::clamped_swiglu(const ClampedSwiglu& clamp, MatrixView<const float> gate,
                            MatrixView<const float> up, MatrixView<float> h) {
  check_same_shape(gate, up);
  check_same_shape(gate, h);
  for_rows(h.rows, 2 * h.cols, [&](std::size_t r) {
    kernels_.clamped_swiglu(gate.row(r), up.row(r), clamp.alpha, clamp.limit, h.row(r), h.cols);
  });
}

void CpuOps::row_dots(MatrixView<const float> a, MatrixView<const float> b, MatrixView<float> out) {
  check_same_shape(a, b);
  FM_CHECK(out.rows == a.rows);
  FM_CHECK(out.cols == 1);
  for_rows(a.rows, a.cols,
           [&](std::size_t r) { *out.row(r) = kernels_.dot(a.row(r), b.row(r), a.cols); });
}

void CpuOps::scale(MatrixView<float> x, float factor) {
  for_rows(x.rows, x.cols, [&](std::size_t r) { kernels_.scale(x.row(r), factor, x.cols); });
}

void CpuOps::soft_cap(MatrixView<float> x, float cap) {
  for_rows(x.rows, 2 * x.cols, [&](std::size_t r) { kernels_.soft_cap(x.row(r), cap, x.cols); });
}

void CpuOps::sigmoid_gate(MatrixView<float> x, MatrixView<const float> gate) {
  check_same_shape(x, gate);
  for_rows(x.rows, 2 * x.cols,
           [&](std::size_t r) { kernels_.sigmoid_gate(x.row(r), gate.row(r), x.cols); });
}

void CpuOps::sigmoid_scale_rows(MatrixView<float> x, MatrixView<const float> gate) {
  FM_CHECK(gate.rows == x.rows);
  FM_CHECK(gate.cols == 1);
  for_rows(x.rows, x.cols,
           [&](std::size_t r) { kernels_.sigmoid_scale(x.row(r), *gate.row(r), x.cols); });
}

void CpuOps::route(const RouteRule& rule, MatrixView<const float> logits,
                   std::span<std::uint16_t> ids, std::span<float> weights) {
  const std::size_t experts = logits.cols;
  const std::size_t k = rule.k;
  FM_CHECK(k >= 1);
  FM_CHECK(k <= experts);
  FM_CHECK(experts <= 65536);
  FM_CHECK(experts % rule.groups == 0);
  FM_CHECK(ids.size() == logits.rows * k);
  FM_CHECK(weights.size() == logits.rows * k);
  const bool is_sigmoid = rule.score == RouteRule::Score::kSigmoid;
  const bool has_preferences = is_sigmoid || rule.groups > 1;
  FM_CHECK(!has_preferences || experts <= RouteRule::kExpertsMax);
  for_rows(logits.rows, 4 * experts, [&](std::size_t r) {
    std::uint16_t* const row_ids = ids.data() + r * k;
    float* const row_weights = weights.data() + r * k;
    if (!has_preferences) {
      select_top_k(logits.row_span(r), k, row_ids);
      kernels_.route_weights(logits.row(r), experts, row_ids, k, rule.normalize, row_weights);
    } else {
      std::array<float, RouteRule::kExpertsMax> sigmoids;
      std::array<float, RouteRule::kExpertsMax> preference_values;
      std::span<const float> scores = logits.row_span(r);
      const std::span<float> preferences(preference_values.data(), experts);
      if (is_sigmoid) {
        std::fill_n(sigmoids.begin(), experts, 1.0f);
        kernels_.sigmoid_gate(sigmoids.data(), logits.row(r), experts);
        scores = {sigmoids.data(), experts};
      }
      std::ranges::copy(scores, preferences.begin());
      for (std::size_t e = 0; rule.bias != nullptr && e < experts; ++e) {
        preferences[e] += rule.bias[e];
      }
      if (rule.groups > 1) drop_groups(rule, preferences);
      select_top_k(preferences, k, row_ids);
      if (is_sigmoid) {
        weigh_sigmoid(scores, {row_ids, k}, rule.normalize, row_weights);
      } else {
        kernels_.route_weights(logits.row(r), experts, row_ids, k, rule.normalize, row_weights);
      }
    }
    if (rule.scale != 1) {
      for (std::size_t i = 0; i < k; ++i) row_weights[i] *= rule.scale;
    }
    if (rule.expert_scale != nullptr) {
      for (std::size_t i = 0; i < k; ++i) row_weights[i] *= rule.expert_scale[row_ids[i]];
    }
  });
}

void CpuOps::add_weighted_rows(MatrixView<const float> d, std::span<const WeightedRow> terms,
                               MatrixView<float> y) {
  FM_CHECK(d.cols == y.cols);
  for (const WeightedRow& term : terms) {
    FM_CHECK(term.d_row < d.rows);
    FM_CHECK(term.y_row < y.rows);
  }
  // Ranges of columns, so that every element meets its terms in the order given.
  constexpr std::size_t kColumns = 128;
  for_rows((y.cols + kColumns - 1) / kColumns, terms.size() * kColumns, [&](std::size_t range) {
    const std::size_t begin = range * kColumns;
    const std::size_t count = y.cols - begin < kColumns ? y.cols - begin : kColumns;
    for (const WeightedRow& term : terms) {
      kernels_.add_scaled(y.row(term.y_row) + begin, term.weight, d.row(term.d_row) + begin, count);
    }
  });
}

void CpuOps::rope_angles(std::span<const std::uint32_t> positions, std::span<const float> inv_freq,
                         float scale, MatrixView<float> cos, MatrixView<float> sin) {
  check_same_shape(cos, sin);
  FM_CHECK(cos.rows == positions.size());
  FM_CHECK(cos.cols == inv_freq.size());
  for_rows(cos.rows, 16 * cos.cols, [&](std::size_t r) {
    for (std::size_t j = 0; j < inv_freq.size(); ++j) {
      const float angle = static_cast<float>(positions[r]) * inv_freq[j];
      const portable::SinCos value = portable::sin_cos(static_cast<double>(angle));
      cos.row(r)[j] = static_cast<float>(value.cos) * scale;
      sin.row(r)[j] = static_cast<float>(value.sin) * scale;
    }
  });
}

void CpuOps::rope(MatrixView<float> x, std::size_t heads, MatrixView<const float> cos,
                  MatrixView<const float> sin) {
  check_same_shape(cos, sin);
  FM_CHECK(heads >= 1);
  FM_CHECK(x.rows == cos.rows * heads);
  FM_CHECK(2 * cos.cols <= x.cols);
  for_rows(x.rows, 2 * cos.cols, [&](std::size_t r) {
    kernels_.rope(x.row(r), cos.row(r / heads), sin.row(r / heads), cos.cols);
  });
}

void CpuOps::delta_gates(MatrixView<const float> a, MatrixView<const float> b,
                         const float* neg_exp_a, const float* dt_bias, MatrixView<float> decay,
                         MatrixView<float> beta) {
  check_same_shape(a, b);
  check_same_shape(a, decay);
  check_same_shape(a, beta);
  for_rows(a.rows, 8 * a.cols, [&](std::size_t r) {
    kernels_.delta_gates(a.row(r), b.row(r), neg_exp_a, dt_bias, decay.row(r), beta.row(r), a.cols);
  });
}

}  // namespace flashmoe
