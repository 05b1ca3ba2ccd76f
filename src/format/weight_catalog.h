#ifndef FLASHMOE_FORMAT_WEIGHT_CATALOG_H_
#define FLASHMOE_FORMAT_WEIGHT_CATALOG_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "format/model_package.h"
#include "tensor/weight_view.h"

namespace flashmoe {

/// Where the parts of one weight matrix, or of a stack of equal ones, lie in a package.
struct WeightRecord {
  const WeightType* type = nullptr;
  std::uint64_t stack = 1;  // matrices stacked on the leading axis: num_experts for fused experts
  std::uint64_t rows = 0;
  std::uint64_t cols = 0;
  std::array<const TensorRecord*, kWeightPlanesMax> planes = {};  // as type->planes()
};

/// The type of a weight matrix that is the one tensor `name`: floats, or ggml's blocks. Error:
/// kUnsupported, naming the tensor.
Result<const WeightType*> find_plain_type(const ModelPackage& package, std::string_view name,
                                          const TensorRecord& tensor);

/// The weight matrix of the module called `path` (tensor name without ".weight"), of logical shape
/// [rows, cols], or [stack, rows, cols] when `stack` > 1. Quantised if `<path>.scales` exists:
/// mode, bits and group size come from config.json's `quantization` object (per-module overrides
/// first) and are checked against the shapes, from which they are inferred where the config does
/// not list the module; or if its dtype is F8_E4M3 (docs/formats.md). Errors: kNotFound if there is
/// no such tensor, kCorrupt if shapes, dtypes or the quantisation contradict each other,
/// kUnsupported for what nothing here computes with, each naming the tensor.
Result<WeightRecord> find_weight(const ModelPackage& package, std::string_view path,
                                 std::uint64_t stack, std::uint64_t rows, std::uint64_t cols);

/// A stack of matrices in MXFP4 whose tensors are called `name`_blocks, [stack, rows, cols / 32,
/// 16], and `name`_scales, [stack, rows, cols / 32]: the bytes of MLX's mode (docs/formats.md).
/// Errors: kNotFound, kCorrupt, as above.
Result<WeightRecord> find_mxfp4_blocks(const ModelPackage& package, std::string_view name,
                                       std::uint64_t stack, std::uint64_t rows, std::uint64_t cols);

/// Whether the module called `path` has a weight matrix, for models that are stored in several
/// ways.
bool has_weight(const ModelPackage& package, const std::string& path);

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_WEIGHT_CATALOG_H_
