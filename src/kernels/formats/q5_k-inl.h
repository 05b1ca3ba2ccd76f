// Q5_K for CPUs: q5_k.h has the layout. Included by kernels-inl.h.

struct Q5K {
  static constexpr int kBlock = 32;
  static constexpr int32_t kZero = 0;
  static constexpr bool kIsWide = false;
  static constexpr bool kHasBias = true;
  static constexpr size_t kSize = 176;
  static constexpr size_t kBlockColumns = 256;

  // Blocks are 256 columns, so that there are always 64.
  template <int kCount>
  static Bytes64 unpack(const uint8_t* p, size_t col) {
    const uint8_t* const q = p + 48 + col / 2;
    const Bytes64 four = shift_right<0, 0, 4, 4>(load_32_twice(q)) & 15;
    const Bytes64 h = load_32_twice(p + 16);
    switch (col / 64) {
      case 0:
        return four | test_bits<1, 2, 16>(h);
      case 1:
        return four | test_bits<4, 8, 16>(h);
      case 2:
        return four | test_bits<16, 32, 16>(h);
      default:
        return four | test_bits<64, 128, 16>(h);
    }
  }

  using Scales = KScales<kSize>;
};
