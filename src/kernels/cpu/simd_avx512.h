// The vector types of docs/numerics.md for AVX-512 (F, BW, DQ, VL): the 16 lanes are one register.
// With VNNI enabled the dot products use it. simd_scalar.h says what each function does. Included
// by target_avx512.cc and target_avx512vnni.cc only, each with its own FLASHMOE_TARGET.
#ifndef FLASHMOE_KERNELS_CPU_SIMD_AVX512_H_
#define FLASHMOE_KERNELS_CPU_SIMD_AVX512_H_

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/cpu/unpack_tables.h"

namespace flashmoe {
namespace FLASHMOE_TARGET {
namespace {

constexpr int kWeightTile = 2;
constexpr int kRowTile = 4;
constexpr int kChainVectors = 2;
constexpr int kChainRows = 6;
#if defined(__AVX512VNNI__)
constexpr size_t kFewRows = 4;
#else
constexpr size_t kFewRows = 2;
#endif
constexpr size_t kTiledRowsMin = 9;
constexpr int kKeyTile = 4;
constexpr int kHeadTile = 2;
constexpr int kValueTile = 8;

struct F32x16 {
  __m512 v;
};
struct I32x16 {
  __m512i v;
};
inline __mmask16 first_lanes(size_t n) { return static_cast<__mmask16>((1u << n) - 1); }

inline F32x16 set1(float x) { return {_mm512_set1_ps(x)}; }
inline F32x16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline F32x16 load_n(const float* p, size_t n) {
  return {_mm512_maskz_loadu_ps(first_lanes(n), p)};
}
inline void store(float* p, F32x16 a) { _mm512_storeu_ps(p, a.v); }
inline void store_n(float* p, F32x16 a, size_t n) { _mm512_mask_storeu_ps(p, first_lanes(n), a.v); }
inline F32x16 widen_bf16(__m256i halves) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16))};
}
inline __m256i load_halves(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline __m256i load_halves_n(const uint8_t* p, size_t n) {
  return _mm256_maskz_loadu_epi16(first_lanes(n), p);
}
inline F32x16 load_bf16(const uint8_t* p) { return widen_bf16(load_halves(p)); }
inline F32x16 load_i8(const uint8_t* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))};
}
inline F32x16 load_f16(const uint8_t* p) { return {_mm512_cvtph_ps(load_halves(p))}; }
inline F32x16 load_f32(const uint8_t* p) { return {_mm512_loadu_ps(p)}; }
inline F32x16 load_e4m3(const uint8_t* p) {
  const __m256i words = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  const __m256i signed_nan = _mm256_set1_epi16(static_cast<short>(0xbf80));
  const __m256i halves = _mm256_and_si256(_mm256_slli_epi16(words, 7), signed_nan);
  const __m256i negative = _mm256_or_si256(halves, _mm256_set1_epi16(static_cast<short>(0x8000)));
  const __mmask16 is_nan = _mm256_cmpeq_epi16_mask(negative, signed_nan);
  const __m256i marked = _mm256_mask_add_epi16(halves, is_nan, halves, _mm256_set1_epi16(0x4000));
  return {_mm512_mul_ps(_mm512_cvtph_ps(marked), _mm512_set1_ps(256.0f))};
}
inline F32x16 load_bf16_n(const uint8_t* p, size_t n) { return widen_bf16(load_halves_n(p, n)); }
inline F32x16 load_f16_n(const uint8_t* p, size_t n) {
  return {_mm512_cvtph_ps(load_halves_n(p, n))};
}
inline F32x16 load_f32_n(const uint8_t* p, size_t n) {
  return {_mm512_maskz_loadu_ps(first_lanes(n), p)};
}

