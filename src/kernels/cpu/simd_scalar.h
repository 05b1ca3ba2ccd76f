// The vector types of docs/numerics.md in plain C++: what the other simd_*.h are measured by.
// Included by target_scalar.cc only; the functions are described here for all targets.
#ifndef FLASHMOE_KERNELS_CPU_SIMD_SCALAR_H_
#define FLASHMOE_KERNELS_CPU_SIMD_SCALAR_H_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/cpu/unpack_tables.h"
#include "tensor/float_bits.h"

namespace flashmoe::scalar {
namespace {

/// Tile of float weight rows x activation rows that fits the registers.
constexpr int kWeightTile = 2;
constexpr int kRowTile = 4;
/// The same of chains (chain-inl.h), in vectors of 16 weight rows.
constexpr int kChainVectors = 1;
constexpr int kChainRows = 4;
/// Activation rows that share one reading of weights row by row.
constexpr size_t kFewRows = 2;
/// Activation rows from which on weights are unpacked in tiles (bench/results/kernels.md).
constexpr size_t kTiledRowsMin = 3;
/// Keys that query heads meet at a time, how many of those, and vectors of a value's dimensions.
constexpr int kKeyTile = 4;
constexpr int kHeadTile = 1;
constexpr int kValueTile = 8;

/// 16 floats, one per virtual lane.
struct F32x16 {
  float lane[16];
};
/// 16 32-bit sums.
struct I32x16 {
  int32_t lane[16];
};

template <typename Fn>
inline F32x16 map(Fn fn) {
  F32x16 r;
  for (int i = 0; i < 16; ++i) r.lane[i] = fn(i);
  return r;
}
inline uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return bits;
}
inline float float_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, 4);
  return x;
}

inline F32x16 set1(float x) {
  return map([&](int) { return x; });
}
inline F32x16 load(const float* p) {
  F32x16 r;
  memcpy(r.lane, p, sizeof(r.lane));
  return r;
}
/// The first n <= 16 lanes; zeros in the others.
inline F32x16 load_n(const float* p, size_t n) {
  F32x16 r = {};
  memcpy(r.lane, p, n * sizeof(float));
  return r;
}
inline void store(float* p, F32x16 a) { memcpy(p, a.lane, sizeof(a.lane)); }
inline void store_n(float* p, F32x16 a, size_t n) { memcpy(p, a.lane, n * sizeof(float)); }
/// 16 elements at any address, widened.
inline F32x16 load_bf16(const uint8_t* p) {
  return map([&](int i) { return float_from_bf16(load_unaligned<uint16_t>(p + 2 * i)); });
}
inline F32x16 load_f16(const uint8_t* p) {
  return map([&](int i) { return float_from_f16(load_unaligned<uint16_t>(p + 2 * i)); });
}
/// 16 signed bytes as floats.
inline F32x16 load_i8(const uint8_t* p) {
  return map([&](int i) { return static_cast<float>(static_cast<int8_t>(p[i])); });
}
inline F32x16 load_f32(const uint8_t* p) {
  F32x16 r;
  memcpy(r.lane, p, sizeof(r.lane));
  return r;
}
/// 16 of E4M3, NaN among them, exactly.
inline F32x16 load_e4m3(const uint8_t* p) {
  return map([&](int i) {
    // As an IEEE half, whose exponents are 8 more.
    const uint32_t magnitude = p[i] & 0x7fu;
    const uint32_t half = magnitude == 0x7f ? 0x7e00 : magnitude << 7;
    return float_from_f16(static_cast<uint16_t>(half | (p[i] & 0x80u) << 8)) * 256.0f;
  });
}
// The first n of 16, never reading past them; zeros in the other lanes.
inline F32x16 load_bf16_n(const uint8_t* p, size_t n) {
  uint8_t bytes[32] = {};
  memcpy(bytes, p, 2 * n);
  return load_bf16(bytes);
}
inline F32x16 load_f16_n(const uint8_t* p, size_t n) {
  uint8_t bytes[32] = {};
  memcpy(bytes, p, 2 * n);
  return load_f16(bytes);
}
inline F32x16 load_f32_n(const uint8_t* p, size_t n) {
  uint8_t bytes[64] = {};
  memcpy(bytes, p, 4 * n);
  return load_f32(bytes);
}

