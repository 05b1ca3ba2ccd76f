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
    return split_nibbles<kCount>(p + 8, kSize) | fifth_bits<kCount>(p + 4, kSize);
  }

  using Scales = FirstHalvesScales<kSize>;
};
