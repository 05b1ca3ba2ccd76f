#ifndef FLASHMOE_TENSOR_GGML_TYPE_H_
#define FLASHMOE_TENSOR_GGML_TYPE_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "tensor/dtype.h"

namespace flashmoe {

/// One of ggml's element types, as GGUF files number them: rows are made of blocks of `block`
/// elements in `block_size` bytes (docs/formats.md).
struct GgmlType {
  std::uint32_t id = 0;
  std::string_view name;  // "Q4_K"
  std::uint32_t block = 1;
  std::uint32_t block_size = 0;
  /// Of the types whose blocks are single elements of one of ours.
  std::optional<DType> dtype = std::nullopt;
};

/// The type of that number, or null: of a retired one, of one that ggml itself does not have
/// (ik_llama.cpp's), of one to come.
const GgmlType* find_ggml_type(std::uint32_t id);
/// The same by its name.
const GgmlType* find_ggml_type(std::string_view name);

}  // namespace flashmoe

#endif  // FLASHMOE_TENSOR_GGML_TYPE_H_
