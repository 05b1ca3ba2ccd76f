// The vector types of docs/numerics.md for AArch64's baseline NEON: the 16 lanes are four
// registers. simd_scalar.h says what each function does. Included by target_neon.cc and, with dot
// products of bytes, target_neondot.cc.
#ifndef FLASHMOE_KERNELS_CPU_SIMD_NEON_H_
#define FLASHMOE_KERNELS_CPU_SIMD_NEON_H_

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/cpu/unpack_tables.h"

namespace flashmoe {
namespace FLASHMOE_TARGET {
namespace {

constexpr int kWeightTile = 1;
constexpr int kRowTile = 4;
constexpr int kChainVectors = 1;
#if defined(__ARM_FEATURE_DOTPROD)
constexpr int kChainRows = 2;
#else
constexpr int kChainRows = 4;
#endif
constexpr size_t kFewRows = 2;
constexpr size_t kTiledRowsMin = 2;
constexpr int kKeyTile = 4;
constexpr int kHeadTile = 2;
constexpr int kValueTile = 4;

struct F32x16 {
  float32x4_t v[4];
};
struct I32x16 {
  int32x4_t v[4];
};

template <typename Fn>
inline F32x16 map(Fn fn) {
  return {{fn(0), fn(1), fn(2), fn(3)}};
}

inline F32x16 set1(float x) {
  return map([&](int) { return vdupq_n_f32(x); });
}
inline F32x16 load(const float* p) {
  return map([&](int i) { return vld1q_f32(p + 4 * i); });
}
inline F32x16 load_n(const float* p, size_t n) {
  float lanes[16] = {};
  memcpy(lanes, p, n * sizeof(float));
  return load(lanes);
}
inline void store(float* p, F32x16 a) {
  for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, a.v[i]);
}
inline void store_n(float* p, F32x16 a, size_t n) {
  float lanes[16];
  store(lanes, a);
  memcpy(p, lanes, n * sizeof(float));
}
// Through bytes: the addresses are not aligned to the elements.
inline F32x16 load_bf16(const uint8_t* p) {
  return map([&](int i) {
    const uint16x4_t half = vreinterpret_u16_u8(vld1_u8(p + 8 * i));
    return vreinterpretq_f32_u32(vshll_n_u16(half, 16));
  });
}
inline F32x16 load_i8(const uint8_t* p) {
  const int8x16_t bytes = vreinterpretq_s8_u8(vld1q_u8(p));
  const int16x8_t words[] = {vmovl_s8(vget_low_s8(bytes)), vmovl_s8(vget_high_s8(bytes))};
  return map([&](int i) {
    const int16x8_t eight = words[i / 2];
    return vcvtq_f32_s32(vmovl_s16(i % 2 == 0 ? vget_low_s16(eight) : vget_high_s16(eight)));
  });
}
inline F32x16 load_f16(const uint8_t* p) {
  return map([&](int i) { return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p + 8 * i))); });
}
inline F32x16 load_f32(const uint8_t* p) {
  return map([&](int i) { return vreinterpretq_f32_u8(vld1q_u8(p + 16 * i)); });
}
inline F32x16 load_e4m3(const uint8_t* p) {
  const int8x16_t bytes = vld1q_s8(reinterpret_cast<const int8_t*>(p));
  const int16x8_t words[2] = {vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes)};
  const uint16x8_t signed_nan = vdupq_n_u16(0xbf80);
  uint16x8_t marked[2];
  for (int i = 0; i < 2; ++i) {
    const uint16x8_t halves =
        vandq_u16(vreinterpretq_u16_s16(vshlq_n_s16(words[i], 7)), signed_nan);
    const uint16x8_t is_nan = vceqq_u16(vorrq_u16(halves, vdupq_n_u16(0x8000)), signed_nan);
    marked[i] = vorrq_u16(halves, vandq_u16(is_nan, vdupq_n_u16(0x4000)));
  }
  return map([&](int i) {
    const uint16x4_t four = i % 2 == 0 ? vget_low_u16(marked[i / 2]) : vget_high_u16(marked[i / 2]);
    return vmulq_n_f32(vcvt_f32_f16(vreinterpret_f16_u16(four)), 256.0f);
  });
}
// The first n of 16, never reading past them; zeros in the other lanes. 8 scales are most common.
inline void copy_halves(uint8_t* to, const uint8_t* from, size_t n) {
  if (n == 8) {
    vst1q_u8(to, vld1q_u8(from));
  } else {
    memcpy(to, from, 2 * n);
  }
}
inline F32x16 load_bf16_n(const uint8_t* p, size_t n) {
  uint8_t bytes[32] = {};
  copy_halves(bytes, p, n);
  return load_bf16(bytes);
}
inline F32x16 load_f16_n(const uint8_t* p, size_t n) {
  uint8_t bytes[32] = {};
  copy_halves(bytes, p, n);
  return load_f16(bytes);
}
inline F32x16 load_f32_n(const uint8_t* p, size_t n) {
  uint8_t bytes[64] = {};
  memcpy(bytes, p, 4 * n);
  return load_f32(bytes);
}

