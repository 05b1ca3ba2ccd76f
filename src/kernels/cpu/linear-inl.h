// Weight rows times rows of activations. Included by kernels-inl.h.
//
// Float weights are computed in tiles of kW weight rows by kR activation rows, so that widened
// weights and loaded activations are used several times; each of the kW * kR results is computed in
// the one order of docs/numerics.md, whatever the tile. Integer weights: chain-inl.h.

/// What a kernel of one activation row has of weight rows at a time.
template <typename Kernel>
constexpr int kSingleTile = 1;

// Float weights: acc[i % 16] = fma(w_i, x_i, acc[i % 16]), then the tree.
template <FloatType kType>
struct FloatKernel {
  template <int kW, int kR>
  static void tile(const WeightRows& weights, size_t row, const ActivationRow* x, float* const* y) {
    F32x16 acc[kW][kR];
    for (auto& accs : acc) {
      for (F32x16& a : accs) a = set1(0.0f);
    }
    const uint8_t* w = weights.planes[0] + row * weights.strides[0];
    for_lanes(weights.cols, [&](size_t i, size_t n) {
      F32x16 wide[kW];
      for (int a = 0; a < kW; ++a) {
        const uint8_t* p = w + a * weights.strides[0] + i * size_of(kType);
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

// The same of floats of eight bits, which a Reader (kernels/formats/e4m3-inl.h) widens.
template <typename Reader>
struct E4m3Kernel {
  template <int kW, int kR>
  static void tile(const WeightRows& weights, size_t row, const ActivationRow* x, float* const* y) {
    F32x16 acc[kW][kR];
    for (auto& accs : acc) {
      for (F32x16& a : accs) a = set1(0.0f);
    }
    Reader readers[kW];
    for (int a = 0; a < kW; ++a) readers[a].begin(weights, row + a);
    for_lanes(weights.cols, [&](size_t i, size_t n) {
      F32x16 wide[kW];
      for (int a = 0; a < kW; ++a) wide[a] = readers[a].read(i, n);
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
// A byte a weight comes from the memory faster than one chain of fma takes them.
template <typename Reader>
constexpr int kSingleTile<E4m3Kernel<Reader>> = 2;

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
      const uint8_t* w = weights.planes[0] + row * size_of(kType);
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

template <typename Kernel, int kW, int kR>
inline void tile_rows(const WeightRows& weights, size_t row_begin, size_t row_end,
                      const ActivationRow* x, float* const* y) {
  size_t row = row_begin;
  for (; row + kW <= row_end; row += kW) Kernel::template tile<kW, kR>(weights, row, x, y);
  for (; row < row_end; ++row) Kernel::template tile<1, kR>(weights, row, x, y);
}

template <typename Kernel>
void linear_floats(const WeightRows& weights, size_t row_begin, size_t row_end,
                   const ActivationRow* x, float* const* y, size_t x_count) {
  size_t r = 0;
  for (; r + kRowTile <= x_count; r += kRowTile) {
    tile_rows<Kernel, kWeightTile, kRowTile>(weights, row_begin, row_end, x + r, y + r);
  }
  for (; r + 2 <= x_count; r += 2) {
    tile_rows<Kernel, kWeightTile, 2>(weights, row_begin, row_end, x + r, y + r);
  }
  // One activation row: the memory is the limit, and one stream of weights is the best to prefetch.
  if (r < x_count) {
    tile_rows<Kernel, kSingleTile<Kernel>, 1>(weights, row_begin, row_end, x + r, y + r);
  }
}

void linear_float_rows(const WeightRows& weights, size_t row_begin, size_t row_end,
                       const ActivationRow* x, float* const* y, size_t x_count) {
  const bool is_transposed = weights.transposed_stride != 0;
  const auto run = [&](auto* straight, auto* transposed) {
    (is_transposed ? transposed : straight)(weights, row_begin, row_end, x, y, x_count);
  };
  switch (weights.type) {
    case FloatType::kF32:
      return run(linear_floats<FloatKernel<FloatType::kF32>>, linear_transposed<FloatType::kF32>);
    case FloatType::kBF16:
      return run(linear_floats<FloatKernel<FloatType::kBF16>>, linear_transposed<FloatType::kBF16>);
    default:
      return run(linear_floats<FloatKernel<FloatType::kF16>>, linear_transposed<FloatType::kF16>);
  }
}

#if defined(__AMX_INT8__)
using LinearScratch = AmxScratch;
#else
using LinearScratch = ChainTile;
#endif

using IntegerFunction = void(const WeightRows&, size_t, size_t, const ActivationRow*, float* const*,
                             size_t, LinearScratch&);

template <typename Format>
IntegerFunction* format_function() {
#if defined(__AMX_INT8__)
  return linear_amx<Format>;
#else
  return linear_integer<Format>;
#endif
}

template <int kBits>
IntegerFunction* affine_function(uint32_t group_size) {
  return group_size == 32 ? format_function<Affine<kBits, 32>>()
                          : format_function<Affine<kBits, 64>>();
}

IntegerFunction* affine_function(const WeightRows& weights) {
  switch (weights.bits) {
    case 1:
      return affine_function<1>(weights.block_cols);
    case 2:
      return affine_function<2>(weights.block_cols);
    case 3:
      return affine_function<3>(weights.block_cols);
    case 4:
      return weights.block_cols == 32 ? format_function<Affine4<32>>()
                                      : format_function<Affine4<64>>();
    case 5:
      return affine_function<5>(weights.block_cols);
    case 6:
      return affine_function<6>(weights.block_cols);
    default:
      return affine_function<8>(weights.block_cols);
  }
}

/// Calls fn(Blocks<Body>{}) with the body of a format of blocks.
template <typename Fn>
inline auto with_blocks(WeightEncoding encoding, Fn fn) {
  switch (encoding) {
    case WeightEncoding::kQ40:
      return fn(Blocks<Q40>{});
    case WeightEncoding::kQ41:
      return fn(Blocks<Q41>{});
    case WeightEncoding::kQ50:
      return fn(Blocks<Q50>{});
    case WeightEncoding::kQ51:
      return fn(Blocks<Q51>{});
    case WeightEncoding::kQ80:
      return fn(Blocks<Q80>{});
    case WeightEncoding::kQ2K:
      return fn(Blocks<Q2K>{});
    case WeightEncoding::kQ3K:
      return fn(Blocks<Q3K>{});
    case WeightEncoding::kQ4K:
      return fn(Blocks<Q4K>{});
    case WeightEncoding::kQ5K:
      return fn(Blocks<Q5K>{});
    case WeightEncoding::kQ6K:
      return fn(Blocks<Q6K>{});
    case WeightEncoding::kIq4Nl:
      return fn(Blocks<Iq4Nl>{});
    case WeightEncoding::kIq4Xs:
      return fn(Blocks<Iq4Xs>{});
    case WeightEncoding::kPackedMxfp4:
      return fn(Blocks<PackedMxfp4>{});
    case WeightEncoding::kPackedNvfp4:
      return fn(Blocks<PackedNvfp4>{});
    default:
      return fn(Blocks<Mxfp4>{});
  }
}

IntegerFunction* integer_function(const WeightRows& weights) {
  if (weights.encoding == WeightEncoding::kAffine) return affine_function(weights);
  return with_blocks(weights.encoding,
                     [](auto format) { return format_function<decltype(format)>(); });
}

void linear(const WeightRows& weights, size_t row_begin, size_t row_end, const ActivationRow* x,
            float* const* y, size_t x_count, void* scratch) {
  if (weights.encoding == WeightEncoding::kFloat) {
    linear_float_rows(weights, row_begin, row_end, x, y, x_count);
  } else if (weights.encoding == WeightEncoding::kPackedMxfp8) {
    linear_floats<E4m3Kernel<Mxfp8Reader>>(weights, row_begin, row_end, x, y, x_count);
  } else if (weights.encoding == WeightEncoding::kFp8Blocks) {
    linear_floats<E4m3Kernel<Fp8Reader>>(weights, row_begin, row_end, x, y, x_count);
  } else {
    integer_function(weights)(weights, row_begin, row_end, x, y, x_count,
                              *static_cast<LinearScratch*>(scratch));
  }
}

/// w = scale * q rounded, + bias rounded: the values of MLX and ggml, one by one.
void dequantize_row(const WeightRows& weights, size_t row, float* out) {
  const uint8_t* w = weights.planes[0] + row * weights.strides[0];
  if (weights.encoding == WeightEncoding::kFloat) {
    for_lanes(weights.cols, [&](size_t i, size_t n) {
      const uint8_t* p = w + i * size_of(weights.type);
      store_lanes(out + i, load_widened_lanes(weights.type, p, n), n);
    });
  } else if (weights.encoding == WeightEncoding::kAffine) {
    dequantize_affine_row(weights, row, out);
  } else if (weights.encoding == WeightEncoding::kPackedMxfp8) {
    widen_e4m3_row<Mxfp8Reader>(weights, row, out);
  } else if (weights.encoding == WeightEncoding::kFp8Blocks) {
    widen_e4m3_row<Fp8Reader>(weights, row, out);
  } else {
    with_blocks(weights.encoding,
                [&](auto format) { decltype(format)::dequantize_row(weights, row, out); });
  }
}
