#ifndef FLASHMOE_KERNELS_FORMATS_PACKED_FP4_H_
#define FLASHMOE_KERNELS_FORMATS_PACKED_FP4_H_

#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "kernels/formats/small_floats.h"
#include "tensor/float_bits.h"
#include "tensor/weight_view.h"

namespace flashmoe::formats {

// Floats of four bits with a plane of scales:  w = F[q] s,  F = 0 1/2 1 3/2 2 3 4 6 and negatives
//
// weights, a row:  byte i: element 2 i in its low four bits, 2 i + 1 in its high ones
// scales, a row:   byte g: of elements 32 g to 32 g + 31 (mxfp4), an E8M0;
//                          of elements 16 g to 16 g + 15 (nvfp4), an E4M3
// nvfp4 may have a third plane, one f32 G of the whole matrix:  s = E4M3 (G / 2688), both rounded

inline std::uint32_t packed_fp4_code(const WeightView& weight, std::size_t row, std::size_t col) {
  const auto byte = std::to_integer<std::uint32_t>(weight.plane_row(0, row)[col / 2]);
  return col % 2 == 0 ? byte & 15 : byte >> 4;
}

/// s of the group that has column `col`.
inline float packed_fp4_scale(const WeightView& weight, std::size_t row, std::size_t col) {
  const auto code =
      std::to_integer<std::uint32_t>(weight.plane_row(1, row)[col / weight.type->block_cols]);
  if (weight.type->encoding == WeightEncoding::kPackedMxfp4) return float_from_e8m0(code);
  FM_CHECK(weight.type->encoding == WeightEncoding::kPackedNvfp4);
  if (weight.type->plane_count < 3) return float_from_e4m3(code);
  const float factor = load_unaligned<float>(weight.planes[2]) / 2688.0f;
  return float_from_e4m3(code) * factor;
}

}  // namespace flashmoe::formats

#endif  // FLASHMOE_KERNELS_FORMATS_PACKED_FP4_H_