inline F32x16 operator+(F32x16 a, F32x16 b) { return {_mm512_add_ps(a.v, b.v)}; }
inline F32x16 operator-(F32x16 a, F32x16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline F32x16 operator*(F32x16 a, F32x16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline F32x16 operator/(F32x16 a, F32x16 b) { return {_mm512_div_ps(a.v, b.v)}; }
inline F32x16 fma(F32x16 a, F32x16 b, F32x16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline F32x16 fnma(F32x16 a, F32x16 b, F32x16 c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
// The instructions return their second operand where either is NaN: the definition.
inline F32x16 max(F32x16 a, F32x16 b) { return {_mm512_max_ps(a.v, b.v)}; }
inline F32x16 min(F32x16 a, F32x16 b) { return {_mm512_min_ps(a.v, b.v)}; }
inline F32x16 select_less(F32x16 x, F32x16 y, F32x16 a, F32x16 b) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(x.v, y.v, _CMP_LT_OQ), b.v, a.v)};
}
inline F32x16 max_magnitude(F32x16 m, F32x16 a) {
  const __m512i magnitude =
      _mm512_and_si512(_mm512_castps_si512(a.v), _mm512_set1_epi32(0x7fffffff));
  return {_mm512_castsi512_ps(_mm512_max_epu32(_mm512_castps_si512(m.v), magnitude))};
}
inline F32x16 shift_bits_left_23(F32x16 a) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(a.v), 23))};
}
inline void store_low_16(int16_t* p, F32x16 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtepi32_epi16(_mm512_castps_si512(a.v)));
}

inline __m256 lower(__m512 a) { return _mm512_castps512_ps256(a); }
inline __m256 upper(__m512 a) { return _mm512_extractf32x8_ps(a, 1); }
// Lanes 0..7 to one float by the steps 4, 2, 1 of the tree.
inline float reduce_add_8(__m256 a) {
  const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
inline float reduce_add(F32x16 a) { return reduce_add_8(_mm256_add_ps(lower(a.v), upper(a.v))); }
inline void reduce_add_4(const F32x16* a, float* sums) {
  const auto add_halves = [](__m512 x, __m512 y) {  // x to the lower 8 lanes, y to the upper
    return _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x44), _mm512_shuffle_f32x4(x, y, 0xee));
  };
  const __m512 eight01 = add_halves(a[0].v, a[1].v);
  const __m512 eight23 = add_halves(a[2].v, a[3].v);
  const __m512 four = _mm512_add_ps(_mm512_shuffle_f32x4(eight01, eight23, 0x88),
                                    _mm512_shuffle_f32x4(eight01, eight23, 0xdd));
  const __m512 two = _mm512_add_ps(four, _mm512_permute_ps(four, 0x4e));
  const __m512 one = _mm512_add_ps(two, _mm512_permute_ps(two, 0xb1));
  const __m512i firsts = _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 8, 4, 0);
  _mm_storeu_ps(sums, _mm512_castps512_ps128(_mm512_permutexvar_ps(firsts, one)));
}
inline float reduce_max(F32x16 a) {
  const __m256 b = _mm256_max_ps(lower(a.v), upper(a.v));
  const __m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  const __m128 d = _mm_max_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_max_ss(d, _mm_movehdup_ps(d)));
}
inline float reduce_max_magnitude(F32x16 a) {
  const uint32_t bits = _mm512_reduce_max_epu32(_mm512_castps_si512(a.v));
  float x;
  memcpy(&x, &bits, 4);
  return x;
}

