// The vector types of docs/numerics.md for AVX2 with FMA, F16C and BMI2: the 16 lanes are two
// registers, lanes 0..7 in `a`, 8..15 in `b`. simd_scalar.h says what each function does. Included
// by target_avx2.cc and, with dot products of bytes, target_avxvnni.cc.
#ifndef FLASHMOE_KERNELS_CPU_SIMD_AVX2_H_
#define FLASHMOE_KERNELS_CPU_SIMD_AVX2_H_

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/cpu/unpack_tables.h"

namespace flashmoe {
namespace FLASHMOE_TARGET {
namespace {

// 16 registers: two accumulators of two registers each, or what surrounds them spills.
constexpr int kWeightTile = 1;
constexpr int kRowTile = 2;
constexpr int kChainVectors = 1;
#if defined(__AVXVNNI__)
constexpr int kChainRows = 6;
#else
constexpr int kChainRows = 4;
#endif
constexpr size_t kFewRows = 2;
constexpr size_t kTiledRowsMin = 6;
constexpr int kKeyTile = 4;
constexpr int kHeadTile = 1;
constexpr int kValueTile = 8;

struct F32x16 {
  __m256 a, b;
};
struct I32x16 {
  __m256i a, b;
};

inline __m256i load_256(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
/// All ones in lane l where first + l < n.
inline __m256i lanes_below(size_t n, int first) {
  const __m256i lane =
      _mm256_add_epi32(_mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0), _mm256_set1_epi32(first));
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lane);
}

inline F32x16 set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline F32x16 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline F32x16 load_n(const float* p, size_t n) {
  return {_mm256_maskload_ps(p, lanes_below(n, 0)), _mm256_maskload_ps(p + 8, lanes_below(n, 8))};
}
inline void store(float* p, F32x16 x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
inline void store_n(float* p, F32x16 x, size_t n) {
  _mm256_maskstore_ps(p, lanes_below(n, 0), x.a);
  _mm256_maskstore_ps(p + 8, lanes_below(n, 8), x.b);
}
inline __m128i load_128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
inline __m256 widen_bf16(__m128i x) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
}
inline F32x16 load_bf16(const uint8_t* p) {
  return {widen_bf16(load_128(p)), widen_bf16(load_128(p + 16))};
}
inline F32x16 load_i8(const uint8_t* p) {
  const __m128i bytes = load_128(p);
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
          _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(bytes, bytes)))};
}
inline F32x16 load_f16(const uint8_t* p) {
  return {_mm256_cvtph_ps(load_128(p)), _mm256_cvtph_ps(load_128(p + 16))};
}
inline F32x16 load_f32(const uint8_t* p) {
  return {_mm256_castsi256_ps(load_256(p)), _mm256_castsi256_ps(load_256(p + 32))};
}
inline F32x16 load_e4m3(const uint8_t* p) {
  const __m256i words = _mm256_cvtepi8_epi16(load_128(p));
  const __m256i signed_nan = _mm256_set1_epi16(static_cast<short>(0xbf80));
  const __m256i halves = _mm256_and_si256(_mm256_slli_epi16(words, 7), signed_nan);
  const __m256i negative = _mm256_or_si256(halves, _mm256_set1_epi16(static_cast<short>(0x8000)));
  const __m256i is_nan = _mm256_cmpeq_epi16(negative, signed_nan);
  const __m256i marked =
      _mm256_or_si256(halves, _mm256_and_si256(is_nan, _mm256_set1_epi16(0x4000)));
  const __m256 factor = _mm256_set1_ps(256.0f);
  return {_mm256_mul_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(marked)), factor),
          _mm256_mul_ps(_mm256_cvtph_ps(_mm256_extracti128_si256(marked, 1)), factor)};
}
// A copy of a few halves to the stack and a wide load of it would wait for the store.
inline __m256i load_halves_n(const uint8_t* p, size_t n) {
  const int pair_count = static_cast<int>(n / 2);
  const __m256i pairs =
      _mm256_maskload_epi32(reinterpret_cast<const int*>(p), lanes_below(n / 2, 0));
  if (n % 2 == 0) return pairs;
  uint16_t last;
  memcpy(&last, p + 4 * pair_count, 2);
  const __m256i lane = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
  const __m256i at_last = _mm256_cmpeq_epi32(lane, _mm256_set1_epi32(pair_count));
  return _mm256_or_si256(pairs, _mm256_and_si256(at_last, _mm256_set1_epi32(last)));
}
inline F32x16 load_bf16_n(const uint8_t* p, size_t n) {
  const __m256i halves = load_halves_n(p, n);
  return {widen_bf16(_mm256_castsi256_si128(halves)),
          widen_bf16(_mm256_extracti128_si256(halves, 1))};
}
inline F32x16 load_f16_n(const uint8_t* p, size_t n) {
  const __m256i halves = load_halves_n(p, n);
  return {_mm256_cvtph_ps(_mm256_castsi256_si128(halves)),
          _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1))};
}
inline F32x16 load_f32_n(const uint8_t* p, size_t n) {
  return load_n(reinterpret_cast<const float*>(p), n);
}