inline F32x16 operator+(F32x16 a, F32x16 b) {
  return map([&](int i) { return vaddq_f32(a.v[i], b.v[i]); });
}
inline F32x16 operator-(F32x16 a, F32x16 b) {
  return map([&](int i) { return vsubq_f32(a.v[i], b.v[i]); });
}
inline F32x16 operator*(F32x16 a, F32x16 b) {
  return map([&](int i) { return vmulq_f32(a.v[i], b.v[i]); });
}
inline F32x16 operator/(F32x16 a, F32x16 b) {
  return map([&](int i) { return vdivq_f32(a.v[i], b.v[i]); });
}
inline F32x16 fma(F32x16 a, F32x16 b, F32x16 c) {
  return map([&](int i) { return vfmaq_f32(c.v[i], a.v[i], b.v[i]); });
}
inline F32x16 fnma(F32x16 a, F32x16 b, F32x16 c) {
  return map([&](int i) { return vfmsq_f32(c.v[i], a.v[i], b.v[i]); });
}
// Not vmaxq_f32, which returns NaN where either is.
inline F32x16 max(F32x16 a, F32x16 b) {
  return map([&](int i) { return vbslq_f32(vcgtq_f32(a.v[i], b.v[i]), a.v[i], b.v[i]); });
}
inline F32x16 min(F32x16 a, F32x16 b) {
  return map([&](int i) { return vbslq_f32(vcltq_f32(a.v[i], b.v[i]), a.v[i], b.v[i]); });
}
inline F32x16 select_less(F32x16 x, F32x16 y, F32x16 a, F32x16 b) {
  return map([&](int i) { return vbslq_f32(vcltq_f32(x.v[i], y.v[i]), a.v[i], b.v[i]); });
}
inline F32x16 max_magnitude(F32x16 m, F32x16 a) {
  return map([&](int i) {
    const uint32x4_t magnitude = vandq_u32(vreinterpretq_u32_f32(a.v[i]), vdupq_n_u32(0x7fffffff));
    return vreinterpretq_f32_u32(vmaxq_u32(vreinterpretq_u32_f32(m.v[i]), magnitude));
  });
}
inline F32x16 shift_bits_left_23(F32x16 a) {
  return map(
      [&](int i) { return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(a.v[i]), 23)); });
}
inline void store_low_16(int16_t* p, F32x16 a) {
  for (int i = 0; i < 4; ++i) vst1_s16(p + 4 * i, vmovn_s32(vreinterpretq_s32_f32(a.v[i])));
}

/// Lanes i and i + half for half = 8, 4, 2, 1.
template <typename Fn4, typename Fn2>
inline float tree(F32x16 a, Fn4 fn4, Fn2 fn2) {
  const float32x4_t b = fn4(fn4(a.v[0], a.v[2]), fn4(a.v[1], a.v[3]));
  const float32x2_t c = fn2(vget_low_f32(b), vget_high_f32(b));
  return vget_lane_f32(fn2(c, vdup_lane_f32(c, 1)), 0);
}
inline float reduce_add(F32x16 a) {
  return tree(
      a, [](float32x4_t x, float32x4_t y) { return vaddq_f32(x, y); },
      [](float32x2_t x, float32x2_t y) { return vadd_f32(x, y); });
}
inline void reduce_add_4(const F32x16* a, float* sums) {
  for (int i = 0; i < 4; ++i) sums[i] = reduce_add(a[i]);
}
inline float reduce_max(F32x16 a) {
  return tree(
      a, [](float32x4_t x, float32x4_t y) { return vbslq_f32(vcgtq_f32(x, y), x, y); },
      [](float32x2_t x, float32x2_t y) { return vbsl_f32(vcgt_f32(x, y), x, y); });
}
inline float reduce_max_magnitude(F32x16 a) {
  const auto bits = [&](int i) { return vreinterpretq_u32_f32(a.v[i]); };
  const uint32_t highest =
      vmaxvq_u32(vmaxq_u32(vmaxq_u32(bits(0), bits(1)), vmaxq_u32(bits(2), bits(3))));
  float x;
  memcpy(&x, &highest, 4);
  return x;
}