inline I32x16 zero_i32() { return {_mm512_setzero_si512()}; }
inline F32x16 to_float(I32x16 a) { return {_mm512_cvtepi32_ps(a.v)}; }
inline I32x16 broadcast_i32(int32_t x) { return {_mm512_set1_epi32(x)}; }
inline I32x16 load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
inline void store(int32_t* p, I32x16 a) { _mm512_storeu_si512(p, a.v); }
inline I32x16 operator+(I32x16 a, I32x16 b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline I32x16 load_u8(const uint8_t* p) {
  return {_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
inline __m512i set_words(uint32_t x) { return _mm512_set1_epi32(static_cast<int>(x)); }
inline I32x16 operator&(I32x16 a, uint32_t mask) {
  return {_mm512_and_si512(a.v, set_words(mask))};
}
inline I32x16 operator^(I32x16 a, uint32_t mask) {
  return {_mm512_xor_si512(a.v, set_words(mask))};
}
inline I32x16 operator|(I32x16 a, I32x16 b) { return {_mm512_or_si512(a.v, b.v)}; }
template <int kBits>
inline I32x16 shift_right(I32x16 a) {
  return {_mm512_srli_epi32(a.v, kBits)};
}
template <int kBits>
inline I32x16 shift_left(I32x16 a) {
  return {_mm512_slli_epi32(a.v, kBits)};
}
inline I32x16 add_quarters(I32x16 a, I32x16 b) {
  return {
      _mm512_add_epi32(_mm512_shuffle_i32x4(a.v, b.v, 0x88), _mm512_shuffle_i32x4(a.v, b.v, 0xdd))};
}
__attribute__((always_inline)) inline void transpose_16(I32x16 (&rows)[16]) {
  __m512i a[16];
  __m512i b[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    b[i] = _mm512_unpacklo_epi32(rows[i].v, rows[i + 1].v);
    b[i + 1] = _mm512_unpackhi_epi32(rows[i].v, rows[i + 1].v);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
    a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
    a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
    a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
  }
  // Word c of each 128-bit quarter is now in a[4 i + c], for source rows 4 i to 4 i + 3.
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const __m512i ab_even = _mm512_shuffle_i32x4(a[c], a[4 + c], 0x88);
    const __m512i ab_odd = _mm512_shuffle_i32x4(a[c], a[4 + c], 0xdd);
    const __m512i cd_even = _mm512_shuffle_i32x4(a[8 + c], a[12 + c], 0x88);
    const __m512i cd_odd = _mm512_shuffle_i32x4(a[8 + c], a[12 + c], 0xdd);
    rows[c].v = _mm512_shuffle_i32x4(ab_even, cd_even, 0x88);
    rows[8 + c].v = _mm512_shuffle_i32x4(ab_even, cd_even, 0xdd);
    rows[4 + c].v = _mm512_shuffle_i32x4(ab_odd, cd_odd, 0x88);
    rows[12 + c].v = _mm512_shuffle_i32x4(ab_odd, cd_odd, 0xdd);
  }
}
inline I32x16 sums_of_quarters(const I32x16* v) {
  const auto two = [&](int i) {
    return _mm512_add_epi32(_mm512_unpacklo_epi32(v[i].v, v[i + 1].v),
                            _mm512_unpackhi_epi32(v[i].v, v[i + 1].v));
  };
  const __m512i a = two(0);
  const __m512i b = two(2);
  return {_mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b))};
}
inline I32x16 load_words(const uint8_t* p, size_t n) {
  return {_mm512_maskz_loadu_epi32(first_lanes(n), p)};
}
inline I32x16 load_pairs(const uint8_t* scales, const uint8_t* biases, size_t n) {
  const __m512i scale = _mm512_cvtepu16_epi32(load_halves_n(scales, n));
  return {_mm512_or_si512(_mm512_slli_epi32(scale, 16),
                          _mm512_cvtepu16_epi32(load_halves_n(biases, n)))};
}
inline F32x16 floats_of(I32x16 a) { return {_mm512_castsi512_ps(a.v)}; }
inline I32x16 bits_of(F32x16 a) { return {_mm512_castps_si512(a.v)}; }
inline F32x16 upper_bf16(I32x16 a) {
  return floats_of({_mm512_and_si512(a.v, _mm512_set1_epi32(static_cast<int>(0xffff0000)))});
}
inline F32x16 lower_bf16(I32x16 a) { return floats_of({_mm512_slli_epi32(a.v, 16)}); }
inline F32x16 upper_f16(I32x16 a) {
  return {_mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(a.v, 16)))};
}
inline F32x16 lower_f16(I32x16 a) { return {_mm512_cvtph_ps(_mm512_cvtepi32_epi16(a.v))}; }
inline __m512i order_words(__m512i x) {
  const __m128i order = _mm_set_epi8(15, 14, 7, 6, 13, 12, 5, 4, 11, 10, 3, 2, 9, 8, 1, 0);
  return _mm512_shuffle_epi8(x, _mm512_broadcast_i32x4(order));
}
inline void order_words(const int16_t* q, int16_t* words) {
  _mm512_storeu_si512(words, order_words(_mm512_loadu_si512(q)));
}
struct Bytes64 {
  __m512i v;
};
inline Bytes64 load_bytes(const void* p) { return {_mm512_loadu_si512(p)}; }
inline void split_planes(const int16_t* q, int8_t* high, int8_t* low) {
  const __m512i x = _mm512_loadu_si512(q);
  const __m512i rounded = _mm512_add_epi16(x, _mm512_set1_epi16(128));
  const __m256i order = _mm256_broadcastsi128_si256(
      _mm_set_epi8(15, 13, 11, 9, 14, 12, 10, 8, 7, 5, 3, 1, 6, 4, 2, 0));
  const auto store_bytes = [&](int8_t* p, __m512i words) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm256_shuffle_epi8(_mm512_cvtepi16_epi8(words), order));
  };
  store_bytes(high, _mm512_srai_epi16(rounded, 8));
  store_bytes(low, x);
}

