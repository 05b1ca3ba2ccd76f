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
    return split_nibbles<kCount>(p + 6, kSize) | fifth_bits<kCount>(p + 2, kSize);
  }

  using Scales = FirstHalfScales<kSize>;
};
