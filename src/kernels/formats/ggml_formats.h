#ifndef FLASHMOE_KERNELS_FORMATS_GGML_FORMATS_H_
#define FLASHMOE_KERNELS_FORMATS_GGML_FORMATS_H_

#include <cstddef>
#include <span>
#include <string_view>

#include "kernels/formats/block_bytes.h"
#include "tensor/ggml_type.h"

namespace flashmoe::formats {

/// A ggml type's blocks of quantised numbers, exactly: the reference that kernels of that type are
/// held against.
struct GgmlFormat {
  std::string_view name;  // GgmlType's
  std::size_t run = 0;    // columns that share a scale, and a bias if there is one
  bool has_bias = false;
  void (*read)(const std::byte* block, BlockParts& parts) = nullptr;
};
/// Null: not known here.
const GgmlFormat* find_ggml_format(const GgmlType& type);

/// What blocks of a type mean; of F32, F16 and BF16 too. `blocks` are whole blocks, `out` has an
/// element for each of theirs. False for a type that is not known here.
bool dequantize_ggml(const GgmlType& type, std::span<const std::byte> blocks, std::span<float> out);

}  // namespace flashmoe::formats

#endif  // FLASHMOE_KERNELS_FORMATS_GGML_FORMATS_H_