inline Bytes64 repeat_firsts(Bytes64 a) {
  return {_mm512_shuffle_epi32(a.v, static_cast<_MM_PERM_ENUM>(0))};
}

struct NibbleBlock {
  Bytes64 part[4];
};
inline NibbleBlock transpose_words(__m512i a, __m512i b, __m512i c, __m512i d) {
  const __m512i ab_low = _mm512_unpacklo_epi32(a, b);
  const __m512i ab_high = _mm512_unpackhi_epi32(a, b);
  const __m512i cd_low = _mm512_unpacklo_epi32(c, d);
  const __m512i cd_high = _mm512_unpackhi_epi32(c, d);
  return {{{_mm512_unpacklo_epi64(ab_low, cd_low)},
           {_mm512_unpackhi_epi64(ab_low, cd_low)},
           {_mm512_unpacklo_epi64(ab_high, cd_high)},
           {_mm512_unpackhi_epi64(ab_high, cd_high)}}};
}
inline NibbleBlock load_nibbles(const uint8_t* p) {
  return transpose_words(_mm512_loadu_si512(p), _mm512_loadu_si512(p + 64),
                         _mm512_loadu_si512(p + 128), _mm512_loadu_si512(p + 192));
}
struct NibbleMask {
  explicit NibbleMask(size_t size) {
    const uint64_t words = (uint64_t{1} << (size / 4)) - 1;
    for (int i = 0; i < 4; ++i) line[i] = static_cast<__mmask16>(words >> (16 * i));
  }
  static NibbleMask lines(size_t size) {
    NibbleMask mask(0);
    for (__mmask16& words : mask.line) words = static_cast<__mmask16>((1u << (size / 4)) - 1);
    return mask;
  }
  __mmask16 line[4];
};
inline NibbleBlock load_nibbles(const uint8_t* p, size_t stride, const NibbleMask& mask) {
  const auto line = [&](int i) { return _mm512_maskz_loadu_epi32(mask.line[i], p + i * stride); };
  return transpose_words(line(0), line(1), line(2), line(3));
}
inline Bytes64 low_nibbles(Bytes64 a) { return {_mm512_and_si512(a.v, _mm512_set1_epi8(15))}; }
inline Bytes64 high_nibbles(Bytes64 a) {
  return {_mm512_and_si512(_mm512_srli_epi16(a.v, 4), _mm512_set1_epi8(15))};
}

