#ifndef FLASHMOE_KERNELS_ACTIVATION_ROW_H_
#define FLASHMOE_KERNELS_ACTIVATION_ROW_H_

#include <stdint.h>

namespace flashmoe {

/// What one block of activations brings to a float step (docs/numerics.md).
struct ActivationBlock {
  float scale;    // x ~= scale * q
  float sum;      // scale * total
  int32_t total;  // sum of q over the block's columns
};

/// Where the parts of one prepared row of activations lie (docs/numerics.md has the values).
struct ActivationRow {
  const float* values;              // [cols], the caller's own floats
  const ActivationBlock* blocks16;  // [cols / 16]; those of the same 64 columns share a scale
  const ActivationBlock* blocks32;  // [cols / 32]
  const ActivationBlock* blocks64;  // [cols / 64]
  /// q, |q| <= 32639, the elements of each 8 in the order 0 4 1 5 2 6 3 7: what a 32-bit word of
  /// eight 4-bit weights gives in halves of 16 bits, shifted by 0, 4, 8 and 12.
  const int16_t* words;  // [cols]
  /// The bytes of q = 256 high + low. A chunk of 32 elements, number c of 512, has lane
  /// 4 (c % 4) + c / 4, so that lines of 64 bytes of 4-bit weights, transposed by words, meet them.
  /// Of 8-element part d of each chunk, its even or its odd elements: the high plane, then the low.
  /// Zeros follow the last element, to a multiple of 512.
  const int8_t* planes;  // [cols / 512][d: 4][odd: 2][plane: 2][lane: 16][4]
  /// q once more, 128 bytes for 64 columns in their order, for what unpacks to it: as a target
  /// multiplies them, both planes of bytes, [cols / 64][plane: 2][64], or 16-bit words
  /// (kWordSpan of cpu/simd_scalar.h). Zeros follow to a multiple of 64.
  const int8_t* numbers;
};

/// The integer parts of an ActivationRow, to be written.
struct ActivationRowParts {
  ActivationBlock* blocks16;
  ActivationBlock* blocks32;
  ActivationBlock* blocks64;
  int16_t* words;
  int8_t* planes;
  int8_t* numbers;
};

}  // namespace flashmoe

#endif  // FLASHMOE_KERNELS_ACTIVATION_ROW_H_
