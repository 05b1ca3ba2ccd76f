#include "kernels/reference/integer_product.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/check.h"
#include "kernels/formats/ggml_formats.h"
#include "kernels/formats/packed_fp4.h"
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

/// Some columns of a weight row that share a scale and a bias.
struct WeightRun {
  float scale = 0;
  std::optional<float> bias;
  std::vector<std::int32_t> q;
};

/// A row cut into runs, none longer than the columns that share an activation scale.
std::vector<WeightRun> runs_of(const WeightView& weight, std::size_t row) {
  const WeightType& type = *weight.type;
  std::vector<WeightRun> runs;
  const std::byte* const bytes = weight.plane_row(0, row);
  if (type.ggml != nullptr) {
    const formats::GgmlFormat* const format = formats::find_ggml_format(*type.ggml);
    FM_CHECK(format != nullptr);
    formats::BlockParts parts;
    for (std::size_t col = 0; col < weight.cols; ++col) {
      const std::size_t in_block = col % type.block_cols;
      if (in_block == 0) format->read(bytes + type.plane_row_size(0, col), parts);
      if (in_block % format->run == 0) {
        const std::size_t run = in_block / format->run;
        runs.push_back({.scale = parts.scale[run], .bias = {}, .q = {}});
        if (format->has_bias) runs.back().bias = parts.bias[run];
      }
      runs.back().q.push_back(parts.q[in_block]);
    }
    return runs;
  }
  if (type.encoding != WeightEncoding::kAffine) {
    // Twice the numbers are whole, with half the scale.
    for (std::size_t col = 0; col < weight.cols; ++col) {
      if (col % type.block_cols == 0) {
        const float scale = formats::packed_fp4_scale(weight, row, col);
        runs.push_back({.scale = scale * 0.5f, .bias = {}, .q = {}});
      }
      const float number = formats::kE2m1[formats::packed_fp4_code(weight, row, col)];
      runs.back().q.push_back(static_cast<std::int32_t>(2 * number));
    }
    return runs;
  }
  const std::size_t step = std::min<std::size_t>(kScaleColumns, type.block_cols);
  for (std::size_t col = 0; col < weight.cols; ++col) {
    if (col % step == 0) {
      const std::size_t at = col / type.block_cols * size_of(type.dtype);
      runs.push_back({.scale = load_float(weight.plane_row(1, row) + at, type.dtype),
                      .bias = load_float(weight.plane_row(2, row) + at, type.dtype),
                      .q = {}});
    }
    runs.back().q.push_back(static_cast<std::int32_t>(load_bits(bytes, type.bits, col)));
  }
  return runs;
}

}  // namespace

float integer_product(const WeightView& weight, std::size_t row, std::span<const float> x) {
  FM_CHECK(x.size() == weight.cols);
  float y = 0;
  Quantised block;
  std::size_t col = 0;
  for (const WeightRun& run : runs_of(weight, row)) {
    if (col % kScaleColumns == 0) {
      block = quantise(x.subspan(col, std::min(kScaleColumns, x.size() - col)));
    }
    std::int32_t product = 0;
    std::int32_t total = 0;
    for (const std::int32_t w : run.q) {
      const std::int32_t q = block.q[col++ % kScaleColumns];
      product += w * q;
      total += q;
    }
    if (run.bias) y = std::fma(*run.bias, block.scale * static_cast<float>(total), y);
    y = std::fma(run.scale * block.scale, static_cast<float>(product), y);
  }
  return y;
}

}  // namespace flashmoe::reference
