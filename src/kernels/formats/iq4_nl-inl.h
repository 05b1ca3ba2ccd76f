// IQ4_NL for CPUs: iq4_nl.h has the layout. Included by kernels-inl.h.

/// kIq4Values, plus 128.
alignas(16) constexpr uint8_t kIq4Bytes[16] = {1,   24,  45,  63,  79,  93,  106, 118,
                                               129, 141, 153, 166, 181, 197, 217, 241};

struct Iq4Nl {
  static constexpr int kBlock = 32;
  static constexpr int32_t kZero = 128;
  static constexpr bool kIsWide = true;
  static constexpr bool kHasBias = false;
  static constexpr size_t kSize = 18;
  static constexpr size_t kBlockColumns = 32;

  template <int kCount>
  static Bytes64 unpack(const uint8_t* p, size_t /*col*/) {
    return look_up(kIq4Bytes, split_nibbles<kCount>(p + 2, kSize));
  }

  using Scales = FirstHalfScales<kSize>;
};