inline F32x16 operator+(F32x16 x, F32x16 y) {
  return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}
inline F32x16 operator-(F32x16 x, F32x16 y) {
  return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
}
inline F32x16 operator*(F32x16 x, F32x16 y) {
  return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
}
inline F32x16 operator/(F32x16 x, F32x16 y) {
  return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)};
}
inline F32x16 fma(F32x16 x, F32x16 y, F32x16 z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
inline F32x16 fnma(F32x16 x, F32x16 y, F32x16 z) {
  return {_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)};
}
// The instructions return their second operand where either is NaN: the definition.
inline F32x16 max(F32x16 x, F32x16 y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline F32x16 min(F32x16 x, F32x16 y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
inline F32x16 select_less(F32x16 x, F32x16 y, F32x16 p, F32x16 q) {
  return {_mm256_blendv_ps(q.a, p.a, _mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ)),
          _mm256_blendv_ps(q.b, p.b, _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ))};
}
inline __m256 max_magnitude_8(__m256 m, __m256 x) {
  const __m256i magnitude = _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff));
  return _mm256_castsi256_ps(_mm256_max_epu32(_mm256_castps_si256(m), magnitude));
}
inline F32x16 max_magnitude(F32x16 m, F32x16 x) {
  return {max_magnitude_8(m.a, x.a), max_magnitude_8(m.b, x.b)};
}
inline F32x16 shift_bits_left_23(F32x16 x) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(x.a), 23)),
          _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(x.b), 23))};
}
inline void store_low_16(int16_t* p, F32x16 x) {
  // Sign-extended first, so that packing with saturation changes nothing.
  const __m256i a = _mm256_srai_epi32(_mm256_slli_epi32(_mm256_castps_si256(x.a), 16), 16);
  const __m256i b = _mm256_srai_epi32(_mm256_slli_epi32(_mm256_castps_si256(x.b), 16), 16);
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), packed);
}

// Lanes 0..7 to one float by the steps 4, 2, 1 of the tree.
inline float reduce_add_8(__m256 x) {
  const __m128 y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 z = _mm_add_ps(y, _mm_movehl_ps(y, y));
  return _mm_cvtss_f32(_mm_add_ss(z, _mm_movehdup_ps(z)));
}
inline float reduce_add(F32x16 x) { return reduce_add_8(_mm256_add_ps(x.a, x.b)); }
inline void reduce_add_4(const F32x16* x, float* sums) {
  const auto four = [](F32x16 y, F32x16 z) {  // lanes 0..3 of y, then of z
    const __m256 y8 = _mm256_add_ps(y.a, y.b);
    const __m256 z8 = _mm256_add_ps(z.a, z.b);
    return _mm256_add_ps(_mm256_permute2f128_ps(y8, z8, 0x20),
                         _mm256_permute2f128_ps(y8, z8, 0x31));
  };
  const __m256 x01 = four(x[0], x[1]);
  const __m256 x23 = four(x[2], x[3]);
  // [0: lanes 0, 1 | 2: lanes 0, 1], and the same of 1 and 3 in the upper half.
  const __m256 two =
      _mm256_add_ps(_mm256_shuffle_ps(x01, x23, 0x44), _mm256_shuffle_ps(x01, x23, 0xee));
  const __m256 one = _mm256_add_ps(two, _mm256_movehdup_ps(two));
  const __m128 even = _mm256_castps256_ps128(one);
  const __m128 odd = _mm256_extractf128_ps(one, 1);
  _mm_storeu_ps(sums, _mm_shuffle_ps(_mm_unpacklo_ps(even, odd), _mm_unpackhi_ps(even, odd), 0x44));
}
inline float reduce_max(F32x16 x) {
  const __m256 y = _mm256_max_ps(x.a, x.b);
  const __m128 z = _mm_max_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
  const __m128 w = _mm_max_ps(z, _mm_movehl_ps(z, z));
  return _mm_cvtss_f32(_mm_max_ss(w, _mm_movehdup_ps(w)));
}
inline float reduce_max_magnitude(F32x16 x) {
  const __m256i y = _mm256_max_epu32(_mm256_castps_si256(x.a), _mm256_castps_si256(x.b));
  __m128i z = _mm_max_epu32(_mm256_castsi256_si128(y), _mm256_extracti128_si256(y, 1));
  z = _mm_max_epu32(z, _mm_shuffle_epi32(z, 0x4e));
  z = _mm_max_epu32(z, _mm_shuffle_epi32(z, 0xb1));
  return _mm_cvtss_f32(_mm_castsi128_ps(z));
}

