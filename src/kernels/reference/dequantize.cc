#include "kernels/reference/dequantize.h"

#include <cstdint>

#include "base/check.h"
#include "tensor/float_bits.h"

namespace flashmoe::reference {
namespace {

// An F32, BF16 or F16 at any address.
float load_float(const std::byte* address, DType dtype) {
  if (dtype == DType::kF32) return load_unaligned<float>(address);
  const auto bits = load_unaligned<std::uint16_t>(address);
  if (dtype == DType::kBF16) return float_from_bf16(bits);
  FM_CHECK(dtype == DType::kF16);
  return float_from_f16(bits);
}

// Element `index` of `bits` bits. A packed row is one little-endian bit stream: element e is its
// bits [e * bits, (e + 1) * bits), lowest first, and may straddle two bytes.
std::uint32_t load_bits(const std::byte* row, std::uint32_t bits, std::size_t index) {
  const std::size_t bit = index * bits;
  const std::size_t shift = bit % 8;
  auto word = std::to_integer<std::uint32_t>(row[bit / 8]);
  if (shift + bits > 8) word |= std::to_integer<std::uint32_t>(row[bit / 8 + 1]) << 8;
  return (word >> shift) & ((1u << bits) - 1);
}

}  // namespace

void dequantize_row(const WeightView& weight, std::size_t row, std::span<float> out) {
  const WeightFormat& format = weight.format;
  FM_CHECK(row < weight.rows);
  FM_CHECK(out.size() == weight.cols);
  if (format.kind == WeightFormat::Kind::kFloat) {
    const std::size_t step =
        weight.transposed_stride != 0 ? weight.transposed_stride : size_of(format.dtype);
    for (std::size_t i = 0; i < weight.cols; ++i) {
      out[i] = load_float(weight.weight_row(row) + i * step, format.dtype);
    }
    return;
  }
  FM_CHECK(format.bits >= 1);
  FM_CHECK(format.bits <= 8);
  FM_CHECK(format.group_size > 0);
  FM_CHECK(weight.cols % format.group_size == 0);
  for (std::size_t i = 0; i < weight.cols; ++i) {
    const std::size_t group = i / format.group_size;
    const std::size_t at = group * size_of(format.dtype);
    const float scale = load_float(weight.scale_row(row) + at, format.dtype);
    const float bias = load_float(weight.bias_row(row) + at, format.dtype);
    const auto q = static_cast<float>(load_bits(weight.weight_row(row), format.bits, i));
    const float product = scale * q;
    out[i] = product + bias;
  }
}

}  // namespace flashmoe::reference