inline F32x16 operator+(F32x16 a, F32x16 b) {
  return map([&](int i) { return a.lane[i] + b.lane[i]; });
}
inline F32x16 operator-(F32x16 a, F32x16 b) {
  return map([&](int i) { return a.lane[i] - b.lane[i]; });
}
inline F32x16 operator*(F32x16 a, F32x16 b) {
  return map([&](int i) { return a.lane[i] * b.lane[i]; });
}
inline F32x16 operator/(F32x16 a, F32x16 b) {
  return map([&](int i) { return a.lane[i] / b.lane[i]; });
}
/// a * b + c, and c - a * b, rounded once.
inline F32x16 fma(F32x16 a, F32x16 b, F32x16 c) {
  return map([&](int i) { return __builtin_fmaf(a.lane[i], b.lane[i], c.lane[i]); });
}
inline F32x16 fnma(F32x16 a, F32x16 b, F32x16 c) {
  return map([&](int i) { return __builtin_fmaf(-a.lane[i], b.lane[i], c.lane[i]); });
}
/// a > b ? a : b, and a < b ? a : b: b where either is NaN.
inline F32x16 max(F32x16 a, F32x16 b) {
  return map([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
}
inline F32x16 min(F32x16 a, F32x16 b) {
  return map([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
}
/// x < y ? a : b
inline F32x16 select_less(F32x16 x, F32x16 y, F32x16 a, F32x16 b) {
  return map([&](int i) { return x.lane[i] < y.lane[i] ? a.lane[i] : b.lane[i]; });
}
/// The larger of m and |a| as bits, so that NaN counts as larger than infinity. m >= 0.
inline F32x16 max_magnitude(F32x16 m, F32x16 a) {
  return map([&](int i) {
    const uint32_t magnitude = bits_of(a.lane[i]) & 0x7fffffffu;
    return float_of(bits_of(m.lane[i]) > magnitude ? bits_of(m.lane[i]) : magnitude);
  });
}
/// The float whose bits are a's, shifted left by 23.
inline F32x16 shift_bits_left_23(F32x16 a) {
  return map([&](int i) { return float_of(bits_of(a.lane[i]) << 23); });
}
/// The low 16 bits of every lane.
inline void store_low_16(int16_t* p, F32x16 a) {
  for (int i = 0; i < 16; ++i) p[i] = static_cast<int16_t>(bits_of(a.lane[i]) & 0xffffu);
}

template <typename Fn>
inline float tree(F32x16 a, Fn fn) {
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) a.lane[i] = fn(a.lane[i], a.lane[i + half]);
  }
  return a.lane[0];
}
/// lane[i] += lane[i + half] for half = 8, 4, 2, 1.
inline float reduce_add(F32x16 a) {
  return tree(a, [](float x, float y) { return x + y; });
}
/// reduce_add of each.
inline void reduce_add_4(const F32x16* a, float* sums) {
  for (int i = 0; i < 4; ++i) sums[i] = reduce_add(a[i]);
}
/// The same tree of max(lane[i], lane[i + half]).
inline float reduce_max(F32x16 a) {
  return tree(a, [](float x, float y) { return x > y ? x : y; });
}
inline float reduce_max_magnitude(F32x16 a) {
  return tree(a, [](float x, float y) { return bits_of(x) > bits_of(y) ? x : y; });
}

inline I32x16 zero_i32() { return {}; }
/// The floats nearest to the lanes, halves to even.
inline F32x16 to_float(I32x16 a) {
  return map([&](int i) { return static_cast<float>(a.lane[i]); });
}
inline I32x16 broadcast_i32(int32_t x) {
  I32x16 r;
  for (int32_t& lane : r.lane) lane = x;
  return r;
}
inline I32x16 load(const int32_t* p) {
  I32x16 r;
  memcpy(r.lane, p, sizeof(r.lane));
  return r;
}
inline void store(int32_t* p, I32x16 a) { memcpy(p, a.lane, sizeof(a.lane)); }
inline I32x16 operator+(I32x16 a, I32x16 b) {
  for (int i = 0; i < 16; ++i) a.lane[i] += b.lane[i];
  return a;
}
inline I32x16 load_u8(const uint8_t* p) {
  I32x16 r;
  for (int i = 0; i < 16; ++i) r.lane[i] = p[i];
  return r;
}
template <typename Fn>
inline I32x16 map_bits(I32x16 a, Fn fn) {
  for (int32_t& lane : a.lane) lane = static_cast<int32_t>(fn(static_cast<uint32_t>(lane)));
  return a;
}
inline I32x16 operator&(I32x16 a, uint32_t mask) {
  return map_bits(a, [=](uint32_t x) { return x & mask; });
}
inline I32x16 operator^(I32x16 a, uint32_t mask) {
  return map_bits(a, [=](uint32_t x) { return x ^ mask; });
}
inline I32x16 operator|(I32x16 a, const I32x16& b) {
  for (int i = 0; i < 16; ++i) a.lane[i] |= b.lane[i];
  return a;
}
/// Zeros come in.
template <int kBits>
inline I32x16 shift_right(I32x16 a) {
  return map_bits(a, [](uint32_t x) { return x >> kBits; });
}
template <int kBits>
inline I32x16 shift_left(I32x16 a) {
  return map_bits(a, [](uint32_t x) { return x << kBits; });
}
/// Of a, then of b: quarters 0 and 1 added, then 2 and 3.
inline I32x16 add_quarters(I32x16 a, I32x16 b) {
  I32x16 r;
  for (int i = 0; i < 16; ++i) {
    const I32x16& from = i < 8 ? a : b;
    r.lane[i] = from.lane[i % 8 / 4 * 8 + i % 4] + from.lane[i % 8 / 4 * 8 + 4 + i % 4];
  }
  return r;
}
/// Row i's lane j to row j's lane i.
inline void transpose_16(I32x16 (&rows)[16]) {
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < i; ++j) {
      const int32_t other = rows[j].lane[i];
      rows[j].lane[i] = rows[i].lane[j];
      rows[i].lane[j] = other;
    }
  }
}
/// The first n <= 16 words, never reading past them; zeros in the other lanes. n is a multiple
/// of 4.
inline I32x16 load_words(const uint8_t* p, size_t n) {
  I32x16 r = {};
  memcpy(r.lane, p, 4 * n);
  return r;
}
/// n <= 16 scales in the upper halves of the lanes, biases in the lower ones; zeros in the others.
inline I32x16 load_pairs(const uint8_t* scales, const uint8_t* biases, size_t n) {
  I32x16 r = {};
  for (size_t i = 0; i < n; ++i) {
    const uint32_t scale = load_unaligned<uint16_t>(scales + 2 * i);
    r.lane[i] = static_cast<int32_t>(scale << 16 | load_unaligned<uint16_t>(biases + 2 * i));
  }
  return r;
}
/// The halves that load_pairs put together, widened.
inline F32x16 upper_bf16(I32x16 a) {
  return map([&](int i) { return float_of(static_cast<uint32_t>(a.lane[i]) & 0xffff0000u); });
}
inline F32x16 lower_bf16(I32x16 a) {
  return map([&](int i) { return float_of(static_cast<uint32_t>(a.lane[i]) << 16); });
}
inline F32x16 upper_f16(I32x16 a) {
  return map([&](int i) {
    return float_from_f16(static_cast<uint16_t>(static_cast<uint32_t>(a.lane[i]) >> 16));
  });
}
inline F32x16 lower_f16(I32x16 a) {
  return map([&](int i) { return float_from_f16(static_cast<uint16_t>(a.lane[i])); });
}
inline I32x16 bits_of(F32x16 a) {
  I32x16 r;
  memcpy(r.lane, a.lane, sizeof(r.lane));
  return r;
}
inline F32x16 floats_of(I32x16 a) {
  F32x16 r;
  memcpy(r.lane, a.lane, sizeof(r.lane));
  return r;
}

