// Loads of weights, scales and biases. Included by kernels-inl.h.

/// Bytes ahead of the current row position that float weights are fetched into the L1 cache.
constexpr size_t kPrefetchDistance = 6144;
/// The same of integers for few activation rows, into the L2 cache: the L1 cache has few places for
/// lines that are on their way, and what is at hand waited for one (bench/results/kernels.md).
constexpr size_t kChainPrefetchDistance = 8192;

inline void prefetch(const uint8_t* p) { __builtin_prefetch(p + kPrefetchDistance, 0, 3); }
inline void prefetch_chain(const uint8_t* p) {
  __builtin_prefetch(p + kChainPrefetchDistance, 0, 2);
}

constexpr size_t size_of(FloatType type) { return type == FloatType::kF32 ? 4 : 2; }

template <FloatType kType>
inline F32x16 load_widened(const uint8_t* p) {
  if constexpr (kType == FloatType::kF32) {
    return load_f32(p);
  } else if constexpr (kType == FloatType::kBF16) {
    return load_bf16(p);
  } else {
    return load_f16(p);
  }
}
/// The first n lanes, never reading past them; zeros in the others.
template <FloatType kType>
inline F32x16 load_widened_n(const uint8_t* p, size_t n) {
  if constexpr (kType == FloatType::kF32) {
    return load_f32_n(p, n);
  } else if constexpr (kType == FloatType::kBF16) {
    return load_bf16_n(p, n);
  } else {
    return load_f16_n(p, n);
  }
}
template <FloatType kType>
inline F32x16 load_widened_lanes(const uint8_t* p, size_t n) {
  return n == 16 ? load_widened<kType>(p) : load_widened_n<kType>(p, n);
}
__attribute__((always_inline)) inline F32x16 load_widened_lanes(FloatType type, const uint8_t* p,
                                                                size_t n) {
  switch (type) {
    case FloatType::kF32:
      return load_widened_lanes<FloatType::kF32>(p, n);
    case FloatType::kBF16:
      return load_widened_lanes<FloatType::kBF16>(p, n);
    default:
      return load_widened_lanes<FloatType::kF16>(p, n);
  }
}
