// Weights in blocks of bytes that hold scales and quantised numbers together, as ggml has them, or
// the numbers alone, with scales in a second plane. Included by kernels-inl.h.
//
// What such formats share. A format's body (kernels/formats/*-inl.h) brings, as static members:
//
//   kBlock        columns that share a scale, and so of a float step: 32 or 16
//   kBlockColumns columns of a block of bytes, 32 or 256, and kSize, its bytes
//   kZero         the unpacked number that stands for 0
//   kIsWide       whether unpacked numbers exceed 127
//   kHasBias      whether there are biases
//   unpack<kCount>(block, column)  64 columns of a block, or of two, as unsigned bytes in their
//                 order; or 32 and anything
//   Scales        of 16 rows and 16 float steps: set(r, block, count) keeps what row r has of up to
//                 16 steps, whose first block is at `block`; for_steps(count, use) calls
//                 use(step, scale, bias) with those of 16 rows, one to a lane
//
// where scales have a plane of their own, also
//
//   kScaleSize    bytes of a float step in that plane, which is where Scales::set is given a place
//   Scales        begin(weights), before all
//   number(block, column)  one column's number, where unpack() does not keep all of it
//
// Few activation rows: weight rows are read one after the other. Each gives, group by group, one
// vector of integer sums, which are kept in the L1 cache and then transposed for 16 chains side by
// side, and what its blocks say of scales, put where the lanes of 16 rows are read at once.

/// An IEEE half of each of 16 rows.
struct RowHalves {
  alignas(32) uint16_t half[16];
  FM_INLINE void set(size_t r, const uint8_t* p) { memcpy(&half[r], p, 2); }
  FM_INLINE F32x16 floats() const { return load_f16(reinterpret_cast<const uint8_t*>(half)); }
};
/// The same of 16 float steps.
struct StepHalves {
  RowHalves step[16];
  /// `count` halves from p on, `stride` bytes apart.
  FM_INLINE void set(size_t r, const uint8_t* p, size_t stride, size_t count) {
    if (count == 16) {
#pragma GCC unroll 16
      for (size_t i = 0; i < 16; ++i) step[i].set(r, p + i * stride);
    } else {
      for (size_t i = 0; i < count; ++i) step[i].set(r, p + i * stride);
    }
  }
};
/// The scales of blocks of 32 columns that begin with one as an IEEE half.
template <size_t kSize>
struct FirstHalfScales {
  StepHalves scales;
  FM_INLINE void set(size_t r, const uint8_t* block, size_t count) {
    scales.set(r, block, kSize, count);
  }
  template <typename Use>
  FM_INLINE void for_steps(size_t count, Use use) const {
    for (size_t i = 0; i < count; ++i) use(i, scales.step[i].floats(), set1(0.0f));
  }
};
/// The same with a bias behind it.
template <size_t kSize>
struct FirstHalvesScales {
  StepHalves scales;
  StepHalves biases;
  FM_INLINE void set(size_t r, const uint8_t* block, size_t count) {
    scales.set(r, block, kSize, count);
    biases.set(r, block + 2, kSize, count);
  }
  template <typename Use>
  FM_INLINE void for_steps(size_t count, Use use) const {
    for (size_t i = 0; i < count; ++i) use(i, scales.step[i].floats(), biases.step[i].floats());
  }
};
/// kCount 32-bit words of 16 rows, in whose lanes they are unpacked.
template <size_t kCount>
struct RowWords {
  alignas(64) uint32_t word[kCount][16];
  FM_INLINE void set(size_t r, const uint8_t* p, size_t first = 0, size_t count = kCount) {
    for (size_t i = 0; i < count; ++i) memcpy(&word[first + i][r], p + 4 * i, 4);
  }
  FM_INLINE I32x16 at(size_t i) const { return load(reinterpret_cast<const int32_t*>(word[i])); }
};
/// Byte number i, below 4, of every lane.
template <int i>
inline I32x16 byte_of(I32x16 words) {
  return shift_right<8 * i>(words) & 0xff;
}

