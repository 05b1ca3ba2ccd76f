#ifndef FLASHMOE_KERNELS_ACTIVATIONS_H_
#define FLASHMOE_KERNELS_ACTIVATIONS_H_

#include <cstddef>

#include "base/aligned_buffer.h"
#include "base/result.h"
#include "kernels/activation_row.h"
#include "tensor/matrix_view.h"

namespace flashmoe {

/// Rows of activations prepared once and multiplied with any number of weight matrices: the floats
/// themselves (a view, for float weights) and, where cols is a multiple of 32, the same as 16-bit
/// integers with a scale per 64 (for affine weights).
class Activations {
 public:
  /// Elements that share an activation scale; the last of a row may be half as many.
  static constexpr std::size_t kBlock = 64;
  /// Planes are padded with zeros to a multiple of this.
  static constexpr std::size_t kPlanePadding = 512;

  /// Bytes that Activations for up to `rows` rows of `cols` elements take.
  static std::size_t size_for(std::size_t rows, std::size_t cols);

  /// Memory for up to `rows` rows of up to `cols` elements.
  static Result<Activations> allocate(std::size_t rows, std::size_t cols);

  std::size_t rows() const { return values_.rows; }
  std::size_t cols() const { return values_.cols; }
  MatrixView<const float> values() const { return values_; }
  bool has_integers() const { return values_.cols % (kBlock / 2) == 0; }
  ActivationRow row(std::size_t r) const;

  /// Used by Ops::prepare: sets the view, and says where the integers of row `r` go.
  void reset(MatrixView<const float> values);
  ActivationRowParts parts(std::size_t r);

 private:
  AlignedBuffer buffer_;  // rows one after the other, each as Layout in activations.cc says
  MatrixView<const float> values_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_KERNELS_ACTIVATIONS_H_
