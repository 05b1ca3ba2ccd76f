#ifndef FLASHMOE_KERNELS_FORMATS_GGML_FORMATS_H_
#define FLASHMOE_KERNELS_FORMATS_GGML_FORMATS_H_

#include <cstddef>
#include <span>

#include "tensor/ggml_type.h"

namespace flashmoe::formats {

/// What ggml's blocks of a type mean, exactly: the reference that kernels of that type are held
/// against. `blocks` are whole blocks, `out` has an element for each of theirs. False for a type
/// that is not known here.
bool dequantize_ggml(const GgmlType& type, std::span<const std::byte> blocks, std::span<float> out);

}  // namespace flashmoe::formats

#endif  // FLASHMOE_KERNELS_FORMATS_GGML_FORMATS_H_
