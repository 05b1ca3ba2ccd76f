// MLX's affine weights: w = scale_g * q + bias_g (docs/formats.md), q of `bits` bits in groups of
// 32, 64 or 128. A row is one little-endian stream of bits, element e in bits [e * bits, ...); its
// scales and its biases lie in two arrays of their own. Included by kernels-inl.h.

/// Calls use(scale, bias), of 16 rows each, for the blocks of col_count columns.
template <size_t kBlock, typename Use>
FM_INLINE inline void for_affine_scales(const WeightRows& weights, size_t row, size_t row_count,
                                        size_t col, size_t col_count, Use use) {
  const size_t blocks_per_group = weights.block_cols / kBlock;
  const size_t group_end = (col + col_count) / weights.block_cols;
  for (size_t group = col / weights.block_cols; group < group_end; group += 16) {
    const size_t count = group_end - group < 16 ? group_end - group : 16;
    const auto address = [&](const uint8_t* values, size_t i) {
      return values + (row + row_in_reach(i, row_count)) * weights.strides[1] +
             group * size_of(weights.type);
    };
    const auto use_groups = [&](auto scale_of, auto bias_of) {
      for (size_t i = 0; i < count; ++i) {
        const F32x16 scale = scale_of(i);
        const F32x16 bias = bias_of(i);
        for (size_t b = 0; b < blocks_per_group; ++b) use(scale, bias);
      }
    };
    if (weights.type == FloatType::kF32) {
      I32x16 scales[16];
      I32x16 biases[16];
      for (size_t i = 0; i < 16; ++i) {
        scales[i] = bits_of(load_f32_n(address(weights.planes[1], i), count));
        biases[i] = bits_of(load_f32_n(address(weights.planes[2], i), count));
      }
      transpose_16(scales);
      transpose_16(biases);
      use_groups([&](size_t i) { return floats_of(scales[i]); },
                 [&](size_t i) { return floats_of(biases[i]); });
      continue;
    }
    I32x16 pairs[16];
    if (weights.cols == weights.block_cols) {
      // One scale a row: they lie side by side.
      pairs[0] =
          load_pairs(address(weights.planes[1], 0), address(weights.planes[2], 0), row_count);
    } else {
      for (size_t i = 0; i < 16; ++i) {
        pairs[i] = load_pairs(address(weights.planes[1], i), address(weights.planes[2], i), count);
      }
      transpose_16(pairs);
    }
    if (weights.type == FloatType::kBF16) {
      use_groups([&](size_t i) { return upper_bf16(pairs[i]); },
                 [&](size_t i) { return lower_bf16(pairs[i]); });
    } else {
      use_groups([&](size_t i) { return upper_f16(pairs[i]); },
                 [&](size_t i) { return lower_f16(pairs[i]); });
    }
  }
}

/// Fetches scales and biases of a tile's rows while the first half of them is read: nothing else
/// would before all are wanted at once. `i`: the row, of row_count, that is read next.
inline void prefetch_affine_scales(const WeightRows& weights, size_t row, size_t row_count,
                                   size_t i, size_t col, size_t col_count) {
  const size_t begin = col / weights.block_cols * size_of(weights.type);
  const size_t end = (col + col_count) / weights.block_cols * size_of(weights.type);
  for (size_t r = 2 * i; r < 2 * i + 2 && r < row_count; ++r) {
    const size_t at = (row + r) * weights.strides[1];
    for (size_t offset = begin; offset < end; offset += 64) {
      __builtin_prefetch(weights.planes[1] + at + offset, 0, 3);
      __builtin_prefetch(weights.planes[2] + at + offset, 0, 3);
    }
  }
}

/// Columns whose sums are kept at a time.
constexpr size_t kSumSlab = 8192;
constexpr size_t kSumVectors = kSumSlab / 512;

