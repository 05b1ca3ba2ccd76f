// Q8_0 for CPUs: q8_0.h has the layout. Included by kernels-inl.h.

struct Q80 {
  static constexpr int kBlock = 32;
  static constexpr int32_t kZero = 128;
  static constexpr bool kIsWide = true;
  static constexpr bool kHasBias = false;
  static constexpr size_t kSize = 34;
  static constexpr size_t kBlockColumns = 32;

  template <int kCount>
  static Bytes64 unpack(const uint8_t* p, size_t /*col*/) {
    return load_32s(p + 2, kCount == 64 ? p + kSize + 2 : p + 2) ^ 0x80;
  }

  using Scales = FirstHalfScales<kSize>;
};
