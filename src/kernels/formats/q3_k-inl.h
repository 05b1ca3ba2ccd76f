// Q3_K for CPUs: q3_k.h has the layout. Included by kernels-inl.h.

struct Q3K {
  static constexpr int kBlock = 16;
  static constexpr int32_t kZero = 4;
  static constexpr bool kIsWide = false;
  static constexpr bool kHasBias = false;
  static constexpr size_t kSize = 110;
  static constexpr size_t bytes_of(size_t columns) { return columns / 256 * kSize; }

  // Blocks are 256 columns, so that there are always 64.
  template <int kCount>
  static Bytes64 unpack(const uint8_t* row, size_t col) {
    const uint8_t* const p = row + bytes_of(col);
    const uint8_t* const q = p + 32 + col % 256 / 128 * 32;
    const Bytes64 two = load_32s(q, q);
    const Bytes64 h = load_32s(p, p);
    switch (col % 256 / 64) {
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

  static void scales(const uint8_t* row, size_t col, size_t /*count*/, F32x16& scale,
                     F32x16& /*bias*/) {
    const uint8_t* const p = row + bytes_of(col);
    uint32_t a[3];
    memcpy(a, p + 96, 12);
    const uint32_t bytes[4] = {(a[0] & 0x0f0f0f0f) | (a[2] & 0x03030303) << 4,
                               (a[1] & 0x0f0f0f0f) | (a[2] >> 2 & 0x03030303) << 4,
                               (a[0] >> 4 & 0x0f0f0f0f) | (a[2] >> 4 & 0x03030303) << 4,
                               (a[1] >> 4 & 0x0f0f0f0f) | (a[2] >> 6 & 0x03030303) << 4};
    const F32x16 six = floats_of_u8(reinterpret_cast<const uint8_t*>(bytes));
    scale = set1_f16(p + 108) * (six - set1(32.0f));
  }
};