/// Up to 16 weight rows times kR activation rows. A format brings sum_rows, the integer sums of the
/// rows' blocks, and block_sum, those of one block of what sum_rows kept.
template <typename Format, int kR>
inline void affine_times_few(const WeightRows& weights, size_t row, size_t row_count,
                             const ActivationRow* x, float* const* y) {
  constexpr size_t kBlock = Format::kBlock;
  // Stores retire in order: sums would wait behind an output whose line is not there yet.
  for (int r = 0; r < kR; ++r) {
    __builtin_prefetch(y[r] + row, 1, 3);
    __builtin_prefetch(y[r] + row + row_count - 1, 1, 3);
  }
  F32x16 acc[kR];
  for (F32x16& a : acc) a = set1(0.0f);
  for (size_t col = 0; col < weights.cols; col += kSumSlab) {
    const size_t left = weights.cols - col;
    const size_t col_count = left < kSumSlab ? left : kSumSlab;
    SumVectors sums[kSumVectors][kR];
    Format::template sum_rows<kR>(weights, row, row_count, col, col_count, x, sums);
    // The memory is kept reading what comes next.
    const uint8_t* next = weights.planes[0] + (row + row_count) * weights.strides[0];
    size_t block = 0;
    Format::for_scales(weights, row, row_count, col, col_count, [&](F32x16 scale, F32x16 bias) {
      prefetch_chain(next);
      prefetch_chain(next + 64);
      next += 128;
      for (int r = 0; r < kR; ++r) {
        const ActivationBlock& values = block_of<kBlock>(x[r], col / kBlock + block);
        I32x16 sum = Format::template block_sum<kR>(sums, r, block);
        if constexpr (Format::kOffset != 0) {
          sum = sum + broadcast_i32(Format::kOffset * values.total);
        }
        acc[r] = float_step<Format::kHasBias>(acc[r], scale, bias, values, to_float(sum));
      }
      ++block;
    });
  }
  for (int r = 0; r < kR; ++r) store_lanes(y[r] + row, acc[r], row_count);
}

// 4 bits: a 32-bit word holds 8 elements, a chunk of 32 has 4 words, a line of 64 bytes 4 chunks.

template <int kBlockColumns>
struct Affine4 {
  static constexpr int kBlock = kBlockColumns;
  static constexpr int32_t kOffset = 0;
  static constexpr bool kHasBias = true;

  template <typename Use>
  FM_INLINE static void for_scales(const WeightRows& weights, size_t row, size_t row_count,
                                   size_t col, size_t col_count, Use use) {
    for_affine_scales<kBlock>(weights, row, row_count, col, col_count, use);
  }

  static void unpack(const WeightRows& weights, size_t row, size_t row_count, size_t col,
                     size_t col_count, uint8_t* to, size_t stride) {
    for (size_t i = 0; i < col_count; i += 128) {
      const size_t word_count = col_count - i < 128 ? (col_count - i) / 8 : 16;
      I32x16 words[16];
      for (size_t r = 0; r < 16; ++r) {
        words[r] =
            load_words(weights.planes[0] + (row + row_in_reach(r, row_count)) * weights.strides[0] +
                           (col + i) / 2,
                       word_count);
      }
      transpose_16(words);
      for (size_t w = 0; w < word_count; ++w) {
        repeat<8 / kStepColumns>([&](auto step) FM_INLINE {
          store_step(to, nibble_step<step>(words[w]));
          to += stride;
        });
      }
    }
  }

  template <int kR>
  static void times_few(const WeightRows& weights, size_t row, size_t row_count,
                        const ActivationRow* x, float* const* y) {
    affine_times_few<Affine4, kR>(weights, row, row_count, x, y);
  }