inline I32x16 zero_i32() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
inline F32x16 to_float(I32x16 x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
inline I32x16 broadcast_i32(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
inline I32x16 load(const int32_t* p) { return {load_256(p), load_256(p + 8)}; }
inline void store_256(void* p, __m256i x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }
inline void store(int32_t* p, I32x16 x) {
  store_256(p, x.a);
  store_256(p + 8, x.b);
}
inline I32x16 operator+(I32x16 x, I32x16 y) {
  return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)};
}
inline I32x16 load_u8(const uint8_t* p) {
  const __m128i bytes = load_128(p);
  return {_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8))};
}
inline __m256i set_words(uint32_t x) { return _mm256_set1_epi32(static_cast<int>(x)); }
inline I32x16 operator&(I32x16 x, uint32_t mask) {
  return {_mm256_and_si256(x.a, set_words(mask)), _mm256_and_si256(x.b, set_words(mask))};
}
inline I32x16 operator^(I32x16 x, uint32_t mask) {
  return {_mm256_xor_si256(x.a, set_words(mask)), _mm256_xor_si256(x.b, set_words(mask))};
}
inline I32x16 operator|(I32x16 x, I32x16 y) {
  return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)};
}
template <int kBits>
inline I32x16 shift_right(I32x16 x) {
  return {_mm256_srli_epi32(x.a, kBits), _mm256_srli_epi32(x.b, kBits)};
}
template <int kBits>
inline I32x16 shift_left(I32x16 x) {
  return {_mm256_slli_epi32(x.a, kBits), _mm256_slli_epi32(x.b, kBits)};
}
inline I32x16 add_quarters(I32x16 x, I32x16 y) {
  const auto eight = [](I32x16 z) {
    return _mm256_add_epi32(_mm256_permute2x128_si256(z.a, z.b, 0x20),
                            _mm256_permute2x128_si256(z.a, z.b, 0x31));
  };
  return {eight(x), eight(y)};
}
inline void transpose_8(__m256i (&x)[8]) {
  __m256i y[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    y[i] = _mm256_unpacklo_epi32(x[i], x[i + 1]);
    y[i + 1] = _mm256_unpackhi_epi32(x[i], x[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    x[i] = _mm256_unpacklo_epi64(y[i], y[i + 2]);
    x[i + 1] = _mm256_unpackhi_epi64(y[i], y[i + 2]);
    x[i + 2] = _mm256_unpacklo_epi64(y[i + 1], y[i + 3]);
    x[i + 3] = _mm256_unpackhi_epi64(y[i + 1], y[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    y[i] = _mm256_permute2x128_si256(x[i], x[4 + i], 0x20);
    y[4 + i] = _mm256_permute2x128_si256(x[i], x[4 + i], 0x31);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) x[i] = y[i];
}
__attribute__((always_inline)) inline void transpose_16(I32x16 (&rows)[16]) {
  __m256i x[8];
  const auto quarter = [&](auto from, auto to) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) x[i] = from(i);
    transpose_8(x);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) to(i) = x[i];
  };
  const auto upper_left = [&](int i) -> __m256i& { return rows[i].a; };
  const auto upper_right = [&](int i) -> __m256i& { return rows[i].b; };
  const auto lower_left = [&](int i) -> __m256i& { return rows[8 + i].a; };
  const auto lower_right = [&](int i) -> __m256i& { return rows[8 + i].b; };
  quarter(upper_left, upper_left);
  quarter(lower_right, lower_right);
  __m256i kept[8];
  const auto aside = [&](int i) -> __m256i& { return kept[i]; };
  quarter(upper_right, aside);
  quarter(lower_left, upper_right);
  for (int i = 0; i < 8; ++i) rows[8 + i].a = kept[i];
}
inline I32x16 load_words(const uint8_t* p, size_t n) {
  if (n == 16) return {load_256(p), load_256(p + 32)};
  const auto* const words = reinterpret_cast<const int*>(p);
  return {_mm256_maskload_epi32(words, lanes_below(n, 0)),
          _mm256_maskload_epi32(words + 8, lanes_below(n, 8))};
}
inline I32x16 load_pairs(const uint8_t* scales, const uint8_t* biases, size_t n) {
  const __m256i scale = n == 16 ? load_256(scales) : load_halves_n(scales, n);
  const __m256i bias = n == 16 ? load_256(biases) : load_halves_n(biases, n);
  const auto join = [](__m128i upper, __m128i lower) {
    return _mm256_or_si256(_mm256_slli_epi32(_mm256_cvtepu16_epi32(upper), 16),
                           _mm256_cvtepu16_epi32(lower));
  };
  return {join(_mm256_castsi256_si128(scale), _mm256_castsi256_si128(bias)),
          join(_mm256_extracti128_si256(scale, 1), _mm256_extracti128_si256(bias, 1))};
}
inline F32x16 floats_of(I32x16 x) { return {_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)}; }
inline I32x16 bits_of(F32x16 x) { return {_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)}; }
inline F32x16 upper_bf16(I32x16 x) {
  const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000));
  return floats_of({_mm256_and_si256(x.a, upper), _mm256_and_si256(x.b, upper)});
}
inline F32x16 lower_bf16(I32x16 x) {
  return floats_of({_mm256_slli_epi32(x.a, 16), _mm256_slli_epi32(x.b, 16)});
}
/// Of words below 2^16.
inline F32x16 widen_f16(I32x16 x) {
  const __m256i halves = _mm256_permute4x64_epi64(_mm256_packus_epi32(x.a, x.b), 0xd8);
  return {_mm256_cvtph_ps(_mm256_castsi256_si128(halves)),
          _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1))};
}
inline F32x16 upper_f16(I32x16 x) {
  return widen_f16({_mm256_srli_epi32(x.a, 16), _mm256_srli_epi32(x.b, 16)});
}
inline F32x16 lower_f16(I32x16 x) {
  const __m256i lower = _mm256_set1_epi32(0xffff);
  return widen_f16({_mm256_and_si256(x.a, lower), _mm256_and_si256(x.b, lower)});
}
/// kWordOrder.
inline __m256i order_words(__m256i x) {
  const __m128i order = _mm_set_epi8(15, 14, 7, 6, 13, 12, 5, 4, 11, 10, 3, 2, 9, 8, 1, 0);
  return _mm256_shuffle_epi8(x, _mm256_broadcastsi128_si256(order));
}
inline void order_words(const int16_t* q, int16_t* words) {
  store_256(words, order_words(load_256(q)));
  store_256(words + 16, order_words(load_256(q + 16)));
}
struct Bytes64 {
  __m256i a, b;
};
inline Bytes64 load_bytes(const void* p) {
  return {load_256(p), load_256(static_cast<const uint8_t*>(p) + 32)};
}
inline void split_planes(const int16_t* q, int8_t* high, int8_t* low) {
  const __m256i order = _mm256_broadcastsi128_si256(
      _mm_set_epi8(15, 13, 11, 9, 14, 12, 10, 8, 7, 5, 3, 1, 6, 4, 2, 0));
  const auto store_bytes = [&](int8_t* p, __m256i x, __m256i y) {
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi16(x, y), 0xd8);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_shuffle_epi8(packed, order));
  };
  const auto high_of = [](__m256i x) {
    return _mm256_srai_epi16(_mm256_add_epi16(x, _mm256_set1_epi16(128)), 8);
  };
  const auto low_of = [](__m256i x) { return _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8); };
  const __m256i x = load_256(q);
  const __m256i y = load_256(q + 16);
  store_bytes(high, high_of(x), high_of(y));
  store_bytes(low, low_of(x), low_of(y));
}

