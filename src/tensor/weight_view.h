#ifndef FLASHMOE_TENSOR_WEIGHT_VIEW_H_
#define FLASHMOE_TENSOR_WEIGHT_VIEW_H_

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace flashmoe {

/// How the elements of a weight matrix are stored.
struct WeightFormat {
  enum class Kind : std::uint8_t {
    kFloat,   // one `dtype` element (F32, BF16 or F16) per weight
    kAffine,  // MLX affine groups: w = scale * q + bias, q of `bits` bits (docs/formats.md)
  };
  Kind kind = Kind::kFloat;
  DType dtype = DType::kF32;     // kFloat: of the elements. kAffine: of scales and biases
  std::uint32_t bits = 0;        // kAffine: 1, 2, 3, 4, 5, 6 or 8
  std::uint32_t group_size = 0;  // kAffine: 32, 64 or 128, along the columns

  friend bool operator==(const WeightFormat&, const WeightFormat&) = default;

  /// Bytes of one row of `cols` weights.
  std::size_t weight_row_size(std::size_t cols) const {
    return kind == Kind::kFloat ? cols * size_of(dtype) : cols * bits / 8;
  }
  /// Bytes of one row's scales (as many again for its biases); 0 for floats.
  std::size_t scale_row_size(std::size_t cols) const {
    return kind == Kind::kFloat ? 0 : cols / group_size * size_of(dtype);
  }
};

/// A weight matrix [rows, cols], row-major, somewhere in memory. Does not own its bytes; no pointer
/// is aligned. Every row is packed on its own, so rows [begin, end) of a view are a view.
struct WeightView {
  WeightFormat format;
  std::size_t rows = 0;
  std::size_t cols = 0;
  const std::byte* weight = nullptr;
  const std::byte* scales = nullptr;  // kAffine only: [rows, cols / group_size]
  const std::byte* biases = nullptr;  // kAffine only: [rows, cols / group_size]
  /// kFloat only. Not 0: the weights are stored transposed, [cols, rows], and this many bytes lie
  /// between the rows of that. More than rows elements if the view is a part of wider rows.
  std::size_t transposed_stride = 0;

  /// Rows [begin, begin + count).
  WeightView row_range(std::size_t begin, std::size_t count) const {
    WeightView range = *this;
    range.rows = count;
    range.weight = weight_row(begin);
    if (format.kind == WeightFormat::Kind::kAffine) {
      range.scales = scale_row(begin);
      range.biases = bias_row(begin);
    }
    return range;
  }

  /// Where row `row` begins. Its elements follow, or are transposed_stride bytes apart.
  const std::byte* weight_row(std::size_t row) const {
    return weight +
           row * (transposed_stride != 0 ? size_of(format.dtype) : format.weight_row_size(cols));
  }
  const std::byte* scale_row(std::size_t row) const {
    return scales + row * format.scale_row_size(cols);
  }
  const std::byte* bias_row(std::size_t row) const {
    return biases + row * format.scale_row_size(cols);
  }
};

}  // namespace flashmoe

#endif  // FLASHMOE_TENSOR_WEIGHT_VIEW_H_
