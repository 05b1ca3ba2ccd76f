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
};

}  // namespace flashmoe

#endif  // FLASHMOE_TENSOR_WEIGHT_ENCODING_H_
