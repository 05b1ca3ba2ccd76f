#include "synthesis/random_fill.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "tensor/float_bits.h"

namespace flashmoe {
namespace {

using Kind = RandomFill::Kind;

std::vector<std::byte> filled(const RandomFill& fill, std::size_t size, std::uint64_t key = 7) {
  std::vector<std::byte> bytes(size);
  fill_random(fill, key, 0, bytes);
  return bytes;
}

std::vector<float> floats(const std::vector<std::byte>& bytes) {
  std::vector<float> values(bytes.size() / 2);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = float_from_bf16(load_unaligned<std::uint16_t>(bytes.data() + 2 * i));
  }
  return values;
}

TEST(RandomFill, IsTheSameInPiecesOfAnySizeAndOrder) {
  const RandomFill fills[] = {{.kind = Kind::kUniform, .low = -1, .high = 1},
                              {.kind = Kind::kCodes},
                              {.kind = Kind::kScales, .bits = 4, .deviation = 1},
                              {.kind = Kind::kBiases, .bits = 8, .deviation = 1}};
  constexpr std::size_t kUnit = 32;
  constexpr std::size_t kSize = 10 * kUnit + 6;  // an end that fills no word
  std::mt19937 random(5);
  for (const RandomFill& fill : fills) {
    ASSERT_EQ(fill.unit(), kUnit);
    const std::vector<std::byte> whole = filled(fill, kSize);
    std::vector<std::byte> pieces(kSize);
    std::vector<std::size_t> cuts = {0, kSize};
    for (int i = 0; i < 3; ++i) cuts.push_back(random() % 10 * kUnit);
    std::ranges::sort(cuts);
    for (std::size_t i = cuts.size() - 1; i > 0; --i) {
      fill_random(fill, 7, cuts[i - 1],
                  std::span(pieces).subspan(cuts[i - 1], cuts[i] - cuts[i - 1]));
    }
    EXPECT_EQ(pieces, whole);
    EXPECT_NE(filled(fill, kSize, 8), whole);
  }
}

TEST(RandomFill, GivesTheBytesOfOtherMachines) {
  const std::vector<std::byte> codes = filled({.kind = Kind::kCodes}, 8, stream_key(0, "lm_head"));
  EXPECT_EQ(load_unaligned<std::uint64_t>(codes.data()), 12875542533671223500u);
}

TEST(RandomFill, UniformNumbersFillTheirRange) {
  const std::vector<float> values =
      floats(filled({.kind = Kind::kUniform, .low = 0.9f, .high = 1.1f}, 20000));
  const auto [least, most] = std::ranges::minmax(values);
  EXPECT_NEAR(least, 0.9, 0.01);
  EXPECT_NEAR(most, 1.1, 0.01);
}

TEST(RandomFill, HalvesAndFloatsAreTheSameNumbers) {
  // From subnormal halves on.
  for (const float width : {1e-7f, 1e-5f, 1e-3f, 1.0f, 1000.0f}) {
    RandomFill fill = {.kind = Kind::kUniform, .low = -width, .high = width, .dtype = DType::kF32};
    const std::vector<std::byte> wide = filled(fill, 4 * 4096);
    fill.dtype = DType::kF16;
    const std::vector<std::byte> halves = filled(fill, 2 * 4096);
    for (std::size_t i = 0; i < 4096; ++i) {
      const auto exact = load_unaligned<float>(wide.data() + 4 * i);
      const float half = float_from_f16(load_unaligned<std::uint16_t>(halves.data() + 2 * i));
      ASSERT_NEAR(half, exact, std::max(std::abs(exact) * 0x1p-11f, 0x1p-25f)) << exact;
    }
  }
}

TEST(RandomFill, AffineGroupsHaveTheMeanAndDeviationAskedFor) {
  for (const std::uint32_t bits : {4u, 8u}) {
    RandomFill fill = {.kind = Kind::kScales, .bits = bits, .deviation = 0.02f};
    const std::vector<float> scales = floats(filled(fill, 4096));
    fill.kind = Kind::kBiases;
    const std::vector<float> biases = floats(filled(fill, 4096));
    const std::vector<std::byte> codes = filled({.kind = Kind::kCodes}, scales.size() * 8 * bits);
    double sum = 0;
    double squares = 0;
    std::size_t negative = 0;
    for (std::size_t g = 0; g < scales.size(); ++g) {
      negative += scales[g] < 0 ? 1 : 0;
      for (std::size_t i = 0; i < 64; ++i) {
        const auto byte = std::to_integer<unsigned>(codes[(g * 64 + i) * bits / 8]);
        const unsigned q = bits == 8 ? byte : (i % 2 == 0 ? byte & 15 : byte >> 4);
        const double w = static_cast<double>(scales[g]) * q + static_cast<double>(biases[g]);
        sum += w;
        squares += w * w;
      }
    }
    const auto count = static_cast<double>(scales.size() * 64);
    EXPECT_NEAR(std::sqrt(squares / count), 0.02, 0.001);
    EXPECT_NEAR(sum / count, 0, 0.0003);
    EXPECT_NEAR(static_cast<double>(negative), 1024, 100);
    if (bits == 4) {
      for (std::size_t g = 0; g < scales.size(); ++g) EXPECT_EQ(biases[g], -7.5f * scales[g]);
    }
  }
}

}  // namespace
}  // namespace flashmoe
