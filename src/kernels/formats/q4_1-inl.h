// Q4_1 for CPUs: q4_1.h has the layout. Included by kernels-inl.h.

struct Q41 {
  static constexpr int kBlock = 32;
  static constexpr int32_t kZero = 0;
  static constexpr bool kIsWide = false;
  static constexpr bool kHasBias = true;
  static constexpr size_t kSize = 20;
  static constexpr size_t bytes_of(size_t columns) { return columns / 32 * kSize; }

  template <int kCount>
  static Bytes64 unpack(const uint8_t* row, size_t col) {
    const uint8_t* const p = row + bytes_of(col);
    const uint8_t* const second = kCount == 64 ? p + kSize : p;
    return shift_right<0, 4, 0, 4>(load_16_twice(p + 4, second + 4)) & 15;
  }

  static void scales(const uint8_t* row, size_t col, size_t count, F32x16& scale, F32x16& bias) {
    scale = load_f16s(row + bytes_of(col), kSize, count);
    bias = load_f16s(row + bytes_of(col) + 2, kSize, count);
  }
};