struct PlaneSums {
  __m512i high, low;
};
inline PlaneSums zero_sums() { return {_mm512_setzero_si512(), _mm512_setzero_si512()}; }
#if defined(__AVX512VNNI__)
inline PlaneSums add_products(PlaneSums s, Bytes64 w, Bytes64 high, Bytes64 low) {
  return {_mm512_dpbusd_epi32(s.high, w.v, high.v), _mm512_dpbusd_epi32(s.low, w.v, low.v)};
}
inline I32x16 total(PlaneSums s) { return {_mm512_add_epi32(_mm512_slli_epi32(s.high, 8), s.low)}; }
#else
// In 16 bits: 8 times 2 products of at most 15 * 128.
inline PlaneSums add_products(PlaneSums s, Bytes64 w, Bytes64 high, Bytes64 low) {
  return {_mm512_add_epi16(s.high, _mm512_maddubs_epi16(w.v, high.v)),
          _mm512_add_epi16(s.low, _mm512_maddubs_epi16(w.v, low.v))};
}
inline I32x16 total(PlaneSums s) {
  return {_mm512_add_epi32(_mm512_madd_epi16(s.high, _mm512_set1_epi16(256)),
                           _mm512_madd_epi16(s.low, _mm512_set1_epi16(1)))};
}
#endif

#if defined(__AVX512VNNI__)
constexpr size_t kStepColumns = 4;
constexpr size_t kActivationStep = 128;
constexpr size_t kActivationChunk = 16;

struct StepWeights {
  __m512i v;  // 4 columns of each of 16 rows
};
inline StepWeights load_step(const uint8_t* p) { return {_mm512_load_si512(p)}; }
inline void store_step(uint8_t* p, I32x16 rows) { _mm512_store_si512(p, rows.v); }
struct StepActivation {
  __m512i high, low;
};
inline StepActivation broadcast_step(const int8_t* p) {
  int32_t high;
  int32_t low;
  memcpy(&high, p, 4);
  memcpy(&low, p + 64, 4);
  return {_mm512_set1_epi32(high), _mm512_set1_epi32(low)};
}
struct StepSums {
  __m512i high, low;
};
inline StepSums zero_step_sums() { return {_mm512_setzero_si512(), _mm512_setzero_si512()}; }
// Sums that go round a loop cost g++ 12 two register moves an instruction as intrinsics.
inline void add_products_asm(__m512i& sums, __m512i w, __m512i x) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(w), "v"(x));
}
inline void add_step(StepSums& s, StepWeights w, StepActivation x) {
  add_products_asm(s.high, w.v, x.high);
  add_products_asm(s.low, w.v, x.low);
}
inline I32x16 step_total(StepSums s) {
  return {_mm512_add_epi32(_mm512_slli_epi32(s.high, 8), s.low)};
}
template <int kStep>
inline I32x16 nibble_step(I32x16 words) {
  return {_mm512_and_si512(_mm512_srli_epi16(words.v, 4 * kStep), _mm512_set1_epi8(15))};
}
#else
constexpr size_t kStepColumns = 2;
constexpr size_t kActivationStep = 4;
constexpr size_t kActivationChunk = 64;

struct StepWeights {
  __m512i v;
};
inline StepWeights load_step(const uint8_t* p) { return {_mm512_load_si512(p)}; }
inline void store_step(uint8_t* p, I32x16 rows) { _mm512_store_si512(p, rows.v); }
struct StepActivation {
  __m512i v;
};
inline StepActivation broadcast_step(const int8_t* p) {
  int32_t pair;
  memcpy(&pair, p, 4);
  return {_mm512_set1_epi32(pair)};
}
struct StepSums {
  __m512i v;
};
inline StepSums zero_step_sums() { return {_mm512_setzero_si512()}; }
inline void add_step(StepSums& s, StepWeights w, StepActivation x) {
  s.v = _mm512_add_epi32(s.v, _mm512_madd_epi16(w.v, x.v));
}
inline I32x16 step_total(StepSums s) { return {s.v}; }
template <int kStep>
inline I32x16 nibble_step(I32x16 words) {
  return {_mm512_and_si512(_mm512_srli_epi16(words.v, 4 * kStep), _mm512_set1_epi16(15))};
}
#endif