/// 16 lanes of 4 bytes.
struct Bytes64 {
  uint8_t byte[64];
};
inline Bytes64 load_bytes(const void* p) {
  Bytes64 r;
  memcpy(r.byte, p, sizeof(r.byte));
  return r;
}
/// Of 32 numbers each 8 in kWordOrder.
inline void order_words(const int16_t* q, int16_t* words) {
  for (int i = 0; i < 32; ++i) words[i] = q[i / 8 * 8 + kWordOrder[i % 8]];
}
/// Of 32 numbers q = 256 high + low, |q| <= 32639: the planes, of each 8 numbers the even ones
/// before the odd ones.
inline void split_planes(const int16_t* q, int8_t* high, int8_t* low) {
  for (int i = 0; i < 32; ++i) {
    const int number = q[i / 8 * 8 + i % 4 * 2 + i / 4 % 2];
    const int h = (number + 128) >> 8;
    high[i] = static_cast<int8_t>(h);
    low[i] = static_cast<int8_t>(number - 256 * h);
  }
}

/// Lane 4s + j gets lane 4s.
inline Bytes64 repeat_firsts(const Bytes64& a) {
  Bytes64 r;
  for (int i = 0; i < 64; ++i) r.byte[i] = a.byte[i / 16 * 16 + i % 4];
  return r;
}

