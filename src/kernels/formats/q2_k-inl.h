// Q2_K for CPUs: q2_k.h has the layout. Included by kernels-inl.h.

struct Q2K {
  static constexpr int kBlock = 16;
  static constexpr int32_t kZero = 0;
  static constexpr bool kIsWide = false;
  static constexpr bool kHasBias = true;
  static constexpr size_t kSize = 84;
  static constexpr size_t bytes_of(size_t columns) { return columns / 256 * kSize; }

  // Blocks are 256 columns, so that there are always 64.
  template <int kCount>
  static Bytes64 unpack(const uint8_t* row, size_t col) {
    const uint8_t* const p = row + bytes_of(col);
    const uint8_t* const q = p + 16 + col % 256 / 128 * 32;
    const Bytes64 two = load_32s(q, q);
    return (col % 128 == 0 ? shift_right<0, 0, 2, 2>(two) : shift_right<4, 4, 6, 6>(two)) & 3;
  }

  static void scales(const uint8_t* row, size_t col, size_t /*count*/, F32x16& scale,
                     F32x16& bias) {
    const uint8_t* const p = row + bytes_of(col);
    uint64_t scales[2];
    uint64_t minima[2];
    memcpy(scales, p, 16);
    for (int i = 0; i < 2; ++i) {
      minima[i] = scales[i] >> 4 & 0x0f0f0f0f0f0f0f0f;
      scales[i] &= 0x0f0f0f0f0f0f0f0f;
    }
    scale = set1_f16(p + 80) * floats_of_u8(reinterpret_cast<const uint8_t*>(scales));
    bias = (set1(0.0f) - set1_f16(p + 82)) * floats_of_u8(reinterpret_cast<const uint8_t*>(minima));
  }
};