template <int kCount>
inline Bytes64 load_nibble_pairs(const uint8_t* p) {
  const __m256i pairs =
      kCount == 64 ? load_halves(p)
                   : _mm256_zextsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  const __m512i words = _mm512_cvtepu8_epi16(pairs);
  return {
      _mm512_and_si512(_mm512_or_si512(words, _mm512_slli_epi16(words, 4)), _mm512_set1_epi8(15))};
}
inline Bytes64 load_32s(const uint8_t* p, const uint8_t* q) {
  return {_mm512_inserti64x4(_mm512_castsi256_si512(load_halves(p)), load_halves(q), 1)};
}
inline Bytes64 load_32_twice(const uint8_t* p) { return {_mm512_broadcast_i64x4(load_halves(p))}; }
inline Bytes64 load_16_twice(const uint8_t* p, const uint8_t* q) {
  const auto load_128 = [](const uint8_t* at) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
  };
  return {_mm512_mask_broadcast_i64x2(_mm512_broadcast_i64x2(load_128(p)), 0xf0, load_128(q))};
}
inline void store_bytes(uint8_t* p, Bytes64 a) { _mm512_storeu_si512(p, a.v); }
inline __m512i set_bytes(uint8_t x) { return _mm512_set1_epi8(static_cast<char>(x)); }
inline Bytes64 operator&(Bytes64 a, uint8_t mask) {
  return {_mm512_and_si512(a.v, set_bytes(mask))};
}
inline Bytes64 operator^(Bytes64 a, uint8_t mask) {
  return {_mm512_xor_si512(a.v, set_bytes(mask))};
}
inline Bytes64 operator|(Bytes64 a, Bytes64 b) { return {_mm512_or_si512(a.v, b.v)}; }
template <int k0, int k1, int k2, int k3>
inline __m512i shift_counts() {
  const auto four = [](int bits) { return static_cast<long long>(bits * 0x0001000100010001ull); };
  return _mm512_set_epi64(four(k3), four(k3), four(k2), four(k2), four(k1), four(k1), four(k0),
                          four(k0));
}
template <int k0, int k1, int k2, int k3>
inline Bytes64 shift_right(Bytes64 a) {
  if constexpr (k0 == k1 && k0 == k2 && k0 == k3) return {_mm512_srli_epi16(a.v, k0)};
  return {_mm512_srlv_epi16(a.v, shift_counts<k0, k1, k2, k3>())};
}
template <int k0, int k1, int k2, int k3>
inline Bytes64 shift_left(Bytes64 a) {
  return {_mm512_sllv_epi16(a.v, shift_counts<k0, k1, k2, k3>())};
}
inline Bytes64 look_up(const uint8_t* table, Bytes64 a) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  return {_mm512_shuffle_epi8(_mm512_broadcast_i64x2(bytes), a.v)};
}
template <uint8_t kValue>
inline Bytes64 spread_bits(uint64_t bits) {
  return {_mm512_maskz_mov_epi8(bits, set_bytes(kValue))};
}
template <uint8_t kFirst, uint8_t kSecond, uint8_t kValue>
inline Bytes64 test_bits(Bytes64 a) {
  const __m256i second = _mm256_set1_epi8(static_cast<char>(kSecond));
  const __m512i bits = _mm512_inserti64x4(set_bytes(kFirst), second, 1);
  return spread_bits<kValue>(_mm512_test_epi8_mask(a.v, bits));
}