/// 512 4-bit numbers in 4 x 64 bytes. Of bytes [64j + 16s, 64j + 16s + 16) lane 4s + j holds one
/// word of 8 numbers in each part, in their order.
struct NibbleBlock {
  Bytes64 part[4];
};
inline NibbleBlock load_nibbles(const uint8_t* p) {
  NibbleBlock r;
  for (int lane = 0; lane < 16; ++lane) {
    for (int part = 0; part < 4; ++part) {
      memcpy(r.part[part].byte + 4 * lane, p + 64 * (lane % 4) + 16 * (lane / 4) + 4 * part, 4);
    }
  }
  return r;
}
/// Which bytes of the 4 lines of 64 are there: the first `size` < 256, or the first `size` of each;
/// sizes are multiples of 16.
struct NibbleMask {
  explicit NibbleMask(size_t size) {
    for (size_t i = 0; i < 4; ++i) line[i] = size < 64 * i ? 0 : size - 64 * i;
    for (size_t& bytes : line) bytes = bytes < 64 ? bytes : 64;
  }
  static NibbleMask lines(size_t size) {
    NibbleMask mask(0);
    for (size_t& bytes : mask.line) bytes = size;
    return mask;
  }
  size_t line[4];
};
/// The same of lines `stride` bytes apart; zeros for bytes that are not there, which are not read.
inline NibbleBlock load_nibbles(const uint8_t* p, size_t stride, const NibbleMask& mask) {
  uint8_t bytes[256] = {};
  for (size_t i = 0; i < 4; ++i) memcpy(bytes + 64 * i, p + i * stride, mask.line[i]);
  return load_nibbles(bytes);
}
/// Numbers 0, 2, 4, 6 and 1, 3, 5, 7 of each lane's word.
inline Bytes64 low_nibbles(Bytes64 a) {
  for (uint8_t& byte : a.byte) byte &= 15;
  return a;
}
inline Bytes64 high_nibbles(Bytes64 a) {
  for (uint8_t& byte : a.byte) byte = static_cast<uint8_t>(byte >> 4);
  return a;
}

/// Exact sums of nibbles times planes, for up to the 8 products of 4 bytes that one block has.
struct PlaneSums {
  I32x16 high, low;
};
inline PlaneSums zero_sums() { return {}; }
inline PlaneSums add_products(PlaneSums s, const Bytes64& w, const Bytes64& high,
                              const Bytes64& low) {
  for (int i = 0; i < 64; ++i) {
    s.high.lane[i / 4] += w.byte[i] * static_cast<int8_t>(high.byte[i]);
    s.low.lane[i / 4] += w.byte[i] * static_cast<int8_t>(low.byte[i]);
  }
  return s;
}
/// 256 high + low
inline I32x16 total(const PlaneSums& s) {
  I32x16 r;
  for (int i = 0; i < 16; ++i) r.lane[i] = 256 * s.high.lane[i] + s.low.lane[i];
  return r;
}

