// Integer weights times rows of activations. Included by kernels-inl.h.
//
// Per output one chain of float steps, a step for each block of columns (docs/numerics.md). Here is
// what all formats of weights share; a format (kernels/formats) brings, as static functions:
//
//   kBlock           columns of a float step: 64 or 32
//   kOffset          what was taken from its unpacked weights
//   unpack(...)      16 rows of some columns to steps, for many activation rows
//   sum_rows(...)    the integer sums of 16 rows' blocks, for few activation rows
//   block_sum(...)   of what sum_rows kept, one block's sums of 16 rows
//   for_scales(...)  the scales and biases of 16 rows, block by block
//
// Many activation rows: a tile of kChainVectors * 16 weight rows is unpacked once, side by side,
// and meets kChainRows activation rows at a time, whose integers are broadcast. Columns are taken
// in slabs, between which a chain's float rests in y.
//
// Few activation rows: weight rows are read one after the other, as the memory likes it; the
// integer sums of 16 are kept in the L1 cache, and then transposed for 16 chains side by side.

/// Calls fn with Index<0> to Index<kCount - 1>: a loop whose index is a constant before g++ splits
/// arrays into registers, which comes before it unrolls loops.
template <int kValue>
struct Index {
  // NOLINTNEXTLINE(google-explicit-constructor): it stands for the number
  constexpr operator int() const { return kValue; }
};
template <int kCount, typename Fn>
__attribute__((always_inline)) inline void repeat(Fn&& fn) {
  if constexpr (kCount > 0) {
    repeat<kCount - 1>(fn);
    fn(Index<kCount - 1>{});
  }
}
#define FM_INLINE __attribute__((always_inline))

/// A step is 64 bytes: kStepColumns columns of 16 rows. A chunk is 32 columns.
constexpr size_t kStepSize = 64;
constexpr size_t kChunkSteps = 32 / kStepColumns;

/// The scales and biases of 16 rows for one block.
struct BlockScales {
  alignas(64) float scale[16];
  alignas(64) float bias[16];
};

template <int kBlock>
inline const ActivationBlock& block_of(const ActivationRow& x, size_t block) {
  return kBlock == 32 ? x.blocks32[block] : x.blocks64[block];
}

inline F32x16 float_step(F32x16 acc, F32x16 scale, F32x16 bias, const ActivationBlock& x,
                         F32x16 partial) {
  acc = fma(bias, set1(x.sum), acc);
  return fma(scale * set1(x.scale), partial, acc);
}

/// Where the steps of chunk number `chunk` begin among a row's integers.
inline const int8_t* activation_steps(const ActivationRow& x, size_t chunk) {
  if constexpr (kStepColumns == 4) {
    return x.planes + 1024 * (chunk / 16) + 4 * chunk_lane(chunk);
  } else {
    return reinterpret_cast<const int8_t*>(x.words + 32 * chunk);
  }
}

/// The columns of weights that are unpacked at a time: for few activation rows they stay in the L1
/// cache, for many, which come from the L2 cache themselves, a float's way through y counts more.
constexpr size_t kShortSlab = 512;
constexpr size_t kSlabMax = 2048;
constexpr size_t kLongSlabRows = 32;

/// A tile of weights, unpacked: a slab of it, and the scales of kSlabMax columns.
struct ChainTile {
  alignas(64) uint8_t steps[kSlabMax / kStepColumns * kChainVectors * kStepSize];
  BlockScales scales[kSlabMax / 32 * kChainVectors];
};

/// Where a tile lies in its matrix.
struct TilePlace {
  size_t row;
  size_t row_count;  // <= 16 * kChainVectors
  size_t col;        // a multiple of kShortSlab
  size_t col_count;
  size_t rows_of(size_t vector) const {
    if (row_count <= 16 * vector) return 0;
    const size_t count = row_count - 16 * vector;
    return count < 16 ? count : 16;
  }
};

/// What will be unpacked next, fetched into the L2 cache in as many parts as the tile at hand has
/// blocks: all at once, loads would wait for places of lines that are on their way.
struct TileFetch {
  const uint8_t* begin;
  size_t stride;
  size_t row_count;
  size_t size;  // of a row
  void fetch(size_t part, size_t part_count) const {
    const size_t end = (part + 1) * row_count / part_count;
    for (size_t r = part * row_count / part_count; r < end; ++r) {
      for (size_t i = 0; i < size; i += 64) __builtin_prefetch(begin + r * stride + i, 0, 2);
    }
  }
};