  // Blocks of 512 elements: 4 lines of 64 bytes, transposed to have word 0 of every chunk, then
  // word 1, and so on, so that a lane has a chunk (ActivationRow::planes). Rows of up to 128
  // elements are taken 4 at a time as one block: line j is then row j.
  template <int kR>
  static void sum_rows(const WeightRows& weights, size_t row, size_t row_count, size_t col,
                       size_t col_count, const ActivationRow* x, SumVectors (*sums)[kR]) {
    const uint8_t* w = weights.planes[0] + row * weights.strides[0] + col / 2;
    if (weights.cols <= 128) {
      sum_short_rows<kR>(weights, w, row_count, x, *sums);
      return;
    }
    const size_t full_blocks = col_count / 512;
    const bool has_tail = col_count % 512 != 0;
    const NibbleMask tail(col_count % 512 / 2);
    const auto sum_block = [&](const uint8_t* row_begin, size_t block, I32x16(&out)[kR]) FM_INLINE {
      const uint8_t* const p = row_begin + 256 * block;
      const size_t planes_at = 2 * col + 1024 * block;
      const auto planes = [&](int r, int offset) {
        return load_bytes(x[r].planes + planes_at + offset);
      };
      if (block < full_blocks) {
        for (int line = 0; line < 4; ++line) prefetch_chain(p + 64 * line);
        multiply<kR>(load_nibbles(p), planes, out);
      } else {
        prefetch_chain(p);
        multiply<kR>(load_nibbles(p, 64, tail), planes, out);
      }
    };
    const size_t block_count = full_blocks + (has_tail ? 1 : 0);
    constexpr size_t kVectorBlocks = kBlock / 32;
    for (size_t i = 0; i < row_count; ++i, w += weights.strides[0]) {
      prefetch_affine_scales(weights, row, row_count, i, col, col_count);
      for (size_t block = 0; block < block_count; block += kVectorBlocks) {
        I32x16 chunks[kR];
        sum_block(w, block, chunks);
        if constexpr (kBlock == 64) {
          I32x16 second[kR];
          for (I32x16& s : second) s = zero_i32();
          if (block + 1 < block_count) sum_block(w, block + 1, second);
          for (int r = 0; r < kR; ++r) chunks[r] = add_quarters(chunks[r], second[r]);
        }
        for (int r = 0; r < kR; ++r) store(sums[block / kVectorBlocks][r].lane[i], chunks[r]);
      }
    }
    for (size_t v = 0; kVectorBlocks * v < block_count; ++v) {
      for (int r = 0; r < kR; ++r) {
        for (size_t i = row_count; i < 16; ++i) store(sums[v][r].lane[i], zero_i32());
        sums[v][r].transpose();
      }
    }
  }

  template <int kR>
  static I32x16 block_sum(const SumVectors (*sums)[kR], int r, size_t block) {
    // Chunks have the lanes 4 (c % 4) + c / 4; two of them, added, those of the even one's half.
    const size_t lane =
        kBlock == 32 ? chunk_lane(block) : block % 16 / 8 * 8 + block % 2 * 4 + block % 8 / 2;
    return load(sums[block / 16][r].lane[lane]);
  }

 private:
  template <int kR, typename LoadPlanes>
  FM_INLINE static void multiply(const NibbleBlock& w, LoadPlanes load_planes, I32x16 (&out)[kR]) {
    PlaneSums sums[kR];
    for (PlaneSums& sum : sums) sum = zero_sums();
#pragma GCC unroll 4
    for (int part = 0; part < 4; ++part) {
#pragma GCC unroll 2
      for (int odd = 0; odd < 2; ++odd) {
        const Bytes64 q = odd == 0 ? low_nibbles(w.part[part]) : high_nibbles(w.part[part]);
        const int offset = 256 * part + 128 * odd;
        for (int r = 0; r < kR; ++r) {
          sums[r] = add_products(sums[r], q, load_planes(r, offset), load_planes(r, offset + 64));
        }
      }
    }
    for (int r = 0; r < kR; ++r) out[r] = total(sums[r]);
  }