inline I32x16 zero_i32() {
  const int32x4_t zero = vdupq_n_s32(0);
  return {{zero, zero, zero, zero}};
}
inline F32x16 to_float(I32x16 a) {
  return map([&](int i) { return vcvtq_f32_s32(a.v[i]); });
}
template <typename Fn>
inline I32x16 map_i32(Fn fn) {
  return {{fn(0), fn(1), fn(2), fn(3)}};
}
inline I32x16 broadcast_i32(int32_t x) {
  return map_i32([&](int) { return vdupq_n_s32(x); });
}
inline I32x16 load(const int32_t* p) {
  return map_i32([&](int i) { return vld1q_s32(p + 4 * i); });
}
inline void store(int32_t* p, I32x16 a) {
  for (int i = 0; i < 4; ++i) vst1q_s32(p + 4 * i, a.v[i]);
}
inline I32x16 operator+(I32x16 a, I32x16 b) {
  return map_i32([&](int i) { return vaddq_s32(a.v[i], b.v[i]); });
}
inline I32x16 load_u8(const uint8_t* p) {
  const uint8x16_t bytes = vld1q_u8(p);
  const uint16x8_t low = vmovl_u8(vget_low_u8(bytes));
  const uint16x8_t high = vmovl_high_u8(bytes);
  const auto words = [](uint32x4_t x) { return vreinterpretq_s32_u32(x); };
  return {{words(vmovl_u16(vget_low_u16(low))), words(vmovl_high_u16(low)),
           words(vmovl_u16(vget_low_u16(high))), words(vmovl_high_u16(high))}};
}
inline I32x16 operator&(I32x16 a, uint32_t mask) {
  return map_i32([&](int i) { return vandq_s32(a.v[i], vdupq_n_s32(static_cast<int32_t>(mask))); });
}
inline I32x16 operator^(I32x16 a, uint32_t mask) {
  return map_i32([&](int i) { return veorq_s32(a.v[i], vdupq_n_s32(static_cast<int32_t>(mask))); });
}
inline I32x16 operator|(I32x16 a, I32x16 b) {
  return map_i32([&](int i) { return vorrq_s32(a.v[i], b.v[i]); });
}
template <int kBits>
inline I32x16 shift_right(I32x16 a) {
  return map_i32([&](int i) {
    const uint32x4_t shifted = vshlq_u32(vreinterpretq_u32_s32(a.v[i]), vdupq_n_s32(-kBits));
    return vreinterpretq_s32_u32(shifted);
  });
}
template <int kBits>
inline I32x16 shift_left(I32x16 a) {
  return map_i32([&](int i) { return vshlq_s32(a.v[i], vdupq_n_s32(kBits)); });
}
inline I32x16 add_quarters(I32x16 a, I32x16 b) {
  return {{vaddq_s32(a.v[0], a.v[1]), vaddq_s32(a.v[2], a.v[3]), vaddq_s32(b.v[0], b.v[1]),
           vaddq_s32(b.v[2], b.v[3])}};
}
inline void transpose_16(I32x16 (&rows)[16]) {
  I32x16 turned[16];
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) {  // rows 4 i ..., lanes 4 j ...
      const auto row = [&](int k) { return rows[4 * i + k].v[j]; };
      const auto pairs = [](int32x4_t x) { return vreinterpretq_s64_s32(x); };
      const auto words = [](int64x2_t x) { return vreinterpretq_s32_s64(x); };
      const int64x2_t even01 = pairs(vtrn1q_s32(row(0), row(1)));
      const int64x2_t odd01 = pairs(vtrn2q_s32(row(0), row(1)));
      const int64x2_t even23 = pairs(vtrn1q_s32(row(2), row(3)));
      const int64x2_t odd23 = pairs(vtrn2q_s32(row(2), row(3)));
      turned[4 * j].v[i] = words(vtrn1q_s64(even01, even23));
      turned[4 * j + 1].v[i] = words(vtrn1q_s64(odd01, odd23));
      turned[4 * j + 2].v[i] = words(vtrn2q_s64(even01, even23));
      turned[4 * j + 3].v[i] = words(vtrn2q_s64(odd01, odd23));
    }
  }
  for (int i = 0; i < 16; ++i) rows[i] = turned[i];
}
inline I32x16 load_words(const uint8_t* p, size_t n) {
  return map_i32([&](int i) {
    if (4 * static_cast<size_t>(i) >= n) return vdupq_n_s32(0);
    return vreinterpretq_s32_u8(vld1q_u8(p + 16 * i));
  });
}
inline I32x16 load_pairs(const uint8_t* scales, const uint8_t* biases, size_t n) {
  uint8_t scale[32] = {};
  uint8_t bias[32] = {};
  copy_halves(scale, scales, n);
  copy_halves(bias, biases, n);
  return map_i32([&](int i) {
    const uint16x4_t upper = vreinterpret_u16_u8(vld1_u8(scale + 8 * i));
    const uint16x4_t lower = vreinterpret_u16_u8(vld1_u8(bias + 8 * i));
    return vreinterpretq_s32_u32(vorrq_u32(vshll_n_u16(upper, 16), vmovl_u16(lower)));
  });
}
inline F32x16 floats_of(I32x16 a) {
  return map([&](int i) { return vreinterpretq_f32_s32(a.v[i]); });
}
inline I32x16 bits_of(F32x16 a) {
  return map_i32([&](int i) { return vreinterpretq_s32_f32(a.v[i]); });
}
inline F32x16 upper_bf16(I32x16 a) {
  return map([&](int i) {
    return vreinterpretq_f32_s32(vandq_s32(a.v[i], vdupq_n_s32(static_cast<int>(0xffff0000))));
  });
}
inline F32x16 lower_bf16(I32x16 a) {
  return map([&](int i) { return vreinterpretq_f32_s32(vshlq_n_s32(a.v[i], 16)); });
}
inline F32x16 upper_f16(I32x16 a) {
  return map([&](int i) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vshrn_n_u32(vreinterpretq_u32_s32(a.v[i]), 16)));
  });
}
inline F32x16 lower_f16(I32x16 a) {
  return map([&](int i) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32(vreinterpretq_u32_s32(a.v[i]))));
  });
}
/// kWordOrder.
inline int16x8_t order_words(int16x8_t x) { return vzip1q_s16(x, vextq_s16(x, x, 4)); }
inline void order_words(const int16_t* q, int16_t* words) {
  for (int i = 0; i < 32; i += 8) vst1q_s16(words + i, order_words(vld1q_s16(q + i)));
}
struct Bytes64 {
  uint8x16_t v[4];
};
template <typename Fn>
inline Bytes64 map_bytes(Fn fn) {
  return {{fn(0), fn(1), fn(2), fn(3)}};
}
inline Bytes64 load_bytes(const void* p) {
  return map_bytes([&](int i) { return vld1q_u8(static_cast<const uint8_t*>(p) + 16 * i); });
}
inline void split_planes(const int16_t* q, int8_t* high, int8_t* low) {
  for (int i = 0; i < 32; i += 8) {
    // Words to their even elements, then the odd ones.
    const int16x8_t x = vld1q_s16(q + i);
    const int16x8_t ordered =
        vcombine_s16(vget_low_s16(vuzp1q_s16(x, x)), vget_low_s16(vuzp2q_s16(x, x)));
    vst1_s8(high + i, vmovn_s16(vshrq_n_s16(vaddq_s16(ordered, vdupq_n_s16(128)), 8)));
    vst1_s8(low + i, vmovn_s16(ordered));
  }
}