/// kW vectors of weight rows times kR activation rows.
template <int kBlock, int32_t kOffset, int kW, int kR>
void chain_tile(const ChainTile& tile, const TilePlace& place, const TileFetch& next,
                const ActivationRow* x, float* const* y) {
  F32x16 acc[kW][kR];
  repeat<kW>([&](auto w) FM_INLINE {
    repeat<kR>([&](auto r) FM_INLINE {
      acc[w][r] = place.col == 0 ? set1(0.0f)
                                 : load_lanes(y[r] + place.row + 16 * w, place.rows_of(size_t(w)));
    });
  });
  const uint8_t* steps = tile.steps;
  const BlockScales* scales = tile.scales + place.col % kSlabMax / kBlock * kW;
  const size_t block_end = (place.col + place.col_count) / kBlock;
  for (size_t block = place.col / kBlock; block < block_end; ++block) {
    next.fetch(block - place.col / kBlock, place.col_count / kBlock);
    // What is used once a block stays out of the registers, or g++ spills what every step uses.
    __asm__ volatile("" : "+m"(acc));
    StepSums sums[kW][kR];
    repeat<kW>([&](auto w) FM_INLINE {
      repeat<kR>([&](auto r) FM_INLINE { sums[w][r] = zero_step_sums(); });
    });
    const int8_t* at[kR];
    repeat<kR>([&](auto r) FM_INLINE { at[r] = activation_steps(x[r], block * (kBlock / 32)); });
#pragma GCC unroll 1
    for (size_t step = 0; step < kChunkSteps; ++step) {
      repeat<kBlock / 32>([&](auto chunk) FM_INLINE {
        StepWeights weights[kW];
        repeat<kW>([&](auto w) FM_INLINE {
          weights[w] = load_step(steps + (kChunkSteps * chunk * kW + w) * kStepSize);
        });
        repeat<kR>([&](auto r) FM_INLINE {
          const StepActivation value =
              broadcast_step(at[r] + kActivationStep * step + kActivationChunk * chunk);
          repeat<kW>([&](auto w) FM_INLINE { add_step(sums[w][r], weights[w], value); });
        });
      });
      steps += kW * kStepSize;
    }
    steps += (kBlock / 32 - 1) * kChunkSteps * kW * kStepSize;
    repeat<kR>([&](auto r) FM_INLINE {
      const ActivationBlock& values = block_of<kBlock>(x[r], block);
      repeat<kW>([&](auto w) FM_INLINE {
        I32x16 total = step_total(sums[w][r]);
        if constexpr (kOffset != 0) total = total + broadcast_i32(kOffset * values.total);
        acc[w][r] = float_step(acc[w][r], load(scales[w].scale), load(scales[w].bias), values,
                               to_float(total));
      });
    });
    scales += kW;
  }
  repeat<kW>([&](auto w) FM_INLINE {
    repeat<kR>([&](auto r) FM_INLINE {
      store_lanes(y[r] + place.row + 16 * w, acc[w][r], place.rows_of(size_t(w)));
    });
  });
}

template <int kBlock, int32_t kOffset, int kW, int kR = kChainRows>
inline void chain_rows(size_t count, const ChainTile& tile, const TilePlace& place,
                       const TileFetch& next, const ActivationRow* x, float* const* y) {
  if (count == kR) {
    chain_tile<kBlock, kOffset, kW, kR>(tile, place, next, x, y);
  } else if constexpr (kR > 1) {
    chain_rows<kBlock, kOffset, kW, kR - 1>(count, tile, place, next, x, y);
  }
}

/// Unpacks kW vectors of weight rows.
template <typename Format, int kW>
inline void unpack_tile(const WeightRows& weights, const TilePlace& place, ChainTile& tile) {
  for (size_t w = 0; w < kW; ++w) {
    Format::unpack(weights, place.row + 16 * w, place.rows_of(w), place.col, place.col_count,
                   tile.steps + kStepSize * w, kStepSize * kW);
  }
}
/// The scales of col_count columns from place.col on.
template <typename Format, int kW>
inline void load_tile_scales(const WeightRows& weights, const TilePlace& place, size_t col_count,
                             ChainTile& tile) {
  for (size_t w = 0; w < kW; ++w) {
    BlockScales* to = tile.scales + w;
    Format::for_scales(weights, place.row + 16 * w, place.rows_of(w), place.col, col_count,
                       [&](F32x16 scale, F32x16 bias) {
                         store(to->scale, scale);
                         store(to->bias, bias);
                         to += kW;
                       });
  }
}

/// What is unpacked after `place`.
inline TileFetch tile_after(const WeightRows& weights, const TilePlace& place) {
  const bool is_last = place.col + place.col_count == weights.cols;
  const size_t row = place.row + (is_last ? place.row_count : 0);
  const size_t col = is_last ? 0 : place.col + place.col_count;
  return {weights.weight + row * weights.weight_stride + col * weights.bits / 8,
          weights.weight_stride, place.row_count, place.col_count * weights.bits / 8};
}

