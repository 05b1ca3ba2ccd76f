// Weights in blocks of bytes that hold scales and quantised numbers together, as ggml has them.
// Included by kernels-inl.h.
//
// What such formats share. A format's body (kernels/formats/*-inl.h) brings, as static functions:
//
//   kBlock        columns that share a scale, and so of a float step: 32 or 16
//   kZero         the unpacked number that stands for 0
//   kIsWide       whether unpacked numbers exceed 127
//   kHasBias      whether there are biases
//   bytes_of(columns)  bytes of so many columns, whole blocks
//   unpack<kCount>(row, column)  64 columns, or 32 and anything, in their order as unsigned bytes
//   scales(row, column, count, scale, bias)  of up to 16 float steps, one to a lane
//
// where `row` is where a weight row begins and a column is a multiple of 64 there, of a group for
// scales: the columns of 16 float steps.
//
// Few activation rows: weight rows are read one after the other. Each gives, group by group, one
// vector of integer sums and one of scales, which are kept in the L1 cache and then transposed, for
// 16 chains side by side. Bytes meet the activations in the order of the columns.

/// `count` <= 16 IEEE halves, `stride` bytes apart, widened.
inline F32x16 load_f16s(const uint8_t* p, size_t stride, size_t count) {
  uint16_t halves[16];
  if (count == 16) {
#pragma GCC unroll 16
    for (size_t i = 0; i < 16; ++i) memcpy(halves + i, p + i * stride, 2);
  } else {
    memset(halves, 0, sizeof(halves));
    for (size_t i = 0; i < count; ++i) memcpy(halves + i, p + i * stride, 2);
  }
  return load_f16(reinterpret_cast<const uint8_t*>(halves));
}

template <typename Body>
struct Blocks {
  static constexpr int kBlock = Body::kBlock;
  static constexpr bool kHasBias = Body::kHasBias;
  static constexpr int32_t kOffset = kBytesOffset<Body::kIsWide> - Body::kZero;
  static constexpr size_t kGroup = 16 * kBlock;

  static void unpack(const WeightRows& weights, size_t row, size_t row_count, size_t col,
                     size_t col_count, uint8_t* to, size_t stride) {
    const uint8_t* const begin = weights.planes[0] + row * weights.strides[0];
    for (size_t i = 0; i < col_count; i += 64) {
      const bool is_half = col_count - i < 64;
      I32x16 steps[kStepVectors][16];
      for (size_t r = 0; r < 16; ++r) {
        const uint8_t* const p = begin + row_in_reach(r, row_count) * weights.strides[0];
        I32x16 of_row[kStepVectors];
        steps_of_bytes<Body::kIsWide>(unpack_64(p, col + i, is_half), of_row);
        for (size_t v = 0; v < kStepVectors; ++v) steps[v][r] = of_row[v];
      }
      const size_t step_count = (is_half ? 32 : 64) / kStepColumns;
      for (size_t v = 0; 16 * v < step_count; ++v) {
        transpose_16(steps[v]);
        for (size_t step = 0; step < 16 && 16 * v + step < step_count; ++step, to += stride) {
          store_step(to, steps[v][step]);
        }
      }
    }
  }

  template <typename Use>
  FM_INLINE static void for_scales(const WeightRows& weights, size_t row, size_t row_count,
                                   size_t col, size_t col_count, Use use) {
    const uint8_t* const begin = weights.planes[0] + row * weights.strides[0];
    for (size_t i = 0; i < col_count; i += kGroup) {
      const size_t left = (col_count - i) / kBlock;
      const size_t count = left < 16 ? left : 16;
      StepScales scales;
      for (size_t r = 0; r < 16; ++r) {
        scales.set(r, begin + row_in_reach(r, row_count) * weights.strides[0], col + i, count);
      }
      scales.transpose();
      for (size_t step = 0; step < count; ++step) use(scales.scale(step), scales.bias(step));
    }
  }

  /// Up to 16 weight rows times kR activation rows.
  template <int kR>
  static void times_few(const WeightRows& weights, size_t row, size_t row_count,
                        const ActivationRow* x, float* const* y) {
    const uint8_t* const begin = weights.planes[0] + row * weights.strides[0];
    for (int r = 0; r < kR; ++r) {
      __builtin_prefetch(y[r] + row, 1, 3);
      __builtin_prefetch(y[r] + row + row_count - 1, 1, 3);
    }
    F32x16 acc[kR];
    for (F32x16& a : acc) a = set1(0.0f);
    for (size_t col = 0; col < weights.cols; col += kSlab<kR>) {
      const size_t left = weights.cols - col;
      const size_t col_count = left < kSlab<kR> ? left : kSlab<kR>;
      SumVectors sums[kSlab<kR> / kGroup][kR];
      StepScales scales[kSlab<kR> / kGroup];
      for (size_t i = 0; i < row_count; ++i) {
        const uint8_t* const p = begin + i * weights.strides[0];
        size_t group = 0;
        for (size_t c = 0; c < col_count; c += kGroup, ++group) {
          const size_t group_cols = col_count - c < kGroup ? col_count - c : kGroup;
          const uint8_t* const at = p + Body::bytes_of(col + c);
          for (size_t line = 0; line < Body::bytes_of(kGroup); line += 64) {
            prefetch_chain(at + line);
          }
          scales[group].set(i, p, col + c, group_cols / kBlock);
          I32x16 out[kR];
          sum_group<kR>(p, col + c, group_cols, x, out);
          for (int r = 0; r < kR; ++r) store(sums[group][r].lane[i], out[r]);
        }
      }
      for (size_t group = 0; kGroup * group < col_count; ++group) {
        if (row_count < 16) scales[group].repeat_last(row_count);
        scales[group].transpose();
        for (int r = 0; r < kR; ++r) {
          for (size_t i = row_count; i < 16; ++i) store(sums[group][r].lane[i], zero_i32());
          sums[group][r].transpose();
        }
        const size_t step_end = (col_count - kGroup * group) / kBlock;
        for (size_t step = 0; step < 16 && step < step_end; ++step) {
          const size_t block = (col + kGroup * group) / kBlock + step;
          for (int r = 0; r < kR; ++r) {
            const ActivationBlock& values = block_of<kBlock>(x[r], block);
            I32x16 sum = load(sums[group][r].lane[sum_lane(step)]);
            if constexpr (kOffset != 0) sum = sum + broadcast_i32(kOffset * values.total);
            acc[r] = float_step<kHasBias>(acc[r], scales[group].scale(step),
                                          scales[group].bias(step), values, to_float(sum));
          }
        }
      }
    }
    for (int r = 0; r < kR; ++r) store_lanes(y[r] + row, acc[r], row_count);
  }

