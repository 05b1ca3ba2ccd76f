#include "tensor/dtype.h"

#include <array>

#include "base/check.h"
#include "tensor/float_bits.h"

namespace flashmoe {
namespace {

struct DTypeInfo {
  DType dtype;
  std::string_view name;
  std::size_t size;
};

constexpr std::array<DTypeInfo, 15> kDTypes = {{
    {DType::kBool, "BOOL", 1},
    {DType::kU8, "U8", 1},
    {DType::kI8, "I8", 1},
    {DType::kU16, "U16", 2},
    {DType::kI16, "I16", 2},
    {DType::kU32, "U32", 4},
    {DType::kI32, "I32", 4},
    {DType::kU64, "U64", 8},
    {DType::kI64, "I64", 8},
    {DType::kF16, "F16", 2},
    {DType::kBF16, "BF16", 2},
    {DType::kF32, "F32", 4},
    {DType::kF64, "F64", 8},
    {DType::kF8E4M3, "F8_E4M3", 1},
    {DType::kF8E5M2, "F8_E5M2", 1},
}};

const DTypeInfo& info_of(DType dtype) {
  const DTypeInfo& info = kDTypes[static_cast<std::size_t>(dtype)];
  FM_DCHECK(info.dtype == dtype);
  return info;
}

}  // namespace

std::size_t size_of(DType dtype) { return info_of(dtype).size; }

bool is_float(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16;
}

void widen(DType dtype, const std::byte* bytes, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    switch (dtype) {
      case DType::kF32:
        out[i] = load_unaligned<float>(bytes + 4 * i);
        break;
      case DType::kBF16:
        out[i] = float_from_bf16(load_unaligned<std::uint16_t>(bytes + 2 * i));
        break;
      case DType::kF16:
        out[i] = float_from_f16(load_unaligned<std::uint16_t>(bytes + 2 * i));
        break;
      default:
        FM_CHECK(false);
    }
  }
}

std::string_view to_string(DType dtype) { return info_of(dtype).name; }

std::optional<DType> parse_dtype(std::string_view name) {
  for (const DTypeInfo& info : kDTypes) {
    if (info.name == name) return info.dtype;
  }
  return std::nullopt;
}

}  // namespace flashmoe
