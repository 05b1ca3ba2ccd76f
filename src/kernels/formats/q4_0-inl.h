// Q4_0 for CPUs: q4_0.h has the layout. Included by kernels-inl.h.

struct Q40 {
  static constexpr int kBlock = 32;
  static constexpr int32_t kZero = 8;
  static constexpr bool kIsWide = false;
  static constexpr bool kHasBias = false;
  static constexpr size_t kSize = 18;
  static constexpr size_t kBlockColumns = 32;

  template <int kCount>
  static Bytes64 unpack(const uint8_t* p, size_t /*col*/) {
    const uint8_t* const second = kCount == 64 ? p + kSize : p;
    return shift_right<0, 4, 0, 4>(load_16_twice(p + 2, second + 2)) & 15;
  }

  using Scales = FirstHalfScales<kSize>;
};
