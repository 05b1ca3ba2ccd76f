// Q4_K for CPUs: q4_k.h has the layout. Included by kernels-inl.h.

/// The 6-bit scales and minima of Q4_K and Q5_K, 8 of each, from their 12 bytes.
struct KScales {
  uint64_t scales, minima;  // a byte each
  explicit KScales(const uint8_t* p) {
    uint32_t a;
    uint32_t b;
    uint32_t c;
    memcpy(&a, p, 4);
    memcpy(&b, p + 4, 4);
    memcpy(&c, p + 8, 4);
    const uint32_t upper_scales = (c & 0x0f0f0f0f) | (a >> 6 & 0x03030303) << 4;
    const uint32_t upper_minima = (c >> 4 & 0x0f0f0f0f) | (b >> 6 & 0x03030303) << 4;
    scales = (a & 0x3f3f3f3f) | uint64_t{upper_scales} << 32;
    minima = (b & 0x3f3f3f3f) | uint64_t{upper_minima} << 32;
  }
};
/// Those of 16 float steps, 8 from each of two blocks: s d and -m e.
FM_INLINE inline void load_k_scales(const uint8_t* p, const uint8_t* q, F32x16& scale,
                                    F32x16& bias) {
  const KScales first(p + 4);
  const KScales second(q + 4);
  const uint64_t scales[2] = {first.scales, second.scales};
  const uint64_t minima[2] = {first.minima, second.minima};
  scale = set_halves_f16(p, q) * floats_of_u8(reinterpret_cast<const uint8_t*>(scales));
  bias = (set1(0.0f) - set_halves_f16(p + 2, q + 2)) *
         floats_of_u8(reinterpret_cast<const uint8_t*>(minima));
}

struct Q4K {
  static constexpr int kBlock = 32;
  static constexpr int32_t kZero = 0;
  static constexpr bool kIsWide = false;
  static constexpr bool kHasBias = true;
  static constexpr size_t kSize = 144;
  static constexpr size_t bytes_of(size_t columns) { return columns / 256 * kSize; }

  // Blocks are 256 columns, so that there are always 64.
  template <int kCount>
  static Bytes64 unpack(const uint8_t* row, size_t col) {
    const uint8_t* const p = row + bytes_of(col);
    const uint8_t* const q = p + 16 + col % 256 / 2;
    return shift_right<0, 0, 4, 4>(load_32s(q, q)) & 15;
  }

  static void scales(const uint8_t* row, size_t col, size_t count, F32x16& scale, F32x16& bias) {
    const uint8_t* const p = row + bytes_of(col);
    load_k_scales(p, count > 8 ? p + kSize : p, scale, bias);
  }
};
