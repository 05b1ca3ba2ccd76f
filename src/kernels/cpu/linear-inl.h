// Weight rows times rows of activations. Included by kernels-inl.h.
//
// Every kernel here but that for 4 bits (linear4-inl.h) computes a tile of kW weight rows by kR
// activation rows, so that unpacked weights and loaded activations are used several times; each of
// the kW * kR results is computed in the one order of docs/numerics.md, whatever the tile.

// Float weights: acc[i % 16] = fma(w_i, x_i, acc[i % 16]), then the tree.
template <FloatType kType>
struct FloatKernel {
  template <int kW, int kR>
  static void tile(const WeightRows& weights, size_t row, const ActivationRow* x, float* const* y) {
    F32x16 acc[kW][kR];
    for (auto& accs : acc) {
      for (F32x16& a : accs) a = set1(0.0f);
    }
    const uint8_t* w = weights.weight + row * weights.weight_stride;
    for_lanes(weights.cols, [&](size_t i, size_t n) {
      F32x16 wide[kW];
      for (int a = 0; a < kW; ++a) {
        const uint8_t* p = w + a * weights.weight_stride + i * size_of(kType);
        prefetch(p);
        wide[a] = load_widened_lanes<kType>(p, n);
      }
      for (int r = 0; r < kR; ++r) {
        const F32x16 value = load_lanes(x[r].values + i, n);
        for (int a = 0; a < kW; ++a) acc[a][r] = fma(wide[a], value, acc[a][r]);
      }
    });
    for (int a = 0; a < kW; ++a) {
      for (int r = 0; r < kR; ++r) y[r][row + a] = reduce_add(acc[a][r]);
    }
  }
};

// Transposed float weights: 16 rows side by side, one to a lane, so that acc[l] holds of each row
// what lane l of FloatKernel's sum does, zeros past the last input included: the same bits.
template <FloatType kType>
void linear_transposed(const WeightRows& weights, size_t row_begin, size_t row_end,
                       const ActivationRow* x, float* const* y, size_t x_count) {
  for (size_t row = row_begin; row < row_end; row += 16) {
    const size_t n = row_end - row < 16 ? row_end - row : 16;
    for (size_t r = 0; r < x_count; ++r) {
      F32x16 acc[16];
      for (F32x16& a : acc) a = set1(0.0f);
      const uint8_t* w = weights.weight + row * size_of(kType);
      for_lanes(weights.cols, [&](size_t i, size_t lane_count) {
        for (size_t l = 0; l < lane_count; ++l, w += weights.transposed_stride) {
          acc[l] = fma(load_widened_lanes<kType>(w, n), set1(x[r].values[i + l]), acc[l]);
        }
        for (size_t l = lane_count; l < 16; ++l) acc[l] = fma(set1(0.0f), set1(0.0f), acc[l]);
      });
      for (size_t half = 8; half > 0; half /= 2) {
        for (size_t l = 0; l < half; ++l) acc[l] = acc[l] + acc[l + half];
      }
      store_lanes(y[r] + row, acc[0], n);
    }
  }
}

template <int kGroupSize>
inline const float* group_sums(const ActivationRow& x) {
  return kGroupSize == 32 ? x.sum32 : kGroupSize == 64 ? x.sum64 : x.sum128;
}

/// What both affine kernels do with scales and biases: `scale` gets 16 groups' scales from group g
/// on (zeros past the last), and off[g % 16] = fma(bias_g, sum_g, off[g % 16]).
template <int kGroupSize, int kW, int kR>
inline void begin_groups(const WeightRows& weights, size_t row, size_t g, size_t group_count,
                         const ActivationRow* x, float (&scale)[kW][16], F32x16 (&off)[kW][kR]) {
  const size_t n = group_count - g < 16 ? group_count - g : 16;
  for (int a = 0; a < kW; ++a) {
    const size_t at = (row + a) * weights.scale_stride + g * size_of(weights.type);
    store(scale[a], load_widened_lanes(weights.type, weights.scales + at, n));
    const F32x16 bias = load_widened_lanes(weights.type, weights.biases + at, n);
    for (int r = 0; r < kR; ++r) {
      off[a][r] = fma(bias, load(group_sums<kGroupSize>(x[r]) + g), off[a][r]);
    }
  }
}

// Other widths: blocks of 32, lane l takes elements 2l, 2l + 1.
template <int kBits, int kGroupSize>
struct AffineKernel {
  template <int kW, int kR>
  static void tile(const WeightRows& weights, size_t row, const ActivationRow* x, float* const* y) {
    F32x16 acc[kW][kR];
    F32x16 off[kW][kR];
    for (int a = 0; a < kW; ++a) {
      for (int r = 0; r < kR; ++r) acc[a][r] = off[a][r] = set1(0.0f);
    }
    const uint8_t* w = weights.weight + row * weights.weight_stride;
    const size_t group_count = weights.cols / kGroupSize;
    float scale[kW][16];
    for (size_t g = 0; g < group_count; ++g) {
      if (g % 16 == 0) begin_groups<kGroupSize>(weights, row, g, group_count, x, scale, off);
      for (size_t b = g * (kGroupSize / 32); b < (g + 1) * (kGroupSize / 32); ++b) {
        I16x32 q[kW];
        for (int a = 0; a < kW; ++a) {
          const uint8_t* p = w + a * weights.weight_stride + b * 4 * kBits;
          prefetch(p);
          q[a] = unpack<kBits>(p);
        }
        for (int r = 0; r < kR; ++r) {
          const I16x32 xq = load_i16(x[r].q + 32 * b);
          for (int a = 0; a < kW; ++a) {
            const F32x16 s = set1(scale[a][g % 16] * x[r].scale[b]);
            acc[a][r] = fma(s, to_float(dot_add(zero_i32(), q[a], xq)), acc[a][r]);
          }
        }
      }
    }
    for (int a = 0; a < kW; ++a) {
      for (int r = 0; r < kR; ++r) y[r][row + a] = reduce_add_sum(acc[a][r], off[a][r]);
    }
  }
};

