#ifndef FLASHMOE_KERNELS_ACTIVATION_ROW_H_
#define FLASHMOE_KERNELS_ACTIVATION_ROW_H_

#include <stdint.h>

namespace flashmoe {

/// Where the parts of one prepared row of activations lie (docs/numerics.md has the values).
/// Past cols there are zeros (scale 0 too): in q, scale and the sums to a multiple of 128 elements,
/// in planes and what follows to one of 512. Sums can be read, as zeros, to a multiple of 16.
struct ActivationRow {
  const float* values;  // [cols], the caller's own floats
  const int16_t* q;     // x ~= scale[i / 32] * q[i], |q| <= 32639
  const float* scale;   // [cols / 32]
  const float* sum32;   // [cols / 32]   scale * sum of q over each 32
  const float* sum64;   // [cols / 64]   sums of two of the above
  const float* sum128;  // [cols / 128]  sums of two of the above
  // What 4-bit weights meet. Of each 512 elements lane 4s + j has 128j + 32s ... 128j + 32s + 31.
  const int8_t* planes;  // [cols / 512][4][2][2][16][4]: q = 256 high + low. Of 8-element part d,
                         // its even or its odd elements: the high plane, then the low one
  const float* lane_scale;  // [cols / 512][16]: scale and sum32 in the order of the lanes
  const float* lane_sum;    // [cols / 512][16]
};

/// The integer parts of an ActivationRow, to be written.
struct ActivationRowParts {
  int16_t* q;
  float* scale;
  float* sum32;
  float* sum64;
  float* sum128;
  int8_t* planes;
  float* lane_scale;
  float* lane_sum;
};

}  // namespace flashmoe

#endif  // FLASHMOE_KERNELS_ACTIVATION_ROW_H_
