#ifndef FLASHMOE_TENSOR_DTYPE_H_
#define FLASHMOE_TENSOR_DTYPE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace flashmoe {

/// Element types of tensors on disk, by their safetensors names.
enum class DType : std::uint8_t {
  kBool,
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kU64,
  kI64,
  kF16,
  kBF16,
  kF32,
  kF64,
  kF8E4M3,
  kF8E5M2,
};

/// Bytes of one element.
std::size_t size_of(DType dtype);

/// F32, BF16 or F16: what weights and vectors are of, and widen() reads.
bool is_float(DType dtype);

/// The F32, BF16 or F16 numbers at `bytes`, at any address, as floats.
void widen(DType dtype, const std::byte* bytes, std::span<float> out);

/// The safetensors spelling: "BF16", "U32", ...
std::string_view to_string(DType dtype);

/// The type spelled `name` in a safetensors header, if there is one.
std::optional<DType> parse_dtype(std::string_view name);

}  // namespace flashmoe

#endif  // FLASHMOE_TENSOR_DTYPE_H_
