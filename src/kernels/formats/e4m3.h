#ifndef FLASHMOE_KERNELS_FORMATS_E4M3_H_
#define FLASHMOE_KERNELS_FORMATS_E4M3_H_

#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "kernels/formats/small_floats.h"
#include "kernels/reference/affine_bits.h"
#include "tensor/weight_view.h"

namespace flashmoe::formats {

// Floats of eight bits with a plane of scales:  w = E4M3 s, one product, rounded
//
// weights, a row:  byte i: element i
// mxfp8            scales, a row:  byte g: an E8M0, of elements 32 g to 32 g + 31
// fp8 R x C        scales, row b of them:  element g: a float, of rows R b to R b + R - 1, elements
//                  C g to C g + C - 1, fewer at the edges
inline float e4m3_weight(const WeightView& weight, std::size_t row, std::size_t col) {
  const WeightType& type = *weight.type;
  const float number =
      float_from_e4m3(std::to_integer<std::uint32_t>(weight.plane_row(0, row)[col]));
  const std::byte* const scales = weight.plane_row(1, row);
  if (type.encoding == WeightEncoding::kPackedMxfp8) {
    return number * float_from_e8m0(std::to_integer<std::uint32_t>(scales[col / type.block_cols]));
  }
  FM_CHECK(type.encoding == WeightEncoding::kFp8Blocks);
  const std::size_t block = col / type.planes()[1].block_cols;
  return number * reference::load_float(scales + block * size_of(type.dtype), type.dtype);
}

}  // namespace flashmoe::formats

#endif  // FLASHMOE_KERNELS_FORMATS_E4M3_H_
