#ifndef FLASHMOE_TENSOR_WEIGHT_VIEW_H_
#define FLASHMOE_TENSOR_WEIGHT_VIEW_H_

#include <array>
#include <cstddef>

#include "tensor/dtype.h"
#include "tensor/weight_type.h"

namespace flashmoe {

/// A weight matrix [rows, cols], row-major, somewhere in memory. Does not own its bytes; no pointer
/// is aligned. Every row is packed on its own, so rows [begin, end) of a view are a view.
struct WeightView {
  const WeightType* type = nullptr;
  std::size_t rows = 0;
  std::size_t cols = 0;
  std::array<const std::byte*, kWeightPlanesMax> planes = {};  // as type->planes()
  /// Floats only. Not 0: the weights are stored transposed, [cols, rows], and this many bytes lie
  /// between the rows of that. More than rows elements if the view is a part of wider rows.
  std::size_t transposed_stride = 0;
  /// How many rows of the first block are before row 0, in a plane whose blocks span several.
  std::size_t row_in_block = 0;

  /// Rows [begin, begin + count).
  WeightView row_range(std::size_t begin, std::size_t count) const {
    WeightView range = *this;
    range.rows = count;
    for (std::size_t i = 0; i < type->plane_count; ++i) {
      range.planes[i] = plane_row(i, begin);
      const std::size_t block_rows = type->all_planes[i].block_rows;
      if (block_rows > 1) range.row_in_block = (row_in_block + begin) % block_rows;
    }
    return range;
  }

  /// Where row `row`, or the row of blocks that it is in, begins in a plane. Its elements follow,
  /// or are transposed_stride bytes apart.
  const std::byte* plane_row(std::size_t plane, std::size_t row) const {
    if (transposed_stride != 0) return planes[plane] + row * size_of(type->dtype);
    const std::size_t block_rows = type->all_planes[plane].block_rows;
    const std::size_t blocks = block_rows == 1 ? row : (row_in_block + row) / block_rows;
    return planes[plane] + blocks * type->plane_row_size(plane, cols);
  }
};

}  // namespace flashmoe

#endif  // FLASHMOE_TENSOR_WEIGHT_VIEW_H_
