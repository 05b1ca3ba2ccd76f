// Q3_K for CPUs: q3_k.h has the layout. Included by kernels-inl.h.

struct Q3K {
  static constexpr int kBlock = 16;
  static constexpr int32_t kZero = 4;
  static constexpr bool kIsWide = false;
  static constexpr bool kHasBias = false;
  static constexpr size_t kSize = 110;
  static constexpr size_t kBlockColumns = 256;

  // Blocks are 256 columns, so that there are always 64.
  template <int kCount>
  static Bytes64 unpack(const uint8_t* p, size_t col) {
    const uint8_t* const q = p + 32 + col / 128 * 32;
    const Bytes64 two = load_32_twice(q);
    const Bytes64 h = load_32_twice(p);
    switch (col / 64) {
      case 0:
        return (shift_right<0, 0, 2, 2>(two) & 3) | test_bits<1, 2, 4>(h);
      case 1:
        return (shift_right<4, 4, 6, 6>(two) & 3) | test_bits<4, 8, 4>(h);
      case 2:
        return (shift_right<0, 0, 2, 2>(two) & 3) | test_bits<16, 32, 4>(h);
      default:
        return (shift_right<4, 4, 6, 6>(two) & 3) | test_bits<64, 128, 4>(h);
    }
  }

  struct Scales {
    RowWords<3> words;
    RowHalves halves;
    FM_INLINE void set(size_t r, const uint8_t* block, size_t /*count*/) {
      words.set(r, block + 96);
      halves.set(r, block + 108);
    }
    template <typename Use>
    FM_INLINE void for_steps(size_t /*count*/, Use use) const {
      const F32x16 d = halves.floats();
      repeat<4>([&](auto word) FM_INLINE {
        const I32x16 four = shift_right<word / 2 * 4>(words.at(word % 2)) & 0x0f0f0f0f;
        const I32x16 upper = shift_right<2 * word>(words.at(2)) & 0x03030303;
        use_bytes(4 * word, d, four | shift_left<4>(upper), 32, use);
      });
    }
  };
};