template <typename Kernel, int kW, int kR>
inline void tile_rows(const WeightRows& weights, size_t row_begin, size_t row_end,
                      const ActivationRow* x, float* const* y) {
  size_t row = row_begin;
  for (; row + kW <= row_end; row += kW) Kernel::template tile<kW, kR>(weights, row, x, y);
  for (; row < row_end; ++row) Kernel::template tile<1, kR>(weights, row, x, y);
}

template <typename Kernel>
void linear_tiles(const WeightRows& weights, size_t row_begin, size_t row_end,
                  const ActivationRow* x, float* const* y, size_t x_count) {
  size_t r = 0;
  for (; r + kRowTile <= x_count; r += kRowTile) {
    tile_rows<Kernel, kWeightTile, kRowTile>(weights, row_begin, row_end, x + r, y + r);
  }
  for (; r + 2 <= x_count; r += 2) {
    tile_rows<Kernel, kWeightTile, 2>(weights, row_begin, row_end, x + r, y + r);
  }
  // One activation row: the memory is the limit, and one stream of weights is the best to prefetch.
  if (r < x_count) tile_rows<Kernel, 1, 1>(weights, row_begin, row_end, x + r, y + r);
}

using LinearFunction = void(const WeightRows&, size_t, size_t, const ActivationRow*, float* const*,
                            size_t);

template <int kBits>
LinearFunction* affine_function(uint32_t group_size) {
  return group_size == 32   ? linear_tiles<AffineKernel<kBits, 32>>
         : group_size == 64 ? linear_tiles<AffineKernel<kBits, 64>>
                            : linear_tiles<AffineKernel<kBits, 128>>;
}

LinearFunction* transposed_function(FloatType type) {
  return type == FloatType::kF32    ? linear_transposed<FloatType::kF32>
         : type == FloatType::kBF16 ? linear_transposed<FloatType::kBF16>
                                    : linear_transposed<FloatType::kF16>;
}

LinearFunction* linear_function(const WeightRows& weights) {
  switch (weights.bits) {
    case 0:
      if (weights.transposed_stride != 0) return transposed_function(weights.type);
      return weights.type == FloatType::kF32    ? linear_tiles<FloatKernel<FloatType::kF32>>
             : weights.type == FloatType::kBF16 ? linear_tiles<FloatKernel<FloatType::kBF16>>
                                                : linear_tiles<FloatKernel<FloatType::kF16>>;
    case 1:
      return affine_function<1>(weights.group_size);
    case 2:
      return affine_function<2>(weights.group_size);
    case 3:
      return affine_function<3>(weights.group_size);
    case 4:
      return linear4;
    case 5:
      return affine_function<5>(weights.group_size);
    case 6:
      return affine_function<6>(weights.group_size);
    default:
      return affine_function<8>(weights.group_size);
  }
}

void linear(const WeightRows& weights, size_t row_begin, size_t row_end, const ActivationRow* x,
            float* const* y, size_t x_count, [[maybe_unused]] void* scratch) {
#if defined(__AMX_BF16__)
  if (weights.bits == 4) {
    linear4_amx(weights, row_begin, row_end, x, y, x_count, scratch);
    return;
  }
#endif
  linear_function(weights)(weights, row_begin, row_end, x, y, x_count);
}

/// w = scale * q rounded, + bias rounded: the values of MLX, one by one.
void dequantize_row(const WeightRows& weights, size_t row, float* out) {
  const uint8_t* w = weights.weight + row * weights.weight_stride;
  if (weights.bits == 0) {
    for_lanes(weights.cols, [&](size_t i, size_t n) {
      const uint8_t* p = w + i * size_of(weights.type);
      store_lanes(out + i, load_widened_lanes(weights.type, p, n), n);
    });
    return;
  }
  const uint8_t* scales = weights.scales + row * weights.scale_stride;
  const uint8_t* biases = weights.biases + row * weights.scale_stride;
  for (size_t g = 0; g < weights.cols / weights.group_size; ++g) {
    float scale[16];
    float bias[16];
    store(scale, load_widened_lanes(weights.type, scales + g * size_of(weights.type), 1));
    store(bias, load_widened_lanes(weights.type, biases + g * size_of(weights.type), 1));
    for (size_t i = g * weights.group_size; i < (g + 1) * weights.group_size; ++i) {
      const size_t bit = i * weights.bits;
      uint32_t window = w[bit / 8];
      if (bit % 8 + weights.bits > 8) window |= uint32_t{w[bit / 8 + 1]} << 8;
      const uint32_t q = (window >> (bit % 8)) & ((1u << weights.bits) - 1);
      out[i] = scale[0] * static_cast<float>(q) + bias[0];
    }
  }
}
