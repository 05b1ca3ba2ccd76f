// Q2_K for CPUs: q2_k.h has the layout. Included by kernels-inl.h.

struct Q2K {
  static constexpr int kBlock = 16;
  static constexpr int32_t kZero = 0;
  static constexpr bool kIsWide = false;
  static constexpr bool kHasBias = true;
  static constexpr size_t kSize = 84;
  static constexpr size_t kBlockColumns = 256;

  // Blocks are 256 columns, so that there are always 64.
  template <int kCount>
  static Bytes64 unpack(const uint8_t* p, size_t col) {
    const uint8_t* const q = p + 16 + col / 128 * 32;
    const Bytes64 two = load_32_twice(q);
    return (col % 128 == 0 ? shift_right<0, 0, 2, 2>(two) : shift_right<4, 4, 6, 6>(two)) & 3;
  }

  struct Scales {
    RowWords<5> words;
    FM_INLINE void set(size_t r, const uint8_t* block, size_t /*count*/) {
      words.set(r, block, 0, 4);
      words.set(r, block + 80, 4, 1);
    }
    template <typename Use>
    FM_INLINE void for_steps(size_t /*count*/, Use use) const {
      const F32x16 d = lower_f16(words.at(4));
      const F32x16 e = set1(0.0f) - upper_f16(words.at(4));
      repeat<4>([&](auto word) FM_INLINE {
        const I32x16 scales = words.at(word) & 0x0f0f0f0f;
        const I32x16 minima = shift_right<4>(words.at(word)) & 0x0f0f0f0f;
        use_bytes(4 * word, d, scales, e, minima, use);
      });
    }
  };
};
