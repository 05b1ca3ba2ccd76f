#include "synthesis/random_fill.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/name_hash.h"

namespace flashmoe {
namespace {

/// SplitMix64's finaliser (Steele, Lea, Flood 2014): word i of a stream is mix(key + i * golden),
/// so any word can be had without those before it.
constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15;

inline std::uint64_t mix(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

inline std::uint64_t word_at(std::uint64_t key, std::uint64_t i) { return mix(key + i * kGolden); }

std::uint16_t bf16_nearest(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

void fill_codes(std::uint64_t key, std::uint64_t first, std::span<std::byte> out) {
  std::size_t at = 0;
  for (; at + 8 <= out.size(); at += 8) {
    const std::uint64_t word = word_at(key, first++);
    std::memcpy(out.data() + at, &word, 8);
  }
  const std::uint64_t word = word_at(key, first);
  if (at < out.size()) std::memcpy(out.data() + at, &word, out.size() - at);
}

/// 16-bit element i is table[nibble i of the stream].
void fill_from_table(const std::array<std::uint16_t, 16>& table, std::uint64_t key,
                     std::uint64_t first, std::span<std::byte> out) {
  const std::size_t count = out.size() / 2;
  for (std::size_t i = 0; i < count; i += 16) {
    std::uint64_t word = word_at(key, first++);
    std::array<std::uint16_t, 16> elements;
    for (std::uint16_t& element : elements) {
      element = table[word & 15];
      word >>= 4;
    }
    std::memcpy(out.data() + 2 * i, elements.data(), 2 * std::min<std::size_t>(16, count - i));
  }
}

/// Scales between 0.65 and 1.35 of the size that gives the deviation, of either sign, as MLX's
/// quantiser makes them. Four significant bits, so that at 4 bits the bias -7.5 scale is a bfloat16
/// too, and weights have no mean of their own.
std::array<float, 16> scale_table(const RandomFill& fill) {
  const double codes = std::ldexp(1.0, static_cast<int>(fill.bits));
  const double step = std::sqrt((codes * codes - 1) / 12);  // deviation of uniform codes
  std::array<float, 16> table;
  for (int i = 0; i < 8; ++i) {
    int exponent = 0;
    const double mantissa = std::frexp(fill.deviation / step * (0.65 + 0.1 * i), &exponent);
    const auto scale = static_cast<float>(std::ldexp(std::nearbyint(mantissa * 16), exponent - 4));
    table[static_cast<std::size_t>(i)] = scale;
    table[static_cast<std::size_t>(i) + 8] = -scale;
  }
  return table;
}

void fill_uniform(const RandomFill& fill, std::uint64_t key, std::uint64_t first,
                  std::span<std::byte> out) {
  for (std::size_t i = 0; i < out.size() / 2; ++i) {
    const double unit = static_cast<double>(word_at(key, first + i) >> 40) * 0x1p-24;
    const std::uint16_t element =
        bf16_nearest(static_cast<float>(fill.low + (fill.high - fill.low) * unit));
    std::memcpy(out.data() + 2 * i, &element, 2);
  }
}

}  // namespace

std::uint64_t stream_key(std::uint64_t seed, std::string_view module_path) {
  return mix(name_hash(module_path) + mix(seed + kGolden));
}

void fill_random(const RandomFill& fill, std::uint64_t key, std::uint64_t offset,
                 std::span<std::byte> out) {
  FM_CHECK(offset % kFillUnit == 0);
  if (fill.kind == RandomFill::Kind::kUniform) {
    fill_uniform(fill, key, offset / 2, out);
    return;
  }
  if (fill.kind == RandomFill::Kind::kCodes) {
    fill_codes(key, offset / 8, out);
    return;
  }
  const bool is_bias = fill.kind == RandomFill::Kind::kBiases;
  const float zero_point = (std::ldexp(1.0f, static_cast<int>(fill.bits)) - 1) / 2;
  std::array<std::uint16_t, 16> table;
  std::ranges::transform(scale_table(fill), table.begin(), [=](float scale) {
    return bf16_nearest(is_bias ? -zero_point * scale : scale);
  });
  fill_from_table(table, mix(key), offset / 32, out);
}

}  // namespace flashmoe
