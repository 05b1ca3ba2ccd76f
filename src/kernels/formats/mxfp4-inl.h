// MXFP4 for CPUs: mxfp4.h has the layout. Included by kernels-inl.h.

/// Twice what the four bits stand for, plus 12.
alignas(16) constexpr uint8_t kMxfp4Bytes[16] = {12, 13, 14, 15, 16, 18, 20, 24,
                                                 12, 11, 10, 9,  8,  6,  4,  0};

struct Mxfp4 {
  static constexpr int kBlock = 32;
  static constexpr int32_t kZero = 12;
  static constexpr bool kIsWide = false;
  static constexpr bool kHasBias = false;
  static constexpr size_t kSize = 17;
  static constexpr size_t kBlockColumns = 32;

  template <int kCount>
  static Bytes64 unpack(const uint8_t* p, size_t /*col*/) {
    return look_up(kMxfp4Bytes, split_nibbles<kCount>(p + 1, kSize));
  }

  struct Scales {
    uint8_t exponent[16][16];  // [step][row]
    FM_INLINE void set(size_t r, const uint8_t* block, size_t count) {
      for (size_t i = 0; i < count; ++i) exponent[i][r] = block[kSize * i];
    }
    template <typename Use>
    FM_INLINE void for_steps(size_t count, Use use) const {
      for (size_t i = 0; i < count; ++i) {
        // 2^(e - 128), which may be subnormal, as the product of two that are not.
        const I32x16 e = load_u8(exponent[i]);
        const auto half_of = [](I32x16 twice) {
          return floats_of(shift_left<23>(shift_right<1>(twice) + broadcast_i32(127 - 64)));
        };
        use(i, half_of(e) * half_of(e + broadcast_i32(1)), set1(0.0f));
      }
    }
  };
};