/// Four float steps whose scales are d times a lane's bytes less `zero`.
template <typename Use>
FM_INLINE inline void use_bytes(size_t step, F32x16 d, I32x16 bytes, int32_t zero, Use use) {
  repeat<4>([&](auto i) FM_INLINE {
    const I32x16 s = byte_of<i>(bytes) + broadcast_i32(-zero);
    use(step + i, d * to_float(s), set1(0.0f));
  });
}
/// Four whose scales are d, and whose biases are e, times a lane's bytes.
template <typename Use>
FM_INLINE inline void use_bytes(size_t step, F32x16 d, I32x16 scales, F32x16 e, I32x16 minima,
                                Use use) {
  repeat<4>([&](auto i) FM_INLINE {
    use(step + i, d * to_float(byte_of<i>(scales)), e * to_float(byte_of<i>(minima)));
  });
}

/// 4-bit numbers of a block of 32 columns, the low halves of its 16 bytes before the high ones, and
/// of the block `size` bytes further, where 64 columns are wanted.
template <int kCount>
inline Bytes64 split_nibbles(const uint8_t* p, size_t size) {
  const uint8_t* const second = kCount == 64 ? p + size : p;
  return shift_right<0, 4, 0, 4>(load_16_twice(p, second)) & 15;
}
/// 16 where the bit of the column is set: the fifth bits of the same.
template <int kCount>
inline Bytes64 fifth_bits(const uint8_t* p, size_t size) {
  uint32_t low;
  uint32_t high;
  memcpy(&low, p, 4);
  memcpy(&high, kCount == 64 ? p + size : p, 4);
  return spread_bits<16>(low | uint64_t{high} << 32);
}

template <typename Body>
struct Blocks {
  static constexpr int kBlock = Body::kBlock;
  static constexpr bool kHasBias = Body::kHasBias;
  static constexpr int32_t kOffset = kNumbersOffset<Body::kIsWide> - Body::kZero;
  static constexpr size_t kGroup = 16 * kBlock;
  static constexpr bool kHasScalePlane = requires { Body::kScaleSize; };

  static void unpack(const WeightRows& weights, size_t row, size_t row_count, size_t col,
                     size_t col_count, uint8_t* to, size_t stride) {
    const uint8_t* const begin = row_begin(weights, row);
    unpack_rows<Body::kIsWide>(row_count, col_count, to, stride,
                               [&](size_t r, size_t i, bool is_half) FM_INLINE {
                                 return unpack_64(begin + r * weights.strides[0], col + i, is_half);
                               });
  }

  template <typename Use>
  FM_INLINE static void for_scales(const WeightRows& weights, size_t row, size_t row_count,
                                   size_t col, size_t col_count, Use use) {
    typename Body::Scales scales;
    if constexpr (kHasScalePlane) scales.begin(weights);
    for (size_t i = 0; i < col_count; i += kGroup) {
      const size_t left = (col_count - i) / kBlock;
      const size_t count = left < 16 ? left : 16;
      for (size_t r = 0; r < 16; ++r) {
        scales.set(r, scales_at(weights, row + row_in_reach(r, row_count), col + i), count);
      }
      scales.for_steps(count,
                       [&](size_t, F32x16 scale, F32x16 bias) FM_INLINE { use(scale, bias); });
    }
  }