inline Bytes64 repeat_firsts(Bytes64 a) {
  return map_bytes([&](int i) {
    return vreinterpretq_u8_u32(vdupq_laneq_u32(vreinterpretq_u32_u8(a.v[i]), 0));
  });
}
struct NibbleBlock {
  Bytes64 part[4];
};
template <typename Load>
inline NibbleBlock load_nibbles_by(Load load_words) {
  NibbleBlock r;
  for (int s = 0; s < 4; ++s) {
    const uint32x4_t row[4] = {load_words(0, s), load_words(1, s), load_words(2, s),
                               load_words(3, s)};
    const auto pairs = [](uint32x4_t x) { return vreinterpretq_u64_u32(x); };
    const auto bytes = [](uint64x2_t x) { return vreinterpretq_u8_u64(x); };
    const uint64x2_t even01 = pairs(vtrn1q_u32(row[0], row[1]));  // words 0, 2 of both
    const uint64x2_t odd01 = pairs(vtrn2q_u32(row[0], row[1]));   // words 1, 3
    const uint64x2_t even23 = pairs(vtrn1q_u32(row[2], row[3]));
    const uint64x2_t odd23 = pairs(vtrn2q_u32(row[2], row[3]));
    r.part[0].v[s] = bytes(vtrn1q_u64(even01, even23));
    r.part[1].v[s] = bytes(vtrn1q_u64(odd01, odd23));
    r.part[2].v[s] = bytes(vtrn2q_u64(even01, even23));
    r.part[3].v[s] = bytes(vtrn2q_u64(odd01, odd23));
  }
  return r;
}
inline uint32x4_t load_words(const uint8_t* p) { return vreinterpretq_u32_u8(vld1q_u8(p)); }
inline NibbleBlock load_nibbles(const uint8_t* p) {
  return load_nibbles_by([&](int line, int s) { return load_words(p + 64 * line + 16 * s); });
}
struct NibbleMask {
  explicit NibbleMask(size_t size) {
    for (size_t i = 0; i < 4; ++i) line[i] = size < 64 * i ? 0 : size - 64 * i;
  }
  static NibbleMask lines(size_t size) {
    NibbleMask mask(0);
    for (size_t& bytes : mask.line) bytes = size;
    return mask;
  }
  size_t line[4];  // bytes that are there, a multiple of 16; may be more than 64
};
inline NibbleBlock load_nibbles(const uint8_t* p, size_t stride, const NibbleMask& mask) {
  return load_nibbles_by([&](int line, int s) {
    if (16 * static_cast<size_t>(s) >= mask.line[line]) return vdupq_n_u32(0);
    return load_words(p + line * stride + 16 * s);
  });
}
inline Bytes64 low_nibbles(Bytes64 a) {
  return map_bytes([&](int i) { return vandq_u8(a.v[i], vdupq_n_u8(15)); });
}
inline Bytes64 high_nibbles(Bytes64 a) {
  return map_bytes([&](int i) { return vshrq_n_u8(a.v[i], 4); });
}

