#include "kernels/activations.h"

#include <cstdint>

#include "base/check.h"

namespace flashmoe {
namespace {

std::size_t round_up(std::size_t n, std::size_t step) { return (n + step - 1) / step * step; }

/// Byte offsets of the parts of one row of `cols` elements. Each begins on a cache line.
struct Layout {
  explicit Layout(std::size_t cols) {
    blocks16 = 0;
    blocks32 = blocks16 + lines(cols / 16 * sizeof(ActivationBlock));
    blocks64 = blocks32 + lines(cols / 32 * sizeof(ActivationBlock));
    words = blocks64 + lines(cols / 64 * sizeof(ActivationBlock));
    planes = words + lines(cols * sizeof(std::int16_t));
    numbers = planes + round_up(cols, Activations::kPlanePadding) * 2;
    size = numbers + round_up(cols, Activations::kBlock) * 2;
  }
  static std::size_t lines(std::size_t bytes) { return round_up(bytes, 64); }

  std::size_t blocks16, blocks32, blocks64, words, planes, numbers, size;
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
  return {.blocks16 = reinterpret_cast<ActivationBlock*>(base + layout.blocks16),
          .blocks32 = reinterpret_cast<ActivationBlock*>(base + layout.blocks32),
          .blocks64 = reinterpret_cast<ActivationBlock*>(base + layout.blocks64),
          .words = reinterpret_cast<std::int16_t*>(base + layout.words),
          .planes = reinterpret_cast<std::int8_t*>(base + layout.planes),
          .numbers = reinterpret_cast<std::int8_t*>(base + layout.numbers)};
}

ActivationRow Activations::row(std::size_t r) const {
  ActivationRow row = {};
  row.values = values_.row(r);
  if (!has_integers()) return row;
  const ActivationRowParts parts = const_cast<Activations*>(this)->parts(r);
  row.blocks16 = parts.blocks16;
  row.blocks32 = parts.blocks32;
  row.blocks64 = parts.blocks64;
  row.words = parts.words;
  row.planes = parts.planes;
  row.numbers = parts.numbers;
  return row;
}

}  // namespace flashmoe
