// MXFP4 for CPUs: mxfp4.h has the layout. Included by kernels-inl.h.

/// Twice what the four bits stand for, plus 12.
alignas(16) constexpr uint8_t kMxfp4Bytes[16] = {12, 13, 14, 15, 16, 18, 20, 24,
                                                 12, 11, 10, 9,  8,  6,  4,  0};

/// The bits of 2^(e - 128), below e = 2 a subnormal.
inline uint32_t half_of_e8m0(uint32_t e) { return e < 2 ? 0x200000u << e : (e - 1) << 23; }

struct Mxfp4 {
  static constexpr int kBlock = 32;
  static constexpr int32_t kZero = 12;
  static constexpr bool kIsWide = false;
  static constexpr bool kHasBias = false;
  static constexpr size_t kSize = 17;
  static constexpr size_t bytes_of(size_t columns) { return columns / 32 * kSize; }

  template <int kCount>
  static Bytes64 unpack(const uint8_t* row, size_t col) {
    const uint8_t* const p = row + bytes_of(col);
    const uint8_t* const second = kCount == 64 ? p + kSize : p;
    return look_up(kMxfp4Bytes, shift_right<0, 4, 0, 4>(load_16_twice(p + 1, second + 1)) & 15);
  }

  static void scales(const uint8_t* row, size_t col, size_t count, F32x16& scale,
                     F32x16& /*bias*/) {
    alignas(64) uint32_t bits[16] = {};
    for (size_t i = 0; i < count; ++i) bits[i] = half_of_e8m0(row[bytes_of(col) + kSize * i]);
    scale = load_f32(reinterpret_cast<const uint8_t*>(bits));
  }
};