#if defined(__ARM_FEATURE_DOTPROD)
struct PlaneSums {
  int32x4_t high[4], low[4];
};
inline PlaneSums zero_sums() {
  PlaneSums s;
  for (int i = 0; i < 4; ++i) s.high[i] = s.low[i] = vdupq_n_s32(0);
  return s;
}
inline PlaneSums add_products(PlaneSums s, Bytes64 w, Bytes64 high, Bytes64 low) {
  for (int i = 0; i < 4; ++i) {
    const int8x16_t nibbles = vreinterpretq_s8_u8(w.v[i]);
    s.high[i] = vdotq_s32(s.high[i], nibbles, vreinterpretq_s8_u8(high.v[i]));
    s.low[i] = vdotq_s32(s.low[i], nibbles, vreinterpretq_s8_u8(low.v[i]));
  }
  return s;
}
inline I32x16 total(PlaneSums s) {
  I32x16 r;
  for (int i = 0; i < 4; ++i) r.v[i] = vaddq_s32(vshlq_n_s32(s.high[i], 8), s.low[i]);
  return r;
}
#else
/// In 16 bits: 8 products of at most 15 * 128 each.
struct PlaneSums {
  int16x8_t high[8], low[8];
};
inline PlaneSums zero_sums() {
  PlaneSums s;
  for (int i = 0; i < 8; ++i) s.high[i] = s.low[i] = vdupq_n_s16(0);
  return s;
}
inline PlaneSums add_products(PlaneSums s, Bytes64 w, Bytes64 high, Bytes64 low) {
  for (int i = 0; i < 4; ++i) {
    const int8x16_t nibbles = vreinterpretq_s8_u8(w.v[i]);
    const int8x16_t h = vreinterpretq_s8_u8(high.v[i]);
    const int8x16_t l = vreinterpretq_s8_u8(low.v[i]);
    s.high[2 * i] = vmlal_s8(s.high[2 * i], vget_low_s8(nibbles), vget_low_s8(h));
    s.high[2 * i + 1] = vmlal_high_s8(s.high[2 * i + 1], nibbles, h);
    s.low[2 * i] = vmlal_s8(s.low[2 * i], vget_low_s8(nibbles), vget_low_s8(l));
    s.low[2 * i + 1] = vmlal_high_s8(s.low[2 * i + 1], nibbles, l);
  }
  return s;
}
inline I32x16 total(PlaneSums s) {
  // 4 16-bit sums to a lane.
  const auto by_lane = [](const int16x8_t* pair) {
    return vpaddq_s32(vpaddlq_s16(pair[0]), vpaddlq_s16(pair[1]));
  };
  I32x16 r;
  for (int i = 0; i < 4; ++i) {
    r.v[i] = vaddq_s32(vshlq_n_s32(by_lane(s.high + 2 * i), 8), by_lane(s.low + 2 * i));
  }
  return r;
}
#endif