inline Bytes64 repeat_firsts(Bytes64 x) {
  return {_mm256_shuffle_epi32(x.a, 0), _mm256_shuffle_epi32(x.b, 0)};
}
struct NibbleBlock {
  Bytes64 part[4];
};
/// 4 rows of 4 words, twice side by side.
struct Words {
  __m256i part[4];
};
inline Words transpose_words(__m256i a, __m256i b, __m256i c, __m256i d) {
  const __m256i ab_low = _mm256_unpacklo_epi32(a, b);
  const __m256i ab_high = _mm256_unpackhi_epi32(a, b);
  const __m256i cd_low = _mm256_unpacklo_epi32(c, d);
  const __m256i cd_high = _mm256_unpackhi_epi32(c, d);
  return {{_mm256_unpacklo_epi64(ab_low, cd_low), _mm256_unpackhi_epi64(ab_low, cd_low),
           _mm256_unpacklo_epi64(ab_high, cd_high), _mm256_unpackhi_epi64(ab_high, cd_high)}};
}
template <typename Load>
inline NibbleBlock load_nibbles_by(Load load_half) {
  const Words a = transpose_words(load_half(0), load_half(2), load_half(4), load_half(6));
  const Words b = transpose_words(load_half(1), load_half(3), load_half(5), load_half(7));
  return {{{a.part[0], b.part[0]},
           {a.part[1], b.part[1]},
           {a.part[2], b.part[2]},
           {a.part[3], b.part[3]}}};
}
inline NibbleBlock load_nibbles(const uint8_t* p) {
  return load_nibbles_by([&](int i) { return load_256(p + 32 * i); });
}
struct NibbleMask {
  explicit NibbleMask(size_t size) {
    for (int i = 0; i < 8; ++i) {
      half[i] = lanes_below(size / 4, 8 * i);
    }
  }
  static NibbleMask lines(size_t size) {
    NibbleMask mask(0);
    for (int i = 0; i < 8; ++i) mask.half[i] = lanes_below(size / 4, i % 2 * 8);
    return mask;
  }
  __m256i half[8];
};
inline NibbleBlock load_nibbles(const uint8_t* p, size_t stride, const NibbleMask& mask) {
  return load_nibbles_by([&](int i) {
    return _mm256_maskload_epi32(reinterpret_cast<const int*>(p + i / 2 * stride + i % 2 * 32),
                                 mask.half[i]);
  });
}
inline Bytes64 low_nibbles(Bytes64 x) {
  const __m256i mask = _mm256_set1_epi8(15);
  return {_mm256_and_si256(x.a, mask), _mm256_and_si256(x.b, mask)};
}
inline Bytes64 high_nibbles(Bytes64 x) {
  return low_nibbles({_mm256_srli_epi16(x.a, 4), _mm256_srli_epi16(x.b, 4)});
}