// What a chain's integer sums are made of (chain-inl.h). A step is what 16 weight rows and one
// activation row multiply at once: here 2 columns, as words; other targets take 4, as bytes.

constexpr size_t kStepColumns = 2;
/// Bytes from step to step of one row's activations, and from the first chunk of 64 columns to the
/// second.
constexpr size_t kActivationStep = 4;
constexpr size_t kActivationChunk = 64;

struct StepWeights {
  int16_t word[32];  // 2 of each of 16 rows
};
inline StepWeights load_step(const uint8_t* p) {
  StepWeights w;
  memcpy(w.word, p, sizeof(w.word));
  return w;
}
/// Of words that are each one row's, as many columns as a step has.
inline void store_step(uint8_t* p, I32x16 rows) { memcpy(p, rows.lane, sizeof(rows.lane)); }
struct StepActivation {
  int16_t word[2];
};
inline StepActivation broadcast_step(const int8_t* p) {
  StepActivation x;
  memcpy(x.word, p, sizeof(x.word));
  return x;
}
struct StepSums {
  I32x16 sum;
};
inline StepSums zero_step_sums() { return {}; }
inline void add_step(StepSums& s, const StepWeights& w, const StepActivation& x) {
  for (int i = 0; i < 16; ++i) {
    s.sum.lane[i] += w.word[2 * i] * x.word[0] + w.word[2 * i + 1] * x.word[1];
  }
}
inline I32x16 step_total(const StepSums& s) { return s.sum; }
/// Of words of 8 nibbles step number kStep, in the order of kWordOrder.
template <int kStep>
inline I32x16 nibble_step(I32x16 words) {
  for (int32_t& word : words.lane) {
    word = static_cast<int32_t>(static_cast<uint32_t>(word) >> (4 * kStep) & 0x000f000fu);
  }
  return words;
}

// What formats of blocks unpack with (blocks-inl.h): 64 bytes, of 64 columns in their order.

