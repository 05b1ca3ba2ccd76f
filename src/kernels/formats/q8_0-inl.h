// Q8_0 for CPUs: q8_0.h has the layout. Included by kernels-inl.h.

struct Q80 {
  static constexpr int kBlock = 32;
  static constexpr int32_t kZero = 128;
  static constexpr bool kIsWide = true;
  static constexpr bool kHasBias = false;
  static constexpr size_t kSize = 34;
  static constexpr size_t bytes_of(size_t columns) { return columns / 32 * kSize; }

  template <int kCount>
  static Bytes64 unpack(const uint8_t* row, size_t col) {
    const uint8_t* const p = row + bytes_of(col);
    return load_32s(p + 2, kCount == 64 ? p + kSize + 2 : p + 2) ^ 0x80;
  }

  static void scales(const uint8_t* row, size_t col, size_t count, F32x16& scale,
                     F32x16& /*bias*/) {
    scale = load_f16s(row + bytes_of(col), kSize, count);
  }
};
