// Q6_K for CPUs: q6_k.h has the layout. Included by kernels-inl.h.

struct Q6K {
  static constexpr int kBlock = 16;
  static constexpr int32_t kZero = 32;
  static constexpr bool kIsWide = false;
  static constexpr bool kHasBias = false;
  static constexpr size_t kSize = 210;
  static constexpr size_t kBlockColumns = 256;

  // Blocks are 256 columns, so that there are always 64.
  template <int kCount>
  static Bytes64 unpack(const uint8_t* p, size_t col) {
    const size_t half = col / 128;
    const Bytes64 q = load_bytes(p + 64 * half);
    const Bytes64 h = load_32_twice(p + 128 + 32 * half);
    return col % 128 == 0 ? (q & 15) | (shift_left<4, 4, 2, 2>(h) & 48)
                          : (shift_right<4, 4, 4, 4>(q) & 15) | (shift_right<0, 0, 2, 2>(h) & 48);
  }

  struct Scales {
    RowWords<4> words;
    RowHalves halves;
    FM_INLINE void set(size_t r, const uint8_t* block, size_t /*count*/) {
      words.set(r, block + 192);
      halves.set(r, block + 208);
    }
    template <typename Use>
    FM_INLINE void for_steps(size_t /*count*/, Use use) const {
      const F32x16 d = halves.floats();
      repeat<4>([&](auto word) FM_INLINE {
        // Signed bytes, as unsigned ones less 128.
        use_bytes(4 * word, d, words.at(word) ^ 0x80808080, 128, use);
      });
    }
  };
};