struct PlaneSums {
  __m256i high_a, high_b, low_a, low_b;
};
inline PlaneSums zero_sums() {
  const __m256i zero = _mm256_setzero_si256();
  return {zero, zero, zero, zero};
}
#if defined(__AVXVNNI__)
inline PlaneSums add_products(PlaneSums s, Bytes64 w, Bytes64 high, Bytes64 low) {
  return {_mm256_dpbusd_avx_epi32(s.high_a, w.a, high.a),
          _mm256_dpbusd_avx_epi32(s.high_b, w.b, high.b),
          _mm256_dpbusd_avx_epi32(s.low_a, w.a, low.a),
          _mm256_dpbusd_avx_epi32(s.low_b, w.b, low.b)};
}
inline I32x16 total(PlaneSums s) {
  return {_mm256_add_epi32(_mm256_slli_epi32(s.high_a, 8), s.low_a),
          _mm256_add_epi32(_mm256_slli_epi32(s.high_b, 8), s.low_b)};
}
#else
// In 16 bits: 8 times 2 products of at most 15 * 128.
inline PlaneSums add_products(PlaneSums s, Bytes64 w, Bytes64 high, Bytes64 low) {
  return {_mm256_add_epi16(s.high_a, _mm256_maddubs_epi16(w.a, high.a)),
          _mm256_add_epi16(s.high_b, _mm256_maddubs_epi16(w.b, high.b)),
          _mm256_add_epi16(s.low_a, _mm256_maddubs_epi16(w.a, low.a)),
          _mm256_add_epi16(s.low_b, _mm256_maddubs_epi16(w.b, low.b))};
}
inline I32x16 total(PlaneSums s) {
  const __m256i high = _mm256_set1_epi16(256);
  const __m256i low = _mm256_set1_epi16(1);
  return {_mm256_add_epi32(_mm256_madd_epi16(s.high_a, high), _mm256_madd_epi16(s.low_a, low)),
          _mm256_add_epi32(_mm256_madd_epi16(s.high_b, high), _mm256_madd_epi16(s.low_b, low))};
}
#endif

