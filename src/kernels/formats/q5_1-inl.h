// Q5_1 for CPUs: q5_1.h has the layout. Included by kernels-inl.h.

struct Q51 {
  static constexpr int kBlock = 32;
  static constexpr int32_t kZero = 0;
  static constexpr bool kIsWide = false;
  static constexpr bool kHasBias = true;
  static constexpr size_t kSize = 24;
  static constexpr size_t kBlockColumns = 32;

  template <int kCount>
  static Bytes64 unpack(const uint8_t* p, size_t /*col*/) {
    const uint8_t* const second = kCount == 64 ? p + kSize : p;
    uint32_t low;
    uint32_t high;
    memcpy(&low, p + 4, 4);
    memcpy(&high, second + 4, 4);
    return (shift_right<0, 4, 0, 4>(load_16_twice(p + 8, second + 8)) & 15) |
           spread_bits<16>(low | uint64_t{high} << 32);
  }

  using Scales = FirstHalvesScales<kSize>;
};