  /// Up to 16 weight rows times kR activation rows.
  template <int kR>
  static void times_few(const WeightRows& weights, size_t row, size_t row_count,
                        const ActivationRow* x, float* const* y) {
    const uint8_t* const begin = row_begin(weights, row);
    for (int r = 0; r < kR; ++r) {
      __builtin_prefetch(y[r] + row, 1, 3);
      __builtin_prefetch(y[r] + row + row_count - 1, 1, 3);
    }
    F32x16 acc[kR];
    for (F32x16& a : acc) a = set1(0.0f);
    constexpr size_t kGroups = kR == 1 ? 8 : 4;
    typename Body::Scales scales[kGroups];
    if constexpr (kHasScalePlane) {
      for (auto& of_group : scales) of_group.begin(weights);
    }
    for (size_t col = 0; col < weights.cols; col += kGroups * kGroup) {
      const size_t left = weights.cols - col;
      const size_t col_count = left < kGroups * kGroup ? left : kGroups * kGroup;
      SumVectors sums[kGroups][kR];
      for (size_t i = 0; i < 16; ++i) {
        const uint8_t* p = begin + row_in_reach(i, row_count) * weights.strides[0] + bytes_of(col);
        for (size_t group = 0; group * kGroup < col_count; ++group, p += bytes_of(kGroup)) {
          const size_t at = group * kGroup;
          const size_t group_cols = col_count - at < kGroup ? col_count - at : kGroup;
          if constexpr (kHasScalePlane) {
            const uint8_t* const at_scales =
                scales_at(weights, row + row_in_reach(i, row_count), col + at);
            // Of 16 rows on: nothing else would fetch them before all are wanted at once.
            __builtin_prefetch(at_scales + 16 * weights.strides[1], 0, 3);
            scales[group].set(i, at_scales, group_cols / kBlock);
          } else {
            scales[group].set(i, p, group_cols / kBlock);
          }
          I32x16 out[kR];
          if (i >= row_count) {
            for (I32x16& sum : out) sum = zero_i32();
          } else {
            for (size_t line = 0; line < bytes_of(kGroup); line += 64) prefetch_chain(p + line);
            sum_group<kR>(p, col + at, group_cols, x, out);
          }
          for (int r = 0; r < kR; ++r) store(sums[group][r].lane[i], out[r]);
        }
      }
      for (size_t group = 0; kGroup * group < col_count; ++group) {
        for (int r = 0; r < kR; ++r) sums[group][r].transpose();
        const size_t block = (col + kGroup * group) / kBlock;
        const size_t step_left = (col_count - kGroup * group) / kBlock;
        scales[group].for_steps(
            step_left < 16 ? step_left : 16, [&](size_t step, F32x16 scale, F32x16 bias) FM_INLINE {
              for (int r = 0; r < kR; ++r) {
                const ActivationBlock& values = block_of<kBlock>(x[r], block + step);
                I32x16 sum = load(sums[group][r].lane[sum_lane(step)]);
                if constexpr (kOffset != 0) sum = sum + broadcast_i32(kOffset * values.total);
                acc[r] = float_step<kHasBias>(acc[r], scale, bias, values, to_float(sum));
              }
            });
      }
    }
    for (int r = 0; r < kR; ++r) store_lanes(y[r] + row, acc[r], row_count);
  }

  static void dequantize_row(const WeightRows& weights, size_t row, float* out) {
    const uint8_t* const p = row_begin(weights, row);
    for (size_t col = 0; col < weights.cols; col += kGroup) {
      const size_t left = weights.cols - col;
      const size_t col_count = left < kGroup ? left : kGroup;
      float scale[16] = {};
      float bias[16];
      for_scales(weights, row, 1, col, col_count,
                 [&, step = size_t{0}](F32x16 scales, F32x16 biases) mutable {
                   float lanes[16];
                   store(lanes, scales);
                   scale[step] = lanes[0];
                   store(lanes, biases);
                   bias[step++] = lanes[0];
                 });
      alignas(64) uint8_t bytes[64];
      for (size_t i = 0; i < col_count; ++i) {
        if (i % 64 == 0) store_bytes(bytes, bytes_64(p, col + i, col_count - i < 64));
        float number;
        if constexpr (kHasScalePlane) {
          number = Body::number(p + bytes_of(col + i), (col + i) % Body::kBlockColumns);
        } else {
          number = static_cast<float>(bytes[i % 64] - Body::kZero);
        }
        const float product = scale[i / kBlock] * number;
        out[col + i] = kHasBias ? product + bias[i / kBlock] : product;
      }
    }
  }