constexpr size_t kStepColumns = 2;
constexpr size_t kActivationStep = 4;
constexpr size_t kActivationChunk = 64;

struct StepWeights {
  __m256i a, b;
};
inline StepWeights load_step(const uint8_t* p) { return {load_256(p), load_256(p + 32)}; }
inline void store_step(uint8_t* p, I32x16 rows) {
  store_256(p, rows.a);
  store_256(p + 32, rows.b);
}
struct StepActivation {
  __m256i v;
};
inline StepActivation broadcast_step(const int8_t* p) {
  int32_t pair;
  memcpy(&pair, p, 4);
  return {_mm256_set1_epi32(pair)};
}
struct StepSums {
  __m256i a, b;
};
inline StepSums zero_step_sums() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
#if defined(__AVXVNNI__)
// Sums that go round a loop cost g++ 12 two register moves an instruction as intrinsics.
inline void add_products_asm(__m256i& sums, __m256i w, __m256i x) {
  __asm__("%{vex%} vpdpwssd %2, %1, %0" : "+x"(sums) : "x"(w), "x"(x));
}
inline void add_step(StepSums& s, StepWeights w, StepActivation x) {
  add_products_asm(s.a, w.a, x.v);
  add_products_asm(s.b, w.b, x.v);
}
#else
inline void add_step(StepSums& s, StepWeights w, StepActivation x) {
  s.a = _mm256_add_epi32(s.a, _mm256_madd_epi16(w.a, x.v));
  s.b = _mm256_add_epi32(s.b, _mm256_madd_epi16(w.b, x.v));
}
#endif
inline I32x16 step_total(StepSums s) { return {s.a, s.b}; }
template <int kStep>
inline I32x16 nibble_step(I32x16 words) {
  const __m256i mask = _mm256_set1_epi16(15);
  return {_mm256_and_si256(_mm256_srli_epi16(words.a, 4 * kStep), mask),
          _mm256_and_si256(_mm256_srli_epi16(words.b, 4 * kStep), mask)};
}

