// IQ4_XS for CPUs: iq4_xs.h has the layout. Included by kernels-inl.h.

struct Iq4Xs {
  static constexpr int kBlock = 32;
  static constexpr int32_t kZero = 128;
  static constexpr bool kIsWide = true;
  static constexpr bool kHasBias = false;
  static constexpr size_t kSize = 136;
  static constexpr size_t kBlockColumns = 256;

  // Blocks are 256 columns, so that there are always 64.
  template <int kCount>
  static Bytes64 unpack(const uint8_t* p, size_t col) {
    return look_up(kIq4Bytes, split_nibbles<kCount>(p + 8 + col / 2, 16));
  }

  struct Scales {
    RowWords<4> words;
    FM_INLINE void set(size_t r, const uint8_t* block, size_t count) {
      words.set(r, block, 0, 2);
      if (count > 8) words.set(r, block + kSize, 2, 2);
    }
    template <typename Use>
    FM_INLINE void for_steps(size_t count, Use use) const {
      for (size_t first = 0; first < count; first += 8) {
        const I32x16 halves = words.at(first / 4);
        const I32x16 four = words.at(first / 4 + 1);
        const F32x16 d = lower_f16(halves);
        repeat<8>([&](auto i) FM_INLINE {
          // 2 of the 6 bits are in h, the upper half of the first word.
          const I32x16 upper = shift_right<16 + 2 * i>(halves) & 3;
          const I32x16 s = (shift_right<4 * i>(four) & 15) | shift_left<4>(upper);
          use(first + i, d * to_float(s + broadcast_i32(-32)), set1(0.0f));
        });
      }
    }
  };
};
