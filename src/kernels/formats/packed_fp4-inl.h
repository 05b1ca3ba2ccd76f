// Floats of four bits with a plane of scales, for CPUs: packed_fp4.h has the layout. Included by
// kernels-inl.h.

/// Scales of 2^(e - 128): half of what E8M0 says, since numbers are doubled. NaN for 255.
struct HalfE8m0 {
  FM_INLINE void begin(const WeightRows& /*weights*/) {}
  FM_INLINE F32x16 scale_of(I32x16 e) const {
    // It may be subnormal: the product of two that are not.
    const auto half_of = [](I32x16 twice) {
      return floats_of(shift_left<23>(shift_right<1>(twice) + broadcast_i32(127 - 64)));
    };
    return select_less(to_float(e), set1(255.0f), half_of(e) * half_of(e + broadcast_i32(1)),
                       set1(__builtin_nanf("")));
  }
};
/// Scales of E4M3 s / 2, or s (G / 2688) / 2.
struct HalfE4m3 {
  F32x16 factor;
  FM_INLINE void begin(const WeightRows& weights) {
    float global = 2688.0f;
    if (weights.planes[2] != nullptr) memcpy(&global, weights.planes[2], 4);
    factor = set1(global / 2688.0f * 0.5f);
  }
  FM_INLINE F32x16 scale_of(I32x16 code) const {
    // As an IEEE half, whose exponents are 8 more.
    const I32x16 magnitude = code & 0x7f;
    const F32x16 value =
        lower_f16(shift_left<7>(magnitude) | shift_left<8>(code & 0x80)) * set1(256.0f);
    return select_less(to_float(magnitude), set1(127.0f), value, set1(__builtin_nanf(""))) * factor;
  }
};

/// The scales of 16 rows and 16 float steps, a byte each, as `Code` reads them.
template <typename Code>
struct ByteScales {
  Code code;
  RowWords<4> words;
  FM_INLINE void begin(const WeightRows& weights) { code.begin(weights); }
  FM_INLINE void set(size_t r, const uint8_t* p, size_t count) {
    if (count == 16) {
      words.set(r, p);
    } else {
      uint8_t bytes[16] = {};
      memcpy(bytes, p, count);
      words.set(r, bytes);
    }
  }
  template <typename Use>
  FM_INLINE void for_steps(size_t count, Use use) const {
    repeat<4>([&](auto word) FM_INLINE {
      const I32x16 four = words.at(word);
      repeat<4>([&](auto i) FM_INLINE {
        const size_t step = 4 * word + i;
        if (step < count) use(step, code.scale_of(byte_of<i>(four)), set1(0.0f));
      });
    });
  }
};

template <int kGroupColumns, typename Code>
struct PackedFp4 {
  static constexpr int kBlock = kGroupColumns;
  static constexpr int32_t kZero = 12;
  static constexpr bool kIsWide = false;
  static constexpr bool kHasBias = false;
  static constexpr size_t kSize = 16;
  static constexpr size_t kBlockColumns = 32;
  static constexpr size_t kScaleSize = 1;

  template <int kCount>
  static Bytes64 unpack(const uint8_t* p, size_t /*col*/) {
    return look_up(kMxfp4Bytes, load_nibble_pairs<kCount>(p));
  }
  /// With the zeros' signs, which unpack() does not keep.
  static float number(const uint8_t* block, size_t col) {
    const uint32_t code = block[col / 2] >> (4 * (col % 2)) & 15;
    const auto magnitude = static_cast<float>(kMxfp4Bytes[code & 7] - kZero);
    return code < 8 ? magnitude : -magnitude;
  }

  using Scales = ByteScales<Code>;
};
using PackedMxfp4 = PackedFp4<32, HalfE8m0>;
using PackedNvfp4 = PackedFp4<16, HalfE4m3>;