template <int kCount>
inline Bytes64 load_nibble_pairs(const uint8_t* p) {
  const auto spread = [](__m128i pairs) {
    const __m256i words = _mm256_cvtepu8_epi16(pairs);
    return _mm256_and_si256(_mm256_or_si256(words, _mm256_slli_epi16(words, 4)),
                            _mm256_set1_epi8(15));
  };
  return {spread(load_128(p)), kCount == 64 ? spread(load_128(p + 16)) : _mm256_setzero_si256()};
}
inline Bytes64 load_32s(const uint8_t* p, const uint8_t* q) { return {load_256(p), load_256(q)}; }
inline Bytes64 load_32_twice(const uint8_t* p) { return {load_256(p), load_256(p)}; }
inline Bytes64 load_16_twice(const uint8_t* p, const uint8_t* q) {
  return {_mm256_broadcastsi128_si256(load_128(p)), _mm256_broadcastsi128_si256(load_128(q))};
}
inline void store_bytes(uint8_t* p, Bytes64 x) {
  store_256(p, x.a);
  store_256(p + 32, x.b);
}
inline __m256i set_bytes(uint8_t x) { return _mm256_set1_epi8(static_cast<char>(x)); }
inline Bytes64 operator&(Bytes64 x, uint8_t mask) {
  return {_mm256_and_si256(x.a, set_bytes(mask)), _mm256_and_si256(x.b, set_bytes(mask))};
}
inline Bytes64 operator^(Bytes64 x, uint8_t mask) {
  return {_mm256_xor_si256(x.a, set_bytes(mask)), _mm256_xor_si256(x.b, set_bytes(mask))};
}
inline Bytes64 operator|(Bytes64 x, Bytes64 y) {
  return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)};
}
template <int k0, int k1>
inline __m256i shift_counts() {
  return _mm256_set_epi32(k1, k1, k1, k1, k0, k0, k0, k0);
}
template <int k0, int k1, int k2, int k3>
inline Bytes64 shift_right(Bytes64 x) {
  return {k0 == k1 ? _mm256_srli_epi16(x.a, k0) : _mm256_srlv_epi32(x.a, shift_counts<k0, k1>()),
          k2 == k3 ? _mm256_srli_epi16(x.b, k2) : _mm256_srlv_epi32(x.b, shift_counts<k2, k3>())};
}
template <int k0, int k1, int k2, int k3>
inline Bytes64 shift_left(Bytes64 x) {
  return {k0 == k1 ? _mm256_slli_epi16(x.a, k0) : _mm256_sllv_epi32(x.a, shift_counts<k0, k1>()),
          k2 == k3 ? _mm256_slli_epi16(x.b, k2) : _mm256_sllv_epi32(x.b, shift_counts<k2, k3>())};
}
inline Bytes64 look_up(const uint8_t* table, Bytes64 x) {
  const __m256i bytes = _mm256_broadcastsi128_si256(load_128(table));
  return {_mm256_shuffle_epi8(bytes, x.a), _mm256_shuffle_epi8(bytes, x.b)};
}
/// kValue where x has a bit of y.
template <uint8_t kValue>
inline __m256i test_bits(__m256i x, __m256i y) {
  const __m256i none = _mm256_cmpeq_epi8(_mm256_and_si256(x, y), _mm256_setzero_si256());
  return _mm256_andnot_si256(none, set_bytes(kValue));
}
template <uint8_t kFirst, uint8_t kSecond, uint8_t kValue>
inline Bytes64 test_bits(Bytes64 x) {
  return {test_bits<kValue>(x.a, set_bytes(kFirst)), test_bits<kValue>(x.b, set_bytes(kSecond))};
}
template <uint8_t kValue>
inline Bytes64 spread_bits(uint64_t bits) {
  const auto of_32 = [](uint64_t x) {
    // Byte i / 8 to byte i, and there bit i % 8.
    const __m256i bytes = _mm256_shuffle_epi8(
        _mm256_set1_epi32(static_cast<int>(x)),
        _mm256_set_epi64x(0x0303030303030303, 0x0202020202020202, 0x0101010101010101, 0));
    return test_bits<kValue>(bytes,
                             _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ull)));
  };
  return {of_32(bits), of_32(bits >> 32)};
}