template <typename Format, int kW>
void tile_times(const WeightRows& weights, size_t row, size_t row_count, const ActivationRow* x,
                float* const* y, size_t x_count, ChainTile& tile) {
  const size_t slab = x_count < kLongSlabRows ? kShortSlab : kSlabMax;
  for (size_t col = 0; col < weights.cols; col += slab) {
    const size_t left = weights.cols - col;
    const TilePlace place = {row, row_count, col, left < slab ? left : slab};
    // For several slabs at once: 16 groups cost no more than 8.
    if (col % kSlabMax == 0) {
      load_tile_scales<Format, kW>(weights, place, left < kSlabMax ? left : kSlabMax, tile);
    }
    unpack_tile<Format, kW>(weights, place, tile);
    TileFetch next = tile_after(weights, place);
    for (size_t r = 0; r < x_count;) {
      const size_t rest = x_count - r;
      // Two tiles of about the same size rather than a full and a small one.
      const size_t count = rest <= kChainRows      ? rest
                           : rest < 2 * kChainRows ? (rest + 1) / 2
                                                   : kChainRows;
      chain_rows<Format::kBlock, Format::kOffset, kW>(count, tile, place, next, x + r, y + r);
      next.row_count = 0;
      r += count;
    }
  }
}

template <typename Format>
void linear_tiles(const WeightRows& weights, size_t row_begin, size_t row_end,
                  const ActivationRow* x, float* const* y, size_t x_count, ChainTile& tile) {
  size_t row = row_begin;
  for (; row + 16 < row_end; row += 16 * kChainVectors) {
    const size_t left = row_end - row;
    const size_t count = left < 16 * kChainVectors ? left : 16 * kChainVectors;
    tile_times<Format, kChainVectors>(weights, row, count, x, y, x_count, tile);
  }
  if (row < row_end) tile_times<Format, 1>(weights, row, row_end - row, x, y, x_count, tile);
}

/// Integer sums of 16 blocks, or chunks, of 16 weight rows: [block][row]; and columns whose sums
/// are kept at a time.
struct SumVectors {
  alignas(64) int32_t lane[16][16];
  void transpose() {
    I32x16 rows[16];
    for (int i = 0; i < 16; ++i) rows[i] = load(lane[i]);
    transpose_16(rows);
    for (int i = 0; i < 16; ++i) store(lane[i], rows[i]);
  }
};
constexpr size_t kSumSlab = 8192;
constexpr size_t kSumVectors = kSumSlab / 512;

/// Up to 16 weight rows times kR activation rows.
template <typename Format, int kR>
inline void few_times(const WeightRows& weights, size_t row, size_t row_count,
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
    const uint8_t* next = weights.weight + (row + row_count) * weights.weight_stride;
    size_t block = 0;
    Format::for_scales(weights, row, row_count, col, col_count, [&](F32x16 scale, F32x16 bias) {
      prefetch_chain(next);
      prefetch_chain(next + 64);
      next += 128;
      for (int r = 0; r < kR; ++r) {
        const F32x16 partial = to_float(Format::template block_sum<kR>(sums, r, block));
        acc[r] =
            float_step(acc[r], scale, bias, block_of<kBlock>(x[r], col / kBlock + block), partial);
      }
      ++block;
    });
  }
  for (int r = 0; r < kR; ++r) store_lanes(y[r] + row, acc[r], row_count);
}

template <typename Format, int kR>
void linear_few(const WeightRows& weights, size_t row_begin, size_t row_end, const ActivationRow* x,
                float* const* y) {
  for (size_t row = row_begin; row < row_end; row += 16) {
    const size_t left = row_end - row;
    few_times<Format, kR>(weights, row, left < 16 ? left : 16, x, y);
  }
}

template <typename Format, int kR = kFewRows>
void linear_few_of(size_t count, const WeightRows& weights, size_t row_begin, size_t row_end,
                   const ActivationRow* x, float* const* y) {
  if (count == kR) {
    linear_few<Format, kR>(weights, row_begin, row_end, x, y);
  } else if constexpr (kR > 1) {
    linear_few_of<Format, kR - 1>(count, weights, row_begin, row_end, x, y);
  }
}

template <typename Format>
void linear_by_rows(const WeightRows& weights, size_t row_begin, size_t row_end,
                    const ActivationRow* x, float* const* y, size_t x_count) {
  for (size_t r = 0; r < x_count; r += kFewRows) {
    const size_t count = x_count - r < kFewRows ? x_count - r : kFewRows;
    linear_few_of<Format>(count, weights, row_begin, row_end, x + r, y + r);
  }
}

template <typename Format>
void linear_integer(const WeightRows& weights, size_t row_begin, size_t row_end,
                    const ActivationRow* x, float* const* y, size_t x_count, ChainTile& tile) {
  if (x_count >= kTiledRowsMin) {
    linear_tiles<Format>(weights, row_begin, row_end, x, y, x_count, tile);
  } else {
    linear_by_rows<Format>(weights, row_begin, row_end, x, y, x_count);
  }
}
