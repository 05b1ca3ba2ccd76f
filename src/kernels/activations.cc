#include "kernels/activations.h"

#include <cstdint>

#include "base/check.h"

namespace flashmoe {
namespace {

std::size_t round_up(std::size_t n, std::size_t step) { return (n + step - 1) / step * step; }

/// Byte offsets of the parts of one row of `cols` elements. Each begins on a cache line.
struct Layout {
  explicit Layout(std::size_t cols) {
    const std::size_t padded = round_up(cols, Activations::kPadding);
    const std::size_t lane_padded = round_up(cols, Activations::kLanePadding);
    q = 0;
    scale = q + padded * sizeof(std::int16_t);
    sum32 = scale + floats(padded / 32);
    sum64 = sum32 + floats(padded / 32);
    sum128 = sum64 + floats(padded / 64);
    planes = sum128 + floats(padded / 128);
    lane_scale = planes + lane_padded * sizeof(std::int16_t);
    lane_sum = lane_scale + floats(lane_padded / 32);
    size = lane_sum + floats(lane_padded / 32);
  }
  /// Padded so that the kernels may read 16 at a time.
  static std::size_t floats(std::size_t count) { return round_up(count, 16) * sizeof(float); }

  std::size_t q, scale, sum32, sum64, sum128, planes, lane_scale, lane_sum, size;
};

}  // namespace

std::size_t Activations::size_for(std::size_t rows, std::size_t cols) {
  return rows * Layout(cols).size;
}

Result<Activations> Activations::allocate(std::size_t rows, std::size_t cols) {
  Activations activations;
  FM_ASSIGN_OR_RETURN(activations.buffer_, AlignedBuffer::allocate(size_for(rows, cols)));
  return activations;
}

void Activations::reset(MatrixView<const float> values) {
  values_ = values;
  if (has_integers()) FM_CHECK(size_for(rows(), cols()) <= buffer_.size());
}

ActivationRowParts Activations::parts(std::size_t r) {
  FM_DCHECK(r < rows());
  const Layout layout(cols());
  std::byte* base = buffer_.data() + r * layout.size;
  return {.q = reinterpret_cast<std::int16_t*>(base + layout.q),
          .scale = reinterpret_cast<float*>(base + layout.scale),
          .sum32 = reinterpret_cast<float*>(base + layout.sum32),
          .sum64 = reinterpret_cast<float*>(base + layout.sum64),
          .sum128 = reinterpret_cast<float*>(base + layout.sum128),
          .planes = reinterpret_cast<std::int8_t*>(base + layout.planes),
          .lane_scale = reinterpret_cast<float*>(base + layout.lane_scale),
          .lane_sum = reinterpret_cast<float*>(base + layout.lane_sum)};
}

ActivationRow Activations::row(std::size_t r) const {
  ActivationRow row = {};
  row.values = values_.row(r);
  if (!has_integers()) return row;
  const ActivationRowParts parts = const_cast<Activations*>(this)->parts(r);
  row.q = parts.q;
  row.scale = parts.scale;
  row.sum32 = parts.sum32;
  row.sum64 = parts.sum64;
  row.sum128 = parts.sum128;
  row.planes = parts.planes;
  row.lane_scale = parts.lane_scale;
  row.lane_sum = parts.lane_sum;
  return row;
}

}  // namespace flashmoe