#if defined(__AVXVNNI__)
using Numbers64 = Bytes64;
inline Numbers64 numbers_of(Bytes64 x) { return x; }
constexpr size_t kWordSpan = 0;
#else
/// Of the first 32 columns the even ones, and the odd ones; of the second.
struct Numbers64 {
  __m256i even_a, odd_a, even_b, odd_b;
};
inline Numbers64 numbers_of(Bytes64 x) {
  const __m256i mask = _mm256_set1_epi16(0xff);
  return {_mm256_and_si256(x.a, mask), _mm256_srli_epi16(x.a, 8), _mm256_and_si256(x.b, mask),
          _mm256_srli_epi16(x.b, 8)};
}
constexpr size_t kWordSpan = 32;
#endif
template <int kBits>
inline Numbers64 unpack_bits(const uint8_t* p) {
  static constexpr PairTables<kBits, 1> kTables;
  const auto quarter = [&](int i) {
    if constexpr (8 * kBits < 16) return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return load_128(p + kTables.offset[i]);
  };
  // AVX2 cannot shift 16-bit lanes each on its own; it can multiply them.
  const auto pairs = [&](int i) {
    const __m256i bytes = _mm256_shuffle_epi8(_mm256_set_m128i(quarter(i + 1), quarter(i)),
                                              load_256(kTables.byte_index[i]));
    return _mm256_mullo_epi16(bytes, load_256(kTables.left_multiplier));
  };
  const auto even = [](__m256i x) {
    return _mm256_and_si256(_mm256_srli_epi16(x, 16 - 2 * kBits),
                            _mm256_set1_epi16((1 << kBits) - 1));
  };
  const __m256i a = pairs(0);
  const __m256i b = pairs(2);
#if defined(__AVXVNNI__)
  const auto odd = [](__m256i x) {
    return _mm256_and_si256(_mm256_srli_epi16(x, 8 - kBits),
                            _mm256_set1_epi16(((1 << kBits) - 1) << 8));
  };
  return {_mm256_or_si256(even(a), odd(a)), _mm256_or_si256(even(b), odd(b))};
#else
  const auto odd = [](__m256i x) { return _mm256_srli_epi16(x, 16 - kBits); };
  return {even(a), odd(a), even(b), odd(b)};
#endif
}
template <>
inline Numbers64 unpack_bits<8>(const uint8_t* p) {
  return numbers_of(load_bytes(p));
}
template <bool kIsWide>
constexpr int32_t kNumbersOffset = 0;
template <bool kIsWide>
inline I32x16 sum_numbers(Numbers64 w, const int8_t* numbers) {
#if defined(__AVXVNNI__)
  const auto sum = [&](__m256i weights, const int8_t* x) {
    const __m256i high = _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), weights, load_256(x));
    return _mm256_dpbusd_avx_epi32(_mm256_slli_epi32(high, 8), weights, load_256(x + 64));
  };
  return {sum(w.a, numbers), sum(w.b, numbers + 32)};
#else
  const auto sum = [&](__m256i even, __m256i odd, const int8_t* x) {
    return _mm256_add_epi32(_mm256_madd_epi16(even, load_256(x)),
                            _mm256_madd_epi16(odd, load_256(x + 32)));
  };
  return {sum(w.even_a, w.odd_a, numbers), sum(w.even_b, w.odd_b, numbers + 64)};
#endif
}
inline I32x16 sums_of_quarters(const I32x16* v) {
  return {_mm256_hadd_epi32(_mm256_hadd_epi32(v[0].a, v[1].a), _mm256_hadd_epi32(v[2].a, v[3].a)),
          _mm256_hadd_epi32(_mm256_hadd_epi32(v[0].b, v[1].b), _mm256_hadd_epi32(v[2].b, v[3].b))};
}
constexpr size_t kStepVectors = 4 / kStepColumns;
template <bool kIsWide>
inline void steps_of_numbers(Numbers64 w, I32x16 (&steps)[kStepVectors]) {
#if defined(__AVXVNNI__)
  const __m256i order = _mm256_broadcastsi128_si256(
      _mm_set_epi8(15, 11, 14, 10, 13, 9, 12, 8, 7, 3, 6, 2, 5, 1, 4, 0));
  const auto words = [&](__m256i bytes) -> I32x16 {
    const __m256i ordered = _mm256_shuffle_epi8(bytes, order);
    return {_mm256_cvtepu8_epi16(_mm256_castsi256_si128(ordered)),
            _mm256_cvtepu8_epi16(_mm256_extracti128_si256(ordered, 1))};
  };
  steps[0] = words(w.a);
  steps[1] = words(w.b);
#else
  // Of 8 columns 0 4 2 6 and 1 5 3 7, then each pair of the one before one of the other.
  const __m256i order = _mm256_broadcastsi128_si256(
      _mm_set_epi8(15, 14, 11, 10, 13, 12, 9, 8, 7, 6, 3, 2, 5, 4, 1, 0));
  const auto words = [&](__m256i even, __m256i odd) -> I32x16 {
    const __m256i x = _mm256_shuffle_epi8(even, order);
    const __m256i y = _mm256_shuffle_epi8(odd, order);
    const __m256i low = _mm256_unpacklo_epi32(x, y);
    const __m256i high = _mm256_unpackhi_epi32(x, y);
    return {_mm256_permute2x128_si256(low, high, 0x20), _mm256_permute2x128_si256(low, high, 0x31)};
  };
  steps[0] = words(w.even_a, w.odd_a);
  steps[1] = words(w.even_b, w.odd_b);
#endif
}

}  // namespace
}  // namespace FLASHMOE_TARGET
}  // namespace flashmoe

#endif  // FLASHMOE_KERNELS_CPU_SIMD_AVX2_H_
