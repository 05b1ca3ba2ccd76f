#include "kernels/reference/integer_product.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "kernels/reference/affine_bits.h"

namespace flashmoe::reference {
namespace {

constexpr std::size_t kScaleColumns = 64;
constexpr float kLargest = 32639.0f;  // 127 * 256 + 127: two signed bytes

/// Up to 64 activations x ~= scale * q.
struct Quantised {
  float scale = 0;
  std::vector<std::int32_t> q;
};

Quantised quantise(std::span<const float> x) {
  // By bits, so that NaN is the largest.
  std::uint32_t highest_bits = 0;
  for (const float value : x) {
    highest_bits = std::max(highest_bits, std::bit_cast<std::uint32_t>(value) & 0x7fffffffu);
  }
  const auto highest = std::bit_cast<float>(highest_bits);
  Quantised block = {.q = std::vector<std::int32_t>(x.size())};
  if (highest < 0x1p-100f) return block;
  block.scale = highest / kLargest;
  const float inverse = kLargest / highest;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float scaled = x[i] * inverse;
    const float clamped = scaled < kLargest ? std::max(scaled, -kLargest) : kLargest;
    block.q[i] = static_cast<std::int32_t>(std::nearbyint(clamped));
  }
  return block;
}

}  // namespace

float integer_product(const WeightView& weight, std::size_t row, std::span<const float> x) {
  const WeightType& type = *weight.type;
  FM_CHECK(type.encoding == WeightType::Encoding::kAffine);
  FM_CHECK(x.size() == weight.cols);
  const std::size_t step = std::min<std::size_t>(kScaleColumns, type.block_cols);
  float y = 0;
  for (std::size_t i = 0; i < weight.cols; i += kScaleColumns) {
    const std::size_t count = std::min(kScaleColumns, weight.cols - i);
    const Quantised block = quantise(x.subspan(i, count));
    for (std::size_t k = 0; k < count; k += step) {
      std::int32_t product = 0;
      std::int32_t total = 0;
      for (std::size_t j = k; j < k + step; ++j) {
        const std::uint32_t w = load_bits(weight.plane_row(0, row), type.bits, i + j);
        product += static_cast<std::int32_t>(w) * block.q[j];
        total += block.q[j];
      }
      const std::size_t at = (i + k) / type.block_cols * size_of(type.dtype);
      const float scale = load_float(weight.plane_row(1, row) + at, type.dtype);
      const float bias = load_float(weight.plane_row(2, row) + at, type.dtype);
      const float sum = block.scale * static_cast<float>(total);
      y = std::fma(bias, sum, y);
      y = std::fma(scale * block.scale, static_cast<float>(product), y);
    }
  }
  return y;
}

}  // namespace flashmoe::reference