/// 64 numbers of kBits bits, element e in bits [e * kBits, ...) of the 8 * kBits bytes that are
/// read.
template <int kBits>
inline Bytes64 unpack_bits(const uint8_t* p) {
  Bytes64 r;
  for (int i = 0; i < 64; ++i) {
    const int bit = i * kBits;
    uint32_t window = p[bit / 8];
    if (bit % 8 + kBits > 8) window |= uint32_t{p[bit / 8 + 1]} << 8;
    r.byte[i] = static_cast<uint8_t>((window >> (bit % 8)) & ((1u << kBits) - 1));
  }
  return r;
}
/// The four bits of kCount columns, 32 or 64, two to a byte, the low ones first.
template <int kCount>
inline Bytes64 load_nibble_pairs(const uint8_t* p) {
  Bytes64 r = {};
  for (int i = 0; i < kCount; ++i) {
    r.byte[i] = static_cast<uint8_t>(p[i / 2] >> (4 * (i % 2)) & 15);
  }
  return r;
}
/// 32 bytes of each.
inline Bytes64 load_32s(const uint8_t* p, const uint8_t* q) {
  Bytes64 r;
  memcpy(r.byte, p, 32);
  memcpy(r.byte + 32, q, 32);
  return r;
}
inline Bytes64 load_32_twice(const uint8_t* p) { return load_32s(p, p); }
/// 16 bytes of p twice, then of q.
inline Bytes64 load_16_twice(const uint8_t* p, const uint8_t* q) {
  Bytes64 r;
  for (int i = 0; i < 4; ++i) memcpy(r.byte + 16 * i, i < 2 ? p : q, 16);
  return r;
}
inline void store_bytes(uint8_t* p, const Bytes64& a) { memcpy(p, a.byte, 64); }
template <typename Fn>
inline Bytes64 map_bytes(Fn fn) {
  Bytes64 r;
  for (int i = 0; i < 64; ++i) r.byte[i] = static_cast<uint8_t>(fn(i));
  return r;
}
inline Bytes64 operator&(const Bytes64& a, uint8_t mask) {
  return map_bytes([&](int i) { return a.byte[i] & mask; });
}
inline Bytes64 operator^(const Bytes64& a, uint8_t mask) {
  return map_bytes([&](int i) { return a.byte[i] ^ mask; });
}
inline Bytes64 operator|(const Bytes64& a, const Bytes64& b) {
  return map_bytes([&](int i) { return a.byte[i] | b.byte[i]; });
}
/// Each 16 bytes shifted by bits of their own. What comes from other bytes is for `&` to take
/// away.
template <int k0, int k1, int k2, int k3>
inline Bytes64 shift_right(const Bytes64& a) {
  constexpr int kBits[] = {k0, k1, k2, k3};
  return map_bytes([&](int i) { return a.byte[i] >> kBits[i / 16]; });
}
template <int k0, int k1, int k2, int k3>
inline Bytes64 shift_left(const Bytes64& a) {
  constexpr int kBits[] = {k0, k1, k2, k3};
  return map_bytes([&](int i) { return a.byte[i] << kBits[i / 16]; });
}
/// table[a], of bytes below 16.
inline Bytes64 look_up(const uint8_t* table, const Bytes64& a) {
  return map_bytes([&](int i) { return table[a.byte[i]]; });
}
/// kValue where the bit of the column is set, else 0.
template <uint8_t kValue>
inline Bytes64 spread_bits(uint64_t bits) {
  return map_bytes([&](int i) { return (bits >> i & 1) != 0 ? kValue : 0; });
}
/// kValue where a has a bit of kFirst, in the second 32 bytes of kSecond, else 0.
template <uint8_t kFirst, uint8_t kSecond, uint8_t kValue>
inline Bytes64 test_bits(const Bytes64& a) {
  return map_bytes(
      [&](int i) { return (a.byte[i] & (i < 32 ? kFirst : kSecond)) != 0 ? kValue : 0; });
}

/// 64 unsigned numbers of a row as they are multiplied with ActivationRow::numbers.
using Numbers64 = Bytes64;
inline Numbers64 numbers_of(const Bytes64& a) { return a; }
/// 0: ActivationRow::numbers are planes of bytes. Else words, of each so many columns the even
/// ones before the odd ones.
constexpr size_t kWordSpan = 2;
/// What is to be added for each 1 of an activation, where numbers are taken as signed bytes.
template <bool kIsWide>
constexpr int32_t kNumbersOffset = 0;
/// The products of weights, above 127 only if kIsWide, with 64 of ActivationRow::numbers: lanes
/// 4 q to 4 q + 3 share the sum of columns 16 q to 16 q + 15.
template <bool kIsWide>
inline I32x16 sum_numbers(const Numbers64& w, const int8_t* numbers) {
  int16_t words[64];
  memcpy(words, numbers, sizeof(words));
  I32x16 r = {};
  for (int i = 0; i < 64; ++i) r.lane[i / 4] += w.byte[i] * words[i];
  return r;
}
/// Lane 4 q + i: the sum of lanes 4 q to 4 q + 3 of v[i].
inline I32x16 sums_of_quarters(const I32x16* v) {
  I32x16 r = {};
  for (int i = 0; i < 64; ++i) r.lane[i % 16 / 4 * 4 + i / 16] += v[i / 16].lane[i % 16];
  return r;
}
/// Vectors that 64 columns of a row are in words of steps, and those.
constexpr size_t kStepVectors = 4 / kStepColumns;
template <bool kIsWide>
inline void steps_of_numbers(const Numbers64& w, I32x16 (&steps)[kStepVectors]) {
  int16_t words[64];
  for (int i = 0; i < 64; ++i) words[i] = w.byte[i / 8 * 8 + kWordOrder[i % 8]];
  memcpy(steps, words, sizeof(words));
}

}  // namespace
}  // namespace flashmoe::scalar

#endif  // FLASHMOE_KERNELS_CPU_SIMD_SCALAR_H_