  template <int kR>
  static void sum_short_rows(const WeightRows& weights, const uint8_t* w, size_t row_count,
                             const ActivationRow* x, SumVectors (&out)[kR]) {
    const NibbleMask lines = NibbleMask::lines(weights.cols / 2);
    const NibbleMask line(weights.cols / 2);
    if (row_count < 16) {
      for (SumVectors& sums : out) memset(&sums, 0, sizeof(sums));
    }
    for (size_t i = 0; i < row_count;) {
      I32x16 sums[kR];  // lanes 4 c + j: chunk c of row j
      const bool is_four = i + 4 <= row_count;
      const size_t count = is_four ? 4 : 1;
      prefetch_chain(w);
      multiply<kR>(
          is_four ? load_nibbles(w, weights.strides[0], lines) : load_nibbles(w, 64, line),
          [&](int r, int offset) { return repeat_firsts(load_bytes(x[r].planes + offset)); }, sums);
      for (int r = 0; r < kR; ++r) {
        // Where block_sum looks for them.
        if constexpr (kBlock == 64) sums[r] = add_quarters(sums[r], zero_i32());
        alignas(64) int32_t lanes[16];
        store(lanes, sums[r]);
        for (size_t quarter = 0; quarter < 128 / kBlock; ++quarter) {
          int32_t* const to = out[r].lane[4 * quarter] + i;
          if (is_four) {
            memcpy(to, lanes + 4 * quarter, 16);
          } else {
            *to = lanes[4 * quarter];
          }
        }
      }
      i += count;
      w += count * weights.strides[0];
    }
  }
};

// Other widths.

template <int kBits, int kBlockColumns>
struct Affine {
  static constexpr int kBlock = kBlockColumns;
  static constexpr bool kIsWide = kBits == 8;
  static constexpr int32_t kOffset = kNumbersOffset<kIsWide>;
  static constexpr bool kHasBias = true;

  template <typename Use>
  FM_INLINE static void for_scales(const WeightRows& weights, size_t row, size_t row_count,
                                   size_t col, size_t col_count, Use use) {
    for_affine_scales<kBlock>(weights, row, row_count, col, col_count, use);
  }

  static void unpack(const WeightRows& weights, size_t row, size_t row_count, size_t col,
                     size_t col_count, uint8_t* to, size_t stride) {
    const uint8_t* const begin = weights.planes[0] + row * weights.strides[0] + bytes_of(col);
    unpack_rows<kIsWide>(row_count, col_count, to, stride,
                         [&](size_t r, size_t i, bool is_half) FM_INLINE {
                           return unpack_64(begin + r * weights.strides[0] + bytes_of(i), is_half);
                         });
  }

  template <int kR>
  static void times_few(const WeightRows& weights, size_t row, size_t row_count,
                        const ActivationRow* x, float* const* y) {
    affine_times_few<Affine, kR>(weights, row, row_count, x, y);
  }

  template <int kR>
  static void sum_rows(const WeightRows& weights, size_t row, size_t row_count, size_t col,
                       size_t col_count, const ActivationRow* x, SumVectors (*sums)[kR]) {
    const uint8_t* w = weights.planes[0] + row * weights.strides[0] + bytes_of(col);
    for (size_t i = 0; i < row_count; ++i, w += weights.strides[0]) {
      prefetch_affine_scales(weights, row, row_count, i, col, col_count);
      for (size_t at = 0; at < col_count; at += kGroup) {
        const size_t group_cols = col_count - at < kGroup ? col_count - at : kGroup;
        I32x16 out[kR];
        sum_group<kR>(w + bytes_of(at), col + at, group_cols, x, out);
        for (int r = 0; r < kR; ++r) store(sums[at / kGroup][r].lane[i], out[r]);
      }
    }
    for (size_t group = 0; kGroup * group < col_count; ++group) {
      for (int r = 0; r < kR; ++r) {
        for (size_t i = row_count; i < 16; ++i) store(sums[group][r].lane[i], zero_i32());
        sums[group][r].transpose();
      }
    }
  }

  template <int kR>
  static I32x16 block_sum(const SumVectors (*sums)[kR], int r, size_t block) {
    const size_t i = block % 16;
    return load(sums[block / 16][r].lane[kBlock == 32 ? sum_lane_32(i) : i]);
  }