 private:
  static const uint8_t* row_begin(const WeightRows& weights, size_t row) {
    return weights.planes[0] + row * weights.strides[0];
  }
  static constexpr size_t bytes_of(size_t columns) {
    return columns / Body::kBlockColumns * Body::kSize;
  }
  /// Where the scales of a row from `col` on begin.
  FM_INLINE static const uint8_t* scales_at(const WeightRows& weights, size_t row, size_t col) {
    if constexpr (kHasScalePlane) {
      return weights.planes[1] + row * weights.strides[1] + col / kBlock * Body::kScaleSize;
    } else {
      return weights.planes[0] + row * weights.strides[0] + bytes_of(col);
    }
  }

  FM_INLINE static Bytes64 bytes_64(const uint8_t* row, size_t col, bool is_half) {
    const uint8_t* const block = row + bytes_of(col);
    const size_t in_block = col % Body::kBlockColumns;
    if constexpr (Body::kBlockColumns >= 64) return Body::template unpack<64>(block, in_block);
    return is_half ? Body::template unpack<32>(block, in_block)
                   : Body::template unpack<64>(block, in_block);
  }
  FM_INLINE static Numbers64 unpack_64(const uint8_t* row, size_t col, bool is_half) {
    return numbers_of(bytes_64(row, col, is_half));
  }

  /// The sums of the float steps of a group, which begins at p, in the lanes that sum_lane says.
  template <int kR>
  FM_INLINE static void sum_group(const uint8_t* p, size_t col, size_t col_count,
                                  const ActivationRow* x, I32x16 (&out)[kR]) {
    if (Body::kBlockColumns < 256 && col_count < kGroup) {
      sum_part<kR>(p, col, col_count, x, out);
      return;
    }
    sum_256<kR>(p, col, 0, x, out);
    if constexpr (kBlock == 32) {
      I32x16 second[kR];
      if (col_count > 256) {
        sum_256<kR>(p, col, 256, x, second);
      } else {
        for (I32x16& s : second) s = zero_i32();
      }
      for (int r = 0; r < kR; ++r) out[r] = add_quarters(out[r], second[r]);
    }
  }
  template <int kR>
  FM_INLINE static void sum_256(const uint8_t* p, size_t col, size_t begin, const ActivationRow* x,
                                I32x16 (&out)[kR]) {
    I32x16 parts[kR][4];
    repeat<4>([&](auto i) FM_INLINE {
      const size_t at = begin + 64 * i;
      const Numbers64 w = unpack_64(p, at, false);
      for (int r = 0; r < kR; ++r) {
        parts[r][i] = sum_numbers<Body::kIsWide>(w, x[r].numbers + 2 * (col + at));
      }
    });
    for (int r = 0; r < kR; ++r) out[r] = sums_of_quarters(parts[r]);
  }
  /// The same of a group's beginning: one row's last columns.
  template <int kR>
  __attribute__((noinline)) static void sum_part(const uint8_t* p, size_t col, size_t col_count,
                                                 const ActivationRow* x, I32x16 (&out)[kR]) {
    for (int r = 0; r < kR; ++r) {
      I32x16 parts[kGroup / 64];
      for (size_t i = 0; i < kGroup / 64; ++i) {
        const size_t at = 64 * i;
        parts[i] = at >= col_count
                       ? zero_i32()
                       : sum_numbers<Body::kIsWide>(unpack_64(p, at, col_count - at < 64),
                                                    x[r].numbers + 2 * (col + at));
      }
      out[r] = sums_of_quarters(parts);
      if constexpr (kBlock == 32) out[r] = add_quarters(out[r], sums_of_quarters(parts + 4));
    }
  }
  /// Of sum_group: sums_of_quarters has the 16 columns q of 64 columns i in lane 4 q + i.
  static constexpr size_t sum_lane(size_t step) {
    return kBlock == 32 ? sum_lane_32(step) : step % 4 * 4 + step / 4;
  }
};
