// Q5_K for CPUs: q5_k.h has the layout. Included by kernels-inl.h.

struct Q5K {
  static constexpr int kBlock = 32;
  static constexpr int32_t kZero = 0;
  static constexpr bool kIsWide = false;
  static constexpr bool kHasBias = true;
  static constexpr size_t kSize = 176;
  static constexpr size_t bytes_of(size_t columns) { return columns / 256 * kSize; }

  // Blocks are 256 columns, so that there are always 64.
  template <int kCount>
  static Bytes64 unpack(const uint8_t* row, size_t col) {
    const uint8_t* const p = row + bytes_of(col);
    const uint8_t* const q = p + 48 + col % 256 / 2;
    const Bytes64 four = shift_right<0, 0, 4, 4>(load_32s(q, q)) & 15;
    const Bytes64 h = load_32s(p + 16, p + 16);
    switch (col % 256 / 64) {
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

  static void scales(const uint8_t* row, size_t col, size_t count, F32x16& scale, F32x16& bias) {
    const uint8_t* const p = row + bytes_of(col);
    load_k_scales(p, count > 8 ? p + kSize : p, scale, bias);
  }
};