 private:
  static constexpr size_t kGroup = 16 * kBlock;
  static constexpr size_t bytes_of(size_t columns) { return columns / 8 * kBits; }

  FM_INLINE static Numbers64 unpack_64(const uint8_t* p, bool is_half) {
    if (!is_half) return unpack_bits<kBits>(p);
    uint8_t half[8 * kBits] = {};
    memcpy(half, p, 4 * kBits);
    return unpack_bits<kBits>(half);
  }

  /// The sums of 16 blocks, as far as there are so many, in the lanes that block_sum knows.
  template <int kR>
  FM_INLINE static void sum_group(const uint8_t* p, size_t col, size_t col_count,
                                  const ActivationRow* x, I32x16 (&out)[kR]) {
    constexpr int kParts = kGroup / 256;
    I32x16 parts[kR][kParts];
    repeat<kParts>([&](auto i) FM_INLINE {
      constexpr size_t kAt = 256 * i;
      I32x16 sums[kR];
      if (col_count >= kAt + 256) {
        sum_256<kR, true>(p + bytes_of(kAt), col + kAt, 256, x, sums);
      } else {
        for (I32x16& sum : sums) sum = zero_i32();
        if (col_count > kAt) {
          sum_256<kR, false>(p + bytes_of(kAt), col + kAt, col_count - kAt, x, sums);
        }
      }
      for (int r = 0; r < kR; ++r) parts[r][i] = sums[r];
    });
    for (int r = 0; r < kR; ++r) {
      out[r] = add_quarters(parts[r][0], parts[r][1]);
      if constexpr (kParts == 4) {
        out[r] = add_quarters(out[r], add_quarters(parts[r][2], parts[r][3]));
      }
    }
  }
  template <int kR, bool kIsFull>
  FM_INLINE static void sum_256(const uint8_t* p, size_t col, size_t col_count,
                                const ActivationRow* x, I32x16 (&out)[kR]) {
    I32x16 sums[kR][4];
    repeat<4>([&](auto i) FM_INLINE {
      constexpr size_t kAt = 64 * i;
      if (!kIsFull && col_count <= kAt) {
        for (int r = 0; r < kR; ++r) sums[r][i] = zero_i32();
        return;
      }
      prefetch_chain(p + bytes_of(kAt));
      const Numbers64 w = unpack_64(p + bytes_of(kAt), !kIsFull && col_count - kAt < 64);
      for (int r = 0; r < kR; ++r) {
        sums[r][i] = sum_numbers<kIsWide>(w, x[r].numbers + 2 * (col + kAt));
      }
    });
    for (int r = 0; r < kR; ++r) out[r] = sums_of_quarters(sums[r]);
  }
};

void dequantize_affine_row(const WeightRows& weights, size_t row, float* out) {
  const uint8_t* const w = weights.planes[0] + row * weights.strides[0];
  const uint8_t* const scales = weights.planes[1] + row * weights.strides[1];
  const uint8_t* const biases = weights.planes[2] + row * weights.strides[2];
  for (size_t g = 0; g < weights.cols / weights.block_cols; ++g) {
    float scale[16];
    float bias[16];
    store(scale, load_widened_lanes(weights.type, scales + g * size_of(weights.type), 1));
    store(bias, load_widened_lanes(weights.type, biases + g * size_of(weights.type), 1));
    for (size_t i = g * weights.block_cols; i < (g + 1) * weights.block_cols; ++i) {
      const size_t bit = i * weights.bits;
      uint32_t window = w[bit / 8];
      if (bit % 8 + weights.bits > 8) window |= uint32_t{w[bit / 8 + 1]} << 8;
      const uint32_t q = (window >> (bit % 8)) & ((1u << weights.bits) - 1);
      out[i] = scale[0] * static_cast<float>(q) + bias[0];
    }
  }
}
