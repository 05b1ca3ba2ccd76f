#include "kernels/kv_rows.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "tensor/float_bits.h"

namespace flashmoe {
namespace {

/// Below this all elements of a group count as 0, as those of activations do.
constexpr float kLeastMagnitude = 0x1p-100f;
constexpr float kInt8Max = 127;

/// The nearest bfloat16, halves to even; NaN stays NaN.
std::uint16_t bf16_from_float(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>(bits >> 16 | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/// The largest |x| by bits, so that NaN is larger than infinity.
float largest_magnitude(std::span<const float> values) {
  std::int32_t largest = 0;
  for (const float value : values) {
    largest = std::max(largest, std::bit_cast<std::int32_t>(value) & 0x7fffffff);
  }
  return std::bit_cast<float>(largest);
}

/// One group to integers; returns its scale. Where a scale is not finite, neither is what its
/// integers stand for, whichever they are.
float quantize_group(std::span<const float> values, std::int8_t* out) {
  const float largest = largest_magnitude(values);
  if (largest < kLeastMagnitude) {
    std::memset(out, 0, values.size());
    return 0;
  }
  const float factor = kInt8Max / largest;
  for (std::size_t i = 0; i < values.size(); ++i) {
    float x = values[i] * factor;
    x = x < kInt8Max ? x : kInt8Max;
    x = x > -kInt8Max ? x : -kInt8Max;
    constexpr float kRound = 0x1.8p23f;  // adding it leaves the nearest integer, halves to even
    out[i] = static_cast<std::int8_t>(static_cast<std::int32_t>((x + kRound) - kRound));
  }
  return largest / kInt8Max;
}

}  // namespace

std::size_t kv_row_bytes(KvPrecision precision, std::size_t dim) {
  switch (precision) {
    case KvPrecision::kBF16:
      return dim * sizeof(std::uint16_t);
    case KvPrecision::kInt8:
      return dim + (dim + kKvGroup - 1) / kKvGroup * sizeof(float);
    case KvPrecision::kF32:
      break;
  }
  return dim * sizeof(float);
}

void store_kv_row(KvPrecision precision, std::span<const float> values, void* row) {
  auto* const bytes = static_cast<std::uint8_t*>(row);
  switch (precision) {
    case KvPrecision::kF32:
      std::memcpy(bytes, values.data(), values.size_bytes());
      return;
    case KvPrecision::kBF16:
      for (std::size_t i = 0; i < values.size(); ++i) {
        const std::uint16_t rounded = bf16_from_float(values[i]);
        std::memcpy(bytes + i * sizeof(rounded), &rounded, sizeof(rounded));
      }
      return;
    case KvPrecision::kInt8:
      for (std::size_t begin = 0; begin < values.size(); begin += kKvGroup) {
        std::array<std::int8_t, kKvGroup> group;
        const std::size_t count = std::min(kKvGroup, values.size() - begin);
        const float scale = quantize_group(values.subspan(begin, count), group.data());
        std::memcpy(bytes + begin, group.data(), count);
        std::memcpy(bytes + values.size() + begin / kKvGroup * sizeof(scale), &scale,
                    sizeof(scale));
      }
      return;
  }
}

void load_kv_row(KvPrecision precision, const void* row, std::span<float> values) {
  const auto* const bytes = static_cast<const std::uint8_t*>(row);
  switch (precision) {
    case KvPrecision::kF32:
      std::memcpy(values.data(), bytes, values.size_bytes());
      return;
    case KvPrecision::kBF16:
      for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = float_from_bf16(load_unaligned<std::uint16_t>(bytes + i * 2));
      }
      return;
    case KvPrecision::kInt8:
      for (std::size_t i = 0; i < values.size(); ++i) {
        const float scale =
            load_unaligned<float>(bytes + values.size() + i / kKvGroup * sizeof(float));
        values[i] = scale * static_cast<float>(static_cast<std::int8_t>(bytes[i]));
      }
      return;
  }
}

}  // namespace flashmoe
