// IQ4_XS for CPUs: iq4_xs.h has the layout. Included by kernels-inl.h.

struct Iq4Xs {
  static constexpr int kBlock = 32;
  static constexpr int32_t kZero = 128;
  static constexpr bool kIsWide = true;
  static constexpr bool kHasBias = false;
  static constexpr size_t kSize = 136;
  static constexpr size_t bytes_of(size_t columns) { return columns / 256 * kSize; }

  // Blocks are 256 columns, so that there are always 64.
  template <int kCount>
  static Bytes64 unpack(const uint8_t* row, size_t col) {
    const uint8_t* const p = row + bytes_of(col);
    const uint8_t* const q = p + 8 + col % 256 / 2;
    return look_up(kIq4Bytes, shift_right<0, 4, 0, 4>(load_16_twice(q, q + 16)) & 15);
  }

  static void scales(const uint8_t* row, size_t col, size_t count, F32x16& scale,
                     F32x16& /*bias*/) {
    const uint8_t* const p = row + bytes_of(col);
    const uint8_t* const q = count > 8 ? p + kSize : p;
    const uint64_t bytes[2] = {scales_of(p), scales_of(q)};
    const F32x16 six = floats_of_u8(reinterpret_cast<const uint8_t*>(bytes));
    scale = set_halves_f16(p, q) * (six - set1(32.0f));
  }

 private:
  /// 8 scales of 6 bits, a byte each.
  static uint64_t scales_of(const uint8_t* p) {
    uint32_t h = 0;
    uint32_t l;
    memcpy(&h, p + 2, 2);
    memcpy(&l, p + 4, 4);
    uint64_t bytes = 0;
    for (int i = 0; i < 8; ++i) {
      const uint32_t six = (l >> (4 * i) & 15) | (h >> (2 * i) & 3) << 4;
      bytes |= uint64_t{six} << (8 * i);
    }
    return bytes;
  }
};
