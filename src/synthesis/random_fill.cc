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

/// Ties to even; beyond the largest half, that.
std::uint16_t f16_nearest(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = bits >> 16 & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  constexpr std::uint32_t kSmallestNormal = 0x38800000;  // 2^-14
  if (magnitude < kSmallestNormal) {                     // multiples of 2^-24
    const long steps = std::lrint(std::bit_cast<float>(magnitude) * 0x1p24f);
    return static_cast<std::uint16_t>(sign | static_cast<std::uint32_t>(steps));
  }
  const std::uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  const std::uint32_t half = std::min((rounded - 0x38000000u) >> 13, 0x7bffu);
  return static_cast<std::uint16_t>(sign | half);
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

template <typename Element, typename Convert>
void fill_uniform_as(const RandomFill& fill, std::uint64_t key, std::uint64_t offset,
                     std::span<std::byte> out, Convert convert) {
  const std::uint64_t first = offset / sizeof(Element);
  for (std::size_t i = 0; i < out.size() / sizeof(Element); ++i) {
    const double unit = static_cast<double>(word_at(key, first + i) >> 40) * 0x1p-24;
    const Element element = convert(static_cast<float>(fill.low + (fill.high - fill.low) * unit));
    std::memcpy(out.data() + sizeof(Element) * i, &element, sizeof(Element));
  }
}

void fill_uniform(const RandomFill& fill, std::uint64_t key, std::uint64_t offset,
                  std::span<std::byte> out) {
  if (fill.dtype == DType::kF32) {
    fill_uniform_as<float>(fill, key, offset, out, [](float value) { return value; });
  } else if (fill.dtype == DType::kF16) {
    fill_uniform_as<std::uint16_t>(fill, key, offset, out, f16_nearest);
  } else {
    FM_CHECK(fill.dtype == DType::kBF16);
    fill_uniform_as<std::uint16_t>(fill, key, offset, out, bf16_nearest);
  }
}

void store_f16(float value, std::byte* at) {
  const std::uint16_t bits = f16_nearest(value);
  std::memcpy(at, &bits, sizeof(bits));
}

/// The deviation of uniform codes of so many bits.
double code_deviation(int bits) {
  const double codes = std::ldexp(1.0, bits);
  return std::sqrt((codes * codes - 1) / 12);
}

/// One of eight factors around 1, by the lowest bits of `word`, which are used up.
double spread(std::uint64_t& word) {
  const double factor = 0.65 + 0.1 * static_cast<double>(word & 7);
  word >>= 3;
  return factor;
}

/// The same, of either sign.
double signed_spread(std::uint64_t& word) {
  const double factor = spread(word);
  const bool is_negative = (word & 1) != 0;
  word >>= 1;
  return is_negative ? -factor : factor;
}

// Each of these puts scales into a block of random bits, by the bits of `word`. The layouts are
// drawn in kernels/formats.

/// Q4_K, Q5_K: w = d s q - e m, with m = s and e = d times the middle code, for mean 0.
template <int kBits>
void scale_k_block(double deviation, std::uint64_t word, std::byte* block) {
  constexpr double kMiddleScale = 40;
  const auto d = static_cast<float>(deviation / code_deviation(kBits) / kMiddleScale);
  store_f16(d, block);
  store_f16(d * (std::ldexp(1.0f, kBits) - 1) / 2, block + 2);
  std::array<unsigned, 8> scales;
  for (unsigned& scale : scales) {
    scale = static_cast<unsigned>(std::lrint(kMiddleScale * spread(word)));
  }
  for (std::size_t j = 0; j < 4; ++j) {
    const auto low = static_cast<std::byte>(scales[j] | scales[j + 4] >> 4 << 6);
    block[4 + j] = low;
    block[8 + j] = low;
    block[12 + j] = static_cast<std::byte>((scales[j + 4] & 15) * 17);
  }
}

/// w = d s (q - 32), with s of either sign.
void scale_q6_k(double deviation, std::uint64_t word, std::byte* block) {
  constexpr double kMiddleScale = 20;
  store_f16(static_cast<float>(deviation / code_deviation(6) / kMiddleScale), block + 208);
  for (std::size_t run = 0; run < 16; ++run) {
    block[192 + run] =
        static_cast<std::byte>(static_cast<int>(std::lrint(kMiddleScale * signed_spread(word))));
  }
}

/// Q8_0, Q5_0: w = d q, with d of either sign.
template <int kBits>
void scale_plain(double deviation, std::uint64_t word, std::byte* block) {
  store_f16(static_cast<float>(deviation / code_deviation(kBits) * signed_spread(word)), block);
}

/// w = d q + m
void scale_q5_1(double deviation, std::uint64_t word, std::byte* block) {
  const double d = deviation / code_deviation(5) * signed_spread(word);
  store_f16(static_cast<float>(d), block);
  store_f16(static_cast<float>(-15.5 * d), block + 2);
}

/// w = 2^(e - 127) F[q]: e is one of two, as often as gives the deviation.
void scale_mxfp4(double deviation, std::uint64_t word, std::byte* block) {
  constexpr double kDeviation = 2.926174;  // of F
  int exponent = 0;
  const double mantissa = 2 * std::frexp(deviation / kDeviation, &exponent);  // of 1 to 2
  const double larger_share = (mantissa * mantissa - 1) / 3;
  const bool is_larger = static_cast<double>(word >> 40) * 0x1p-24 < larger_share;
  block[0] = static_cast<std::byte>(127 + exponent - 1 + (is_larger ? 1 : 0));
}

struct BlockScaler {
  std::string_view type;
  void (*scale)(double deviation, std::uint64_t word, std::byte* block);
};

constexpr BlockScaler kBlockScalers[] = {
    {"Q4_K", scale_k_block<4>}, {"Q5_K", scale_k_block<5>}, {"Q6_K", scale_q6_k},
    {"Q8_0", scale_plain<8>},   {"Q5_0", scale_plain<5>},   {"Q5_1", scale_q5_1},
    {"MXFP4", scale_mxfp4},
};

const BlockScaler* find_scaler(const GgmlType& type) {
  const auto scaler = std::ranges::find(kBlockScalers, type.name, &BlockScaler::type);
  return scaler == std::end(kBlockScalers) ? nullptr : &*scaler;
}

/// Random bits, over which each block's scales are written.
void fill_blocks(const RandomFill& fill, std::uint64_t key, std::uint64_t offset,
                 std::span<std::byte> out) {
  const BlockScaler* const scaler = find_scaler(*fill.blocks);
  FM_CHECK(scaler != nullptr);
  const std::uint64_t scales_key = mix(key);
  const std::size_t size = fill.blocks->block_size;
  const std::uint64_t words = (size + 7) / 8;
  std::uint64_t block = offset / size;
  for (std::size_t at = 0; at < out.size(); at += size, ++block) {
    fill_codes(key, block * words, out.subspan(at, size));
    scaler->scale(fill.deviation, word_at(scales_key, block), out.data() + at);
  }
}

}  // namespace

std::uint64_t stream_key(std::uint64_t seed, std::string_view module_path) {
  return mix(name_hash(module_path) + mix(seed + kGolden));
}

bool has_random_blocks(const GgmlType& type) { return find_scaler(type) != nullptr; }

void fill_random(const RandomFill& fill, std::uint64_t key, std::uint64_t offset,
                 std::span<std::byte> out) {
  FM_CHECK(offset % fill.unit() == 0);
  if (fill.kind == RandomFill::Kind::kUniform) {
    fill_uniform(fill, key, offset, out);
    return;
  }
  if (fill.kind == RandomFill::Kind::kBlocks) {
    fill_blocks(fill, key, offset, out);
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