#if defined(__ARM_FEATURE_DOTPROD)
constexpr size_t kStepColumns = 4;
constexpr size_t kActivationStep = 128;
constexpr size_t kActivationChunk = 16;

struct StepWeights {
  int8x16_t v[4];  // 4 columns of each of 4 rows
};
inline StepWeights load_step(const uint8_t* p) {
  StepWeights w;
  for (int i = 0; i < 4; ++i) w.v[i] = vreinterpretq_s8_u8(vld1q_u8(p + 16 * i));
  return w;
}
inline void store_step(uint8_t* p, I32x16 rows) {
  for (int i = 0; i < 4; ++i) vst1q_u8(p + 16 * i, vreinterpretq_u8_s32(rows.v[i]));
}
struct StepActivation {
  int8x16_t high, low;
};
inline StepActivation broadcast_step(const int8_t* p) {
  int32_t high;
  int32_t low;
  memcpy(&high, p, 4);
  memcpy(&low, p + 64, 4);
  return {vreinterpretq_s8_s32(vdupq_n_s32(high)), vreinterpretq_s8_s32(vdupq_n_s32(low))};
}
struct StepSums {
  int32x4_t high[4], low[4];
};
inline StepSums zero_step_sums() {
  StepSums s;
  for (int i = 0; i < 4; ++i) s.high[i] = s.low[i] = vdupq_n_s32(0);
  return s;
}
inline void add_step(StepSums& s, const StepWeights& w, StepActivation x) {
  for (int i = 0; i < 4; ++i) {
    s.high[i] = vdotq_s32(s.high[i], w.v[i], x.high);
    s.low[i] = vdotq_s32(s.low[i], w.v[i], x.low);
  }
}
inline I32x16 step_total(const StepSums& s) {
  return map_i32([&](int i) { return vaddq_s32(vshlq_n_s32(s.high[i], 8), s.low[i]); });
}
template <int kStep>
inline I32x16 nibble_step(I32x16 words) {
  const Bytes64 bytes = map_bytes([&](int i) { return vreinterpretq_u8_s32(words.v[i]); });
  const Bytes64 step = kStep == 0 ? low_nibbles(bytes) : high_nibbles(bytes);
  return map_i32([&](int i) { return vreinterpretq_s32_u8(step.v[i]); });
}
#else
constexpr size_t kStepColumns = 2;
constexpr size_t kActivationStep = 4;
constexpr size_t kActivationChunk = 64;

/// The first column of 16 rows, then the second.
struct StepWeights {
  int16x8_t v[4];
};
inline StepWeights load_step(const uint8_t* p) {
  StepWeights w;
  for (int i = 0; i < 4; ++i) w.v[i] = vreinterpretq_s16_u8(vld1q_u8(p + 16 * i));
  return w;
}
inline void store_step(uint8_t* p, I32x16 rows) {
  for (int i = 0; i < 2; ++i) {
    const int16x8_t even = vreinterpretq_s16_s32(rows.v[2 * i]);
    const int16x8_t odd = vreinterpretq_s16_s32(rows.v[2 * i + 1]);
    const int16x8_t first = vuzp1q_s16(even, odd);
    const int16x8_t second = vuzp2q_s16(even, odd);
    vst1q_u8(p + 16 * i, vreinterpretq_u8_s16(first));
    vst1q_u8(p + 32 + 16 * i, vreinterpretq_u8_s16(second));
  }
}
struct StepActivation {
  int16x4_t pair;
};
inline StepActivation broadcast_step(const int8_t* p) {
  int32_t pair;
  memcpy(&pair, p, 4);
  return {vreinterpret_s16_s32(vdup_n_s32(pair))};
}
struct StepSums {
  int32x4_t v[4];
};
inline StepSums zero_step_sums() {
  StepSums s;
  for (int i = 0; i < 4; ++i) s.v[i] = vdupq_n_s32(0);
  return s;
}
inline void add_step(StepSums& s, const StepWeights& w, StepActivation x) {
  for (int i = 0; i < 2; ++i) {
    s.v[2 * i] = vmlal_lane_s16(s.v[2 * i], vget_low_s16(w.v[i]), x.pair, 0);
    s.v[2 * i] = vmlal_lane_s16(s.v[2 * i], vget_low_s16(w.v[2 + i]), x.pair, 1);
    s.v[2 * i + 1] = vmlal_high_lane_s16(s.v[2 * i + 1], w.v[i], x.pair, 0);
    s.v[2 * i + 1] = vmlal_high_lane_s16(s.v[2 * i + 1], w.v[2 + i], x.pair, 1);
  }
}
inline I32x16 step_total(const StepSums& s) {
  return map_i32([&](int i) { return s.v[i]; });
}
template <int kStep>
inline I32x16 nibble_step(I32x16 words) {
  return map_i32([&](int i) {
    const uint16x8_t halves = vreinterpretq_u16_s32(words.v[i]);
    const uint16x8_t shifted = vshlq_u16(halves, vdupq_n_s16(-4 * kStep));
    return vreinterpretq_s32_u16(vandq_u16(shifted, vdupq_n_u16(15)));
  });
}
#endif

