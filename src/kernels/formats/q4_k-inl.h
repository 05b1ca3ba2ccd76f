// Q4_K for CPUs: q4_k.h has the layout. Included by kernels-inl.h.

/// The 6-bit scales and minima of Q4_K and Q5_K, from the first 16 bytes of two blocks.
template <size_t kSize>
struct KScales {
  RowWords<8> words;
  FM_INLINE void set(size_t r, const uint8_t* block, size_t count) {
    words.set(r, block, 0, 4);
    if (count > 8) words.set(r, block + kSize, 4, 4);
  }
  template <typename Use>
  FM_INLINE void for_steps(size_t count, Use use) const {
    for (size_t first = 0; first < count; first += 8) {
      const I32x16 halves = words.at(first / 2);
      const I32x16 a = words.at(first / 2 + 1);
      const I32x16 b = words.at(first / 2 + 2);
      const I32x16 c = words.at(first / 2 + 3);
      const F32x16 d = lower_f16(halves);
      const F32x16 e = set1(0.0f) - upper_f16(halves);
      use_bytes(first, d, a & 0x3f3f3f3f, e, b & 0x3f3f3f3f, use);
      use_bytes(first + 4, d, (c & 0x0f0f0f0f) | (shift_right<2>(a) & 0x30303030), e,
                (shift_right<4>(c) & 0x0f0f0f0f) | (shift_right<2>(b) & 0x30303030), use);
    }
  }
};

struct Q4K {
  static constexpr int kBlock = 32;
  static constexpr int32_t kZero = 0;
  static constexpr bool kIsWide = false;
  static constexpr bool kHasBias = true;
  static constexpr size_t kSize = 144;
  static constexpr size_t kBlockColumns = 256;

  // Blocks are 256 columns, so that there are always 64.
  template <int kCount>
  static Bytes64 unpack(const uint8_t* p, size_t col) {
    const uint8_t* const q = p + 16 + col / 2;
    return shift_right<0, 0, 4, 4>(load_32_twice(q)) & 15;
  }

  using Scales = KScales<kSize>;
};
