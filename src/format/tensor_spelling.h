#ifndef FLASHMOE_FORMAT_TENSOR_SPELLING_H_
#define FLASHMOE_FORMAT_TENSOR_SPELLING_H_

#include <cstdint>

namespace flashmoe {

/// Whose names and conventions the tensors of a package follow; a model's TensorTable knows the
/// names of each, and how the numbers behind them are stored.
enum class TensorSpelling : std::uint8_t {
  kHuggingFace,
  kMlx,   // experts stacked, 1 added to zero-centred norms, convolutions transposed
  kGguf,  // llama.cpp's names, and what its converter does to weights (docs/formats.md)
};

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_TENSOR_SPELLING_H_
