#ifndef FLASHMOE_KERNELS_TESTING_OP_INPUTS_H_
#define FLASHMOE_KERNELS_TESTING_OP_INPUTS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "flashmoe/kv_precision.h"
#include "kernels/activations.h"
#include "tensor/matrix_view.h"
#include "tensor/weight_view.h"

namespace flashmoe::testing {

/// Seeded numbers, the same with every standard library.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}

  std::uint64_t bits() { return engine_(); }
  std::size_t below(std::size_t count) { return static_cast<std::size_t>(engine_() % count); }
  /// In [low, high).
  float uniform(float low, float high);
  /// Bell-shaped, mean 0, deviation 1.
  float normal();

 private:
  std::mt19937_64 engine_;
};

/// What a row of test activations looks like.
enum class Fill {
  kNormal,
  kOutliers,    // one element in about 40 is a thousand times the others
  kZeros,       // zeros of both signs
  kSubnormal,   // below 2^-126
  kLarge,       // 1e12
  kDecades,     // magnitudes from 1e-6 to 1e3
  kSaturating,  // +-200, +-88, +-20, 0: the edges of exp and softplus
};
inline constexpr Fill kFills[] = {Fill::kNormal,    Fill::kOutliers, Fill::kZeros,     Fill::kLarge,
                                  Fill::kSubnormal, Fill::kDecades,  Fill::kSaturating};

/// A matrix that owns its values. Its rows may have gaps between them, which hold a pattern.
class Matrix {
 public:
  Matrix(std::size_t rows, std::size_t cols, std::size_t gap = 0);

  MatrixView<float> view() { return {values_.data(), rows_, cols_, cols_ + gap_}; }
  MatrixView<const float> view() const { return {values_.data(), rows_, cols_, cols_ + gap_}; }
  float* row(std::size_t r) { return view().row(r); }
  const float* row(std::size_t r) const { return view().row(r); }
  std::size_t rows() const { return rows_; }
  std::size_t cols() const { return cols_; }
  float* data() { return values_.data(); }
  const float* data() const { return values_.data(); }

  /// Whether nobody wrote between the rows.
  bool gaps_intact() const;

  /// Bit for bit, -0 and 0 being different.
  friend bool operator==(const Matrix& a, const Matrix& b);

 private:
  std::size_t rows_;
  std::size_t cols_;
  std::size_t gap_;
  std::vector<float> values_;
};

void fill_row(Random& random, Fill fill, std::span<float> row);

/// Row r is of fill `kFills[r % 7]`, or all rows of the one `fill`.
Matrix mixed_matrix(Random& random, std::size_t rows, std::size_t cols, std::size_t gap = 0);
Matrix filled_matrix(Random& random, Fill fill, std::size_t rows, std::size_t cols,
                     std::size_t gap = 0);

/// Every ggml type of quantised blocks that kernels compute with.
std::vector<const WeightType*> ggml_weight_types();
/// Floats of few bits, of every mode, with and without a scale of the whole matrix; and of fp8,
/// with rectangles of several sizes.
std::vector<const WeightType*> packed_weight_types();

/// A weight matrix that owns its bytes. They begin at odd addresses, as in MLX checkpoints, and end
/// at a page that cannot be read.
class Weight {
 public:
  /// Random elements; scales and biases of both signs between 2^-9 and 2^-4, one group in 16 with a
  /// scale of zero. ggml's blocks are random bits, with such numbers where they have floats.
  Weight(Random& random, const WeightType& type, std::size_t rows, std::size_t cols);

  const WeightView& view() const { return view_; }

 private:
  std::array<AlignedBuffer, kWeightPlanesMax> planes_;
  WeightView view_;
};

/// Keys or values of one sequence in blocks of kKvBlock positions, bell-shaped and then rounded to
/// `precision`. What lies beyond the last position is NaN; a block ends at a page that cannot be
/// read.
class KvBlocks {
 public:
  KvBlocks(Random& random, std::size_t num_kv_heads, std::size_t head_dim, std::size_t positions,
           KvPrecision precision = KvPrecision::kF32);

  /// As floats, what they stand for.
  KvBlocks widened() const;

  const void* const* pointers() const { return pointers_.data(); }

 private:
  KvBlocks(KvPrecision precision, std::size_t rows, std::size_t head_dim)
      : precision_(precision), rows_(rows), head_dim_(head_dim) {}
  void add(const Matrix& block);

  KvPrecision precision_;
  std::size_t rows_;  // of a block
  std::size_t head_dim_;
  std::vector<AlignedBuffer> blocks_;
  std::vector<const void*> pointers_;
};

/// Memory for the prepared form of x, and FM_CHECKs that it could be had.
Activations allocate_activations(std::size_t rows, std::size_t cols);

/// sqrt(mean (a - b)^2 / mean b^2); 0 where both are zero everywhere. Differences below `floor`
/// count as none.
double relative_rms(std::span<const float> a, std::span<const float> b, double floor = 0);
/// The largest relative_rms of a row.
double relative_rms_of_rows(const Matrix& a, const Matrix& b, double floor = 0);

}  // namespace flashmoe::testing

#endif  // FLASHMOE_KERNELS_TESTING_OP_INPUTS_H_
