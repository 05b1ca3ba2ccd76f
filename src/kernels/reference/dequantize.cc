#include "kernels/reference/dequantize.h"

#include <cstdint>

#include "base/check.h"
#include "kernels/reference/affine_bits.h"

namespace flashmoe::reference {

void dequantize_row(const WeightView& weight, std::size_t row, std::span<float> out) {
  const WeightFormat& format = weight.format;
  FM_CHECK(row < weight.rows);
  FM_CHECK(out.size() == weight.cols);
  if (format.kind == WeightFormat::Kind::kFloat) {
    const std::size_t step =
        weight.transposed_stride != 0 ? weight.transposed_stride : size_of(format.dtype);
    for (std::size_t i = 0; i < weight.cols; ++i) {
      out[i] = load_float(weight.weight_row(row) + i * step, format.dtype);
    }
    return;
  }
  FM_CHECK(format.bits >= 1);
  FM_CHECK(format.bits <= 8);
  FM_CHECK(format.group_size > 0);
  FM_CHECK(weight.cols % format.group_size == 0);
  for (std::size_t i = 0; i < weight.cols; ++i) {
    const std::size_t group = i / format.group_size;
    const std::size_t at = group * size_of(format.dtype);
    const float scale = load_float(weight.scale_row(row) + at, format.dtype);
    const float bias = load_float(weight.bias_row(row) + at, format.dtype);
    const auto q = static_cast<float>(load_bits(weight.weight_row(row), format.bits, i));
    const float product = scale * q;
    out[i] = product + bias;
  }
}

}  // namespace flashmoe::reference