#if defined(__AVX512VNNI__)
using Numbers64 = Bytes64;
inline Numbers64 numbers_of(Bytes64 a) { return a; }
constexpr size_t kWordSpan = 0;
#else
/// The even columns, and the odd ones.
struct Numbers64 {
  __m512i even, odd;
};
inline Numbers64 numbers_of(Bytes64 a) {
  return {_mm512_and_si512(a.v, _mm512_set1_epi16(0xff)), _mm512_srli_epi16(a.v, 8)};
}
constexpr size_t kWordSpan = 64;
#endif
/// Quarters of PairTables as words of 32 bits.
template <int kBits>
struct QuarterWords {
  alignas(64) uint32_t word[16] = {};
  constexpr explicit QuarterWords(const PairTables<kBits, 4, 64>& tables) {
    for (int i = 0; i < 16; ++i) {
      word[i] = static_cast<uint32_t>(tables.offset[i / 4] / 4 + i % 4);
    }
  }
};
template <int kBits>
inline Numbers64 unpack_bits(const uint8_t* p) {
  static constexpr PairTables<kBits, 4, 64> kTables;
  static constexpr QuarterWords<kBits> kQuarters(kTables);
  const __m512i x = _mm512_maskz_loadu_epi8((uint64_t{1} << (8 * kBits)) - 1, p);
  const __m512i quarters = _mm512_permutexvar_epi32(_mm512_load_si512(kQuarters.word), x);
  const __m512i pairs =
      _mm512_srlv_epi16(_mm512_shuffle_epi8(quarters, _mm512_load_si512(kTables.byte_index)),
                        _mm512_load_si512(kTables.right_shift));
  constexpr int kMask = (1 << kBits) - 1;
  const __m512i first = _mm512_and_si512(pairs, _mm512_set1_epi16(kMask));
#if defined(__AVX512VNNI__)
  // first | (second & mask)
  return {_mm512_ternarylogic_epi32(first, _mm512_slli_epi16(pairs, 8 - kBits),
                                    _mm512_set1_epi16(kMask << 8), 0xf8)};
#else
  return {first, _mm512_and_si512(_mm512_srli_epi16(pairs, kBits), _mm512_set1_epi16(kMask))};
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
#if defined(__AVX512VNNI__)
  const __m512i high =
      _mm512_dpbusd_epi32(_mm512_setzero_si512(), w.v, _mm512_loadu_si512(numbers));
  return {_mm512_dpbusd_epi32(_mm512_slli_epi32(high, 8), w.v, _mm512_loadu_si512(numbers + 64))};
#else
  return {_mm512_add_epi32(_mm512_madd_epi16(w.even, _mm512_loadu_si512(numbers)),
                           _mm512_madd_epi16(w.odd, _mm512_loadu_si512(numbers + 64)))};
#endif
}
constexpr size_t kStepVectors = 4 / kStepColumns;
template <bool kIsWide>
inline void steps_of_numbers(Numbers64 w, I32x16 (&steps)[kStepVectors]) {
#if defined(__AVX512VNNI__)
  const __m128i order = _mm_set_epi8(15, 13, 11, 9, 14, 12, 10, 8, 7, 5, 3, 1, 6, 4, 2, 0);
  steps[0] = {_mm512_shuffle_epi8(w.v, _mm512_broadcast_i32x4(order))};
#else
  // Of 8 columns 0 4 2 6 and 1 5 3 7, then each pair of the one before one of the other.
  const __m512i order =
      _mm512_broadcast_i32x4(_mm_set_epi8(15, 14, 11, 10, 13, 12, 9, 8, 7, 6, 3, 2, 5, 4, 1, 0));
  const __m512i even = _mm512_shuffle_epi8(w.even, order);
  const __m512i odd = _mm512_shuffle_epi8(w.odd, order);
  const __m512i low = _mm512_unpacklo_epi32(even, odd);
  const __m512i high = _mm512_unpackhi_epi32(even, odd);
  steps[0] = {_mm512_permutex2var_epi64(low, _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0), high)};
  steps[1] = {_mm512_permutex2var_epi64(low, _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4), high)};
#endif
}

}  // namespace
}  // namespace FLASHMOE_TARGET
}  // namespace flashmoe

#endif  // FLASHMOE_KERNELS_CPU_SIMD_AVX512_H_
