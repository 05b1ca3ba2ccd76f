#ifndef FLASHMOE_TENSOR_WEIGHT_ENCODING_H_
#define FLASHMOE_TENSOR_WEIGHT_ENCODING_H_

#include <stdint.h>

namespace flashmoe {

/// What the bytes of a weight matrix are. Plain C, since kernels of every instruction set read it.
enum class WeightEncoding : uint8_t {
  kFloat,   // one F32, BF16 or F16 element per weight
  kAffine,  // MLX affine groups: w = scale * q + bias, q of a few bits (docs/formats.md)
  // ggml's blocks (kernels/formats): one plane, scales and quantised numbers together.
  kQ40,
  kQ41,
  kQ50,
  kQ51,
  kQ80,
  kQ2K,
  kQ3K,
  kQ4K,
  kQ5K,
  kQ6K,
  kIq4Nl,
  kIq4Xs,
  kMxfp4,
  // Floats of four bits, E2M1, with a plane of scales (kernels/formats/packed_fp4.h).
  kPackedMxfp4,  // 32 share an E8M0
  kPackedNvfp4,  // 16 share an E4M3; times a factor of the whole matrix, where it has a third plane
  // Floats of eight bits, E4M3, with a plane of scales (kernels/formats/e4m3.h).
  kPackedMxfp8,  // 32 of a row share an E8M0
  kFp8Blocks,    // rectangles of rows and columns share a float
};

}  // namespace flashmoe

#endif  // FLASHMOE_TENSOR_WEIGHT_ENCODING_H_