  static void dequantize_row(const WeightRows& weights, size_t row, float* out) {
    const uint8_t* const p = weights.planes[0] + row * weights.strides[0];
    for (size_t col = 0; col < weights.cols; col += 64) {
      const bool is_half = weights.cols - col < 64;
      alignas(64) uint8_t bytes[64];
      store_bytes(bytes, unpack_64(p, col, is_half));
      float scale[16];
      float bias[16];
      const size_t first = col % kGroup;
      const size_t left = (weights.cols - (col - first)) / kBlock;
      F32x16 scales;
      F32x16 biases = set1(0.0f);
      Body::scales(p, col - first, left < 16 ? left : 16, scales, biases);
      store(scale, scales);
      store(bias, biases);
      for (size_t i = 0; i < (is_half ? 32u : 64u); ++i) {
        const size_t step = (first + i) / kBlock;
        const float product = scale[step] * static_cast<float>(bytes[i] - Body::kZero);
        out[col + i] = kHasBias ? product + bias[step] : product;
      }
    }
  }

 private:
  /// Columns whose sums and scales are kept: with several activation rows fewer, so that they stay
  /// in the L1 cache.
  template <int kR>
  static constexpr size_t kSlab = kGroup*(kR == 1 ? 8 : 4);

  /// Scales, and biases if there are, of 16 rows' 16 float steps: [row][step], and transposed.
  struct StepScales {
    alignas(64) float scales[16][16];
    alignas(64) float biases[kHasBias ? 16 : 1][16];

    void set(size_t r, const uint8_t* row, size_t col, size_t count) {
      F32x16 scale;
      F32x16 bias;
      Body::scales(row, col, count, scale, bias);
      store(scales[r], scale);
      if constexpr (kHasBias) store(biases[r], bias);
    }
    /// Of rows that are not there, whose sums nobody stores.
    void repeat_last(size_t row_count) {
      for (size_t r = row_count; r < 16; ++r) {
        store(scales[r], load(scales[row_count - 1]));
        if constexpr (kHasBias) store(biases[r], load(biases[row_count - 1]));
      }
    }
    void transpose() {
      transpose_floats(scales);
      if constexpr (kHasBias) transpose_floats(biases);
    }
    F32x16 scale(size_t step) const { return load(scales[step]); }
    F32x16 bias(size_t step) const { return load(biases[kHasBias ? step : 0]); }

   private:
    static void transpose_floats(float (*rows)[16]) {
      I32x16 bits[16];
      for (int i = 0; i < 16; ++i) bits[i] = bits_of(load(rows[i]));
      transpose_16(bits);
      for (int i = 0; i < 16; ++i) store(rows[i], floats_of(bits[i]));
    }
  };

  FM_INLINE static Bytes64 unpack_64(const uint8_t* row, size_t col, bool is_half) {
    return is_half ? Body::template unpack<32>(row, col) : Body::template unpack<64>(row, col);
  }

  /// The sums of a group's float steps, in the lanes that sum_lane says.
  template <int kR>
  FM_INLINE static void sum_group(const uint8_t* row, size_t col, size_t col_count,
                                  const ActivationRow* x, I32x16 (&out)[kR]) {
    const auto sum_256 = [&](size_t begin, I32x16(&sums)[kR]) FM_INLINE {
      I32x16 parts[kR][4];
      repeat<4>([&](auto i) FM_INLINE {
        const size_t at = begin + 64 * i;
        if (at >= col_count) {
          for (int r = 0; r < kR; ++r) parts[r][i] = zero_i32();
          return;
        }
        const Bytes64 w = unpack_64(row, col + at, col_count - at < 64);
        for (int r = 0; r < kR; ++r) {
          parts[r][i] = sum_bytes<Body::kIsWide>(w, x[r].bytes + 2 * (col + at));
        }
      });
      for (int r = 0; r < kR; ++r) sums[r] = sums_of_quarters(parts[r]);
    };
    sum_256(0, out);
    if constexpr (kBlock == 32) {
      I32x16 second[kR];
      if (col_count > 256) {
        sum_256(256, second);
      } else {
        for (I32x16& s : second) s = zero_i32();
      }
      for (int r = 0; r < kR; ++r) out[r] = add_quarters(out[r], second[r]);
    }
  }
  /// Of sum_group: sums_of_quarters has the 16 columns q of 64 columns i in lane 4 q + i.
  static constexpr size_t sum_lane(size_t step) {
    return kBlock == 32 ? step / 8 * 8 + step % 2 * 4 + step % 8 / 2 : step % 4 * 4 + step / 4;
  }
};
