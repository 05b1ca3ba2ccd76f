#include "model/expert_layout.h"

#include "base/check.h"

namespace flashmoe {
namespace {

/// The next matrix of `view`, whose first unread segment is `*segment`.
WeightView take_matrix(const WeightType* type, const ExpertView& view, std::size_t rows,
                       std::size_t cols, std::size_t* segment) {
  WeightView matrix{.type = type, .rows = rows, .cols = cols};
  for (std::size_t i = 0; i < type->plane_count; ++i) {
    const auto plane = view.segment((*segment)++);
    FM_CHECK(plane.size() == type->plane_size(i, rows, cols));
    matrix.planes[i] = plane.data();
  }
  return matrix;
}

/// `matrix`, of floats, whose bytes are those of [cols, rows].
WeightView transposed(WeightView matrix) {
  FM_CHECK(matrix.type->encoding == WeightEncoding::kFloat);
  matrix.transposed_stride = matrix.rows * size_of(matrix.type->dtype);
  return matrix;
}

}  // namespace

std::string_view find_bad_scales(const ExpertMatrices& matrices) {
  const auto has_bad = [](const WeightView& matrix) {
    if (matrix.type == nullptr) return false;
    for (std::size_t i = 0; i < matrix.type->plane_count; ++i) {
      const std::size_t size = matrix.type->plane_size(i, matrix.rows, matrix.cols);
      if (has_bad_scale(matrix.type->planes()[i].code, {matrix.planes[i], size})) return true;
    }
    return false;
  };
  if (has_bad(matrices.gate_up_proj)) return "gate_up_proj";
  if (has_bad(matrices.gate_proj)) return "gate_proj";
  if (has_bad(matrices.up_proj)) return "up_proj";
  return has_bad(matrices.down_proj) ? "down_proj" : "";
}

ExpertMatrices expert_matrices(const ExpertLayout& layout, const ExpertView& view,
                               std::size_t hidden, std::size_t intermediate) {
  std::size_t segment = 0;
  ExpertMatrices matrices;
  const auto take_bias = [&](std::size_t rows) -> const std::byte* {
    if (!layout.bias) return nullptr;
    const auto bias = view.segment(segment++);
    FM_CHECK(bias.size() == rows * size_of(*layout.bias));
    return bias.data();
  };
  if (layout.gate_up_is_one()) {
    WeightView both = take_matrix(layout.gate_proj, view, 2 * intermediate, hidden, &segment);
    if (layout.gate_up_is_transposed) both = transposed(both);
    if (layout.gate_up_is_interleaved) {
      matrices.gate_up_proj = both;
      matrices.gate_up_bias = take_bias(2 * intermediate);
    } else {
      matrices.gate_proj = both.row_range(0, intermediate);
      matrices.up_proj = both.row_range(intermediate, intermediate);
      if (const std::byte* const bias = take_bias(2 * intermediate); bias != nullptr) {
        matrices.gate_bias = bias;
        matrices.up_bias = bias + intermediate * size_of(*layout.bias);
      }
    }
  } else {
    matrices.gate_proj = take_matrix(layout.gate_proj, view, intermediate, hidden, &segment);
    matrices.gate_bias = take_bias(intermediate);
    matrices.up_proj = take_matrix(layout.up_proj, view, intermediate, hidden, &segment);
    matrices.up_bias = take_bias(intermediate);
  }
  matrices.down_proj = take_matrix(layout.down_proj, view, hidden, intermediate, &segment);
  matrices.down_bias = take_bias(hidden);
  if (layout.down_is_transposed) matrices.down_proj = transposed(matrices.down_proj);
  return matrices;
}

}  // namespace flashmoe
