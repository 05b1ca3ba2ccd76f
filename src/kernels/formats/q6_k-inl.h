// Q6_K for CPUs: q6_k.h has the layout. Included by kernels-inl.h.

struct Q6K {
  static constexpr int kBlock = 16;
  static constexpr int32_t kZero = 32;
  static constexpr bool kIsWide = false;
  static constexpr bool kHasBias = false;
  static constexpr size_t kSize = 210;
  static constexpr size_t bytes_of(size_t columns) { return columns / 256 * kSize; }

  // Blocks are 256 columns, so that there are always 64.
  template <int kCount>
  static Bytes64 unpack(const uint8_t* row, size_t col) {
    const uint8_t* const p = row + bytes_of(col);
    const size_t half = col % 256 / 128;
    const Bytes64 q = load_64(p + 64 * half);
    const Bytes64 h = load_32s(p + 128 + 32 * half, p + 128 + 32 * half);
    return col % 128 == 0 ? (q & 15) | (shift_left<4, 4, 2, 2>(h) & 48)
                          : (shift_right<4, 4, 4, 4>(q) & 15) | (shift_right<0, 0, 2, 2>(h) & 48);
  }

  static void scales(const uint8_t* row, size_t col, size_t /*count*/, F32x16& scale,
                     F32x16& /*bias*/) {
    const uint8_t* const p = row + bytes_of(col);
    scale = set1_f16(p + 208) * floats_of_i8(p + 192);
  }
};
