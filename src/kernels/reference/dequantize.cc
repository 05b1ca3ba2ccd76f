#include "kernels/reference/dequantize.h"

#include <cstdint>

#include "base/check.h"
#include "kernels/formats/e4m3.h"
#include "kernels/formats/ggml_formats.h"
#include "kernels/formats/packed_fp4.h"
#include "kernels/reference/affine_bits.h"

namespace flashmoe::reference {

void dequantize_row(const WeightView& weight, std::size_t row, std::span<float> out) {
  const WeightType& type = *weight.type;
  FM_CHECK(row < weight.rows);
  FM_CHECK(out.size() == weight.cols);
  if (type.encoding == WeightEncoding::kFloat) {
    const std::size_t step =
        weight.transposed_stride != 0 ? weight.transposed_stride : size_of(type.dtype);
    for (std::size_t i = 0; i < weight.cols; ++i) {
      out[i] = load_float(weight.plane_row(0, row) + i * step, type.dtype);
    }
    return;
  }
  FM_CHECK(weight.cols % type.block_cols == 0);
  if (type.ggml != nullptr) {
    const std::span blocks(weight.plane_row(0, row), type.row_size(weight.cols));
    FM_CHECK(formats::dequantize_ggml(*type.ggml, blocks, out));
    return;
  }
  if (type.encoding == WeightEncoding::kPackedMxfp8 ||
      type.encoding == WeightEncoding::kFp8Blocks) {
    for (std::size_t i = 0; i < weight.cols; ++i) out[i] = formats::e4m3_weight(weight, row, i);
    return;
  }
  if (type.encoding != WeightEncoding::kAffine) {
    for (std::size_t i = 0; i < weight.cols; ++i) {
      const float scale = formats::packed_fp4_scale(weight, row, i);
      out[i] = formats::kE2m1[formats::packed_fp4_code(weight, row, i)] * scale;
    }
    return;
  }
  for (std::size_t i = 0; i < weight.cols; ++i) {
    const std::size_t group = i / type.block_cols;
    const std::size_t at = group * size_of(type.dtype);
    const float scale = load_float(weight.plane_row(1, row) + at, type.dtype);
    const float bias = load_float(weight.plane_row(2, row) + at, type.dtype);
    const auto q = static_cast<float>(load_bits(weight.plane_row(0, row), type.bits, i));
    const float product = scale * q;
    out[i] = product + bias;
  }
}

}  // namespace flashmoe::reference
