// Q5_0 for CPUs: q5_0.h has the layout. Included by kernels-inl.h.

struct Q50 {
  static constexpr int kBlock = 32;
  static constexpr int32_t kZero = 16;
  static constexpr bool kIsWide = false;
  static constexpr bool kHasBias = false;
  static constexpr size_t kSize = 22;
  static constexpr size_t kBlockColumns = 32;

  template <int kCount>
  static Bytes64 unpack(const uint8_t* p, size_t /*col*/) {
    const uint8_t* const second = kCount == 64 ? p + kSize : p;
    uint32_t low;
    uint32_t high;
    memcpy(&low, p + 2, 4);
    memcpy(&high, second + 2, 4);
    return (shift_right<0, 4, 0, 4>(load_16_twice(p + 6, second + 6)) & 15) |
           spread_bits<16>(low | uint64_t{high} << 32);
  }

  using Scales = FirstHalfScales<kSize>;
};
