#ifndef FLASHMOE_TENSOR_MATRIX_VIEW_H_
#define FLASHMOE_TENSOR_MATRIX_VIEW_H_

#include <cstddef>
#include <span>
#include <type_traits>

namespace flashmoe {

/// Rows of T, `stride` elements apart, in memory owned by somebody else. [rows, cols] with a gap is
/// how one head of every row, or the query half of a query-and-gate projection, is seen without
/// copying.
template <typename T>
struct MatrixView {
  T* data = nullptr;
  std::size_t rows = 0;
  std::size_t cols = 0;
  std::size_t stride = 0;

  MatrixView() = default;
  MatrixView(T* data_in, std::size_t rows_in, std::size_t cols_in, std::size_t stride_in)
      : data(data_in), rows(rows_in), cols(cols_in), stride(stride_in) {}
  MatrixView(T* data_in, std::size_t rows_in, std::size_t cols_in)
      : MatrixView(data_in, rows_in, cols_in, cols_in) {}

  /// A view of mutable elements is a view of constant ones.
  operator MatrixView<const T>() const  // NOLINT(google-explicit-constructor)
      requires(!std::is_const_v<T>) {
    return {data, rows, cols, stride};
  }

  T* row(std::size_t r) const { return data + r * stride; }
  std::span<T> row_span(std::size_t r) const { return {row(r), cols}; }

  /// Rows [begin, begin + count).
  MatrixView slice(std::size_t begin, std::size_t count) const {
    return {row(begin), count, cols, stride};
  }
};

}  // namespace flashmoe

#endif  // FLASHMOE_TENSOR_MATRIX_VIEW_H_