using Numbers64 = Bytes64;
inline Numbers64 numbers_of(Bytes64 a) { return a; }
template <int kBits>
inline Numbers64 unpack_bits(const uint8_t* p) {
  static constexpr PairTables<kBits, 1> kTables;
  return map_bytes([&](int i) {
    uint8x16_t bytes;
    if constexpr (8 * kBits < 16) {
      bytes = vcombine_u8(vld1_u8(p), vdup_n_u8(0));
    } else {
      bytes = vld1q_u8(p + kTables.offset[i]);
    }
    const uint16x8_t pairs =
        vreinterpretq_u16_u8(vqtbl1q_u8(bytes, vld1q_u8(kTables.byte_index[i])));
    const uint16x8_t left = vmulq_u16(pairs, vld1q_u16(kTables.left_multiplier));
    constexpr uint16_t kMask = (1 << kBits) - 1;
    const uint16x8_t first = vandq_u16(vshrq_n_u16(left, 16 - 2 * kBits), vdupq_n_u16(kMask));
    const uint16x8_t second = vandq_u16(vshrq_n_u16(left, 8 - kBits), vdupq_n_u16(kMask << 8));
    return vreinterpretq_u8_u16(vorrq_u16(first, second));
  });
}
template <>
inline Numbers64 unpack_bits<8>(const uint8_t* p) {
  return load_bytes(p);
}
template <int kCount>
inline Bytes64 load_nibble_pairs(const uint8_t* p) {
  Bytes64 r = {{vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0)}};
  for (int i = 0; i < kCount / 32; ++i) {
    const uint8x16_t pairs = vld1q_u8(p + 16 * i);
    const uint8x16_t low = vandq_u8(pairs, vdupq_n_u8(15));
    const uint8x16_t high = vshrq_n_u8(pairs, 4);
    r.v[2 * i] = vzip1q_u8(low, high);
    r.v[2 * i + 1] = vzip2q_u8(low, high);
  }
  return r;
}
inline Bytes64 load_32s(const uint8_t* p, const uint8_t* q) {
  return {{vld1q_u8(p), vld1q_u8(p + 16), vld1q_u8(q), vld1q_u8(q + 16)}};
}
inline Bytes64 load_32_twice(const uint8_t* p) { return load_32s(p, p); }
inline Bytes64 load_16_twice(const uint8_t* p, const uint8_t* q) {
  const uint8x16_t first = vld1q_u8(p);
  const uint8x16_t second = vld1q_u8(q);
  return {{first, first, second, second}};
}
inline void store_bytes(uint8_t* p, Bytes64 a) {
  for (int i = 0; i < 4; ++i) vst1q_u8(p + 16 * i, a.v[i]);
}
inline Bytes64 operator&(Bytes64 a, uint8_t mask) {
  return map_bytes([&](int i) { return vandq_u8(a.v[i], vdupq_n_u8(mask)); });
}
inline Bytes64 operator^(Bytes64 a, uint8_t mask) {
  return map_bytes([&](int i) { return veorq_u8(a.v[i], vdupq_n_u8(mask)); });
}
inline Bytes64 operator|(Bytes64 a, Bytes64 b) {
  return map_bytes([&](int i) { return vorrq_u8(a.v[i], b.v[i]); });
}
template <int k0, int k1, int k2, int k3>
inline Bytes64 shift_left(Bytes64 a) {
  constexpr int8_t kBits[] = {k0, k1, k2, k3};
  return map_bytes([&](int i) { return vshlq_u8(a.v[i], vdupq_n_s8(kBits[i])); });
}
template <int k0, int k1, int k2, int k3>
inline Bytes64 shift_right(Bytes64 a) {
  return shift_left<-k0, -k1, -k2, -k3>(a);
}
inline Bytes64 look_up(const uint8_t* table, Bytes64 a) {
  const uint8x16_t bytes = vld1q_u8(table);
  return map_bytes([&](int i) { return vqtbl1q_u8(bytes, a.v[i]); });
}
template <uint8_t kValue>
inline Bytes64 spread_bits(uint64_t bits) {
  static constexpr uint8_t kBit[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  return map_bytes([&](int i) {
    const auto two = static_cast<uint16_t>(bits >> (16 * i));
    const uint8x16_t bytes = vcombine_u8(vdup_n_u8(static_cast<uint8_t>(two)),
                                         vdup_n_u8(static_cast<uint8_t>(two >> 8)));
    return vandq_u8(vtstq_u8(bytes, vld1q_u8(kBit)), vdupq_n_u8(kValue));
  });
}
template <uint8_t kFirst, uint8_t kSecond, uint8_t kValue>
inline Bytes64 test_bits(Bytes64 a) {
  return map_bytes([&](int i) {
    return vandq_u8(vtstq_u8(a.v[i], vdupq_n_u8(i < 2 ? kFirst : kSecond)), vdupq_n_u8(kValue));
  });
}

#if defined(__ARM_FEATURE_DOTPROD)
constexpr size_t kWordSpan = 0;
// Instructions take signed bytes: wide weights less 128.
template <bool kIsWide>
constexpr int32_t kNumbersOffset = kIsWide ? 128 : 0;
template <bool kIsWide>
inline int8x16_t signed_bytes(uint8x16_t w) {
  return vreinterpretq_s8_u8(kIsWide ? veorq_u8(w, vdupq_n_u8(0x80)) : w);
}
template <bool kIsWide>
inline I32x16 sum_numbers(Numbers64 w, const int8_t* numbers) {
  return map_i32([&](int i) {
    const int8x16_t weights = signed_bytes<kIsWide>(w.v[i]);
    const auto products = [&](const int8_t* p) {
      return vdotq_s32(vdupq_n_s32(0), weights, vld1q_s8(p + 16 * i));
    };
    return vaddq_s32(vshlq_n_s32(products(numbers), 8), products(numbers + 64));
  });
}
#else
constexpr size_t kWordSpan = 2;
template <bool kIsWide>
constexpr int32_t kNumbersOffset = 0;
template <bool kIsWide>
inline I32x16 sum_numbers(Numbers64 w, const int8_t* numbers) {
  return map_i32([&](int i) {
    const auto add_products = [&](int32x4_t sum, uint8x8_t weights, const int8_t* p) {
      const int16x8_t wide = vreinterpretq_s16_u16(vmovl_u8(weights));
      const int16x8_t x = vreinterpretq_s16_s8(vld1q_s8(p));
      return vmlal_high_s16(vmlal_s16(sum, vget_low_s16(wide), vget_low_s16(x)), wide, x);
    };
    const int8_t* const p = numbers + 32 * i;
    return add_products(add_products(vdupq_n_s32(0), vget_low_u8(w.v[i]), p), vget_high_u8(w.v[i]),
                        p + 16);
  });
}
#endif
inline I32x16 sums_of_quarters(const I32x16* v) {
  return map_i32([&](int q) {
    return vpaddq_s32(vpaddq_s32(v[0].v[q], v[1].v[q]), vpaddq_s32(v[2].v[q], v[3].v[q]));
  });
}
constexpr size_t kStepVectors = 4 / kStepColumns;
template <bool kIsWide>
inline void steps_of_numbers(Numbers64 w, I32x16 (&steps)[kStepVectors]) {
#if defined(__ARM_FEATURE_DOTPROD)
  static constexpr uint8_t kOrder[16] = {0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15};
  steps[0] = map_i32([&](int i) {
    const uint8x16_t ordered = vqtbl1q_u8(w.v[i], vld1q_u8(kOrder));
    return vreinterpretq_s32_s8(signed_bytes<kIsWide>(ordered));
  });
#else
  static constexpr uint8_t kOrder[16] = {0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15};
  for (int half = 0; half < 2; ++half) {
    steps[half] = map_i32([&](int i) {
      const uint8x16_t ordered = vqtbl1q_u8(w.v[2 * half + i / 2], vld1q_u8(kOrder));
      return vreinterpretq_s32_u16(i % 2 == 0 ? vmovl_u8(vget_low_u8(ordered))
                                              : vmovl_high_u8(ordered));
    });
  }
#endif
}

}  // namespace
}  // namespace FLASHMOE_TARGET
}  // namespace flashmoe

#endif  // FLASHMOE_KERNELS_CPU_SIMD_NEON_H_
