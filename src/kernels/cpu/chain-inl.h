// Integer weights times rows of activations. Included by kernels-inl.h.
//
// Per output one chain of float steps, a step for each block of columns (docs/numerics.md). Here is
// what all formats of weights share; a format (kernels/formats) brings, as static functions:
//
//   kBlock           columns of a float step: 64, 32 or 16
//   kOffset          what its unpacked weights lack, or, below 0, have too much
//   kHasBias         whether its blocks have a bias
//   unpack(...)      16 rows of some columns to steps, for many activation rows
//   for_scales(...)  the scales and biases of 16 rows, block by block
//   times_few(...)   up to 16 rows times few activation rows
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
  return (kBlock == 16 ? x.blocks16 : kBlock == 32 ? x.blocks32 : x.blocks64)[block];
}

template <bool kHasBias>
inline F32x16 float_step(F32x16 acc, F32x16 scale, F32x16 bias, const ActivationBlock& x,
                         F32x16 partial) {
  if constexpr (kHasBias) acc = fma(bias, set1(x.sum), acc);
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
  BlockScales scales[kSlabMax / 16 * kChainVectors];
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

/// What the tiles of formats differ in, so that those alike share code.
template <int kBlockColumns, bool kOffset, bool kBias>
struct ChainShape {
  static constexpr int kBlock = kBlockColumns;
  static constexpr bool kHasOffset = kOffset;
  static constexpr bool kHasBias = kBias;
};
template <typename Format>
using ShapeOf = ChainShape<Format::kBlock, Format::kOffset != 0, Format::kHasBias>;

/// kW vectors of weight rows times kR activation rows.
template <typename Shape, int kW, int kR>
void chain_tile(const ChainTile& tile, const TilePlace& place, const TileFetch& next,
                int32_t offset, const ActivationRow* x, float* const* y) {
  constexpr int kBlock = Shape::kBlock;
  constexpr size_t kBlockChunks = kBlock < 32 ? 1 : kBlock / 32;
  constexpr size_t kBlockSteps = kBlock < 32 ? kChunkSteps / 2 : kChunkSteps;
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
    repeat<kR>([&](auto r) FM_INLINE {
      at[r] = activation_steps(x[r], block * kBlock / 32);
      // A block may be half a chunk.
      if constexpr (kBlock < 32) at[r] += block % 2 * kBlockSteps * kActivationStep;
    });
#pragma GCC unroll 1
    for (size_t step = 0; step < kBlockSteps; ++step) {
      repeat<kBlockChunks>([&](auto chunk) FM_INLINE {
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
    steps += (kBlockChunks - 1) * kChunkSteps * kW * kStepSize;
    repeat<kR>([&](auto r) FM_INLINE {
      const ActivationBlock& values = block_of<kBlock>(x[r], block);
      repeat<kW>([&](auto w) FM_INLINE {
        I32x16 total = step_total(sums[w][r]);
        if constexpr (Shape::kHasOffset) total = total + broadcast_i32(offset * values.total);
        acc[w][r] = float_step<Shape::kHasBias>(acc[w][r], load(scales[w].scale),
                                                load(scales[w].bias), values, to_float(total));
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

template <typename Shape, int kW, int kR = kChainRows>
inline void chain_rows(size_t count, const ChainTile& tile, const TilePlace& place,
                       const TileFetch& next, int32_t offset, const ActivationRow* x,
                       float* const* y) {
  if (count == kR) {
    chain_tile<Shape, kW, kR>(tile, place, next, offset, x, y);
  } else if constexpr (kR > 1) {
    chain_rows<Shape, kW, kR - 1>(count, tile, place, next, offset, x, y);
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
  const auto size_of_cols = [&](size_t cols) {
    return cols / weights.block_cols * weights.block_bytes;
  };
  return {weights.planes[0] + row * weights.strides[0] + size_of_cols(col), weights.strides[0],
          place.row_count, size_of_cols(place.col_count)};
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
      chain_rows<ShapeOf<Format>, kW>(count, tile, place, next, Format::kOffset, x + r, y + r);
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

/// n rows of 16 that are there: those past them are the last once more, whose sums nobody stores.
inline size_t row_in_reach(size_t i, size_t n) { return i < n ? i : n - 1; }

/// Puts col_count columns of 16 rows, of which row_count are there, down as steps. numbers(r, i,
/// is_half): of row r the 64 columns from number i on, or 32 and anything.
template <bool kIsWide, typename RowNumbers>
FM_INLINE inline void unpack_rows(size_t row_count, size_t col_count, uint8_t* to, size_t stride,
                                  RowNumbers numbers) {
  for (size_t i = 0; i < col_count; i += 64) {
    const bool is_half = col_count - i < 64;
    I32x16 steps[kStepVectors][16];
    for (size_t r = 0; r < 16; ++r) {
      I32x16 of_row[kStepVectors];
      steps_of_numbers<kIsWide>(numbers(row_in_reach(r, row_count), i, is_half), of_row);
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

/// Where the sum of a block of 32 columns, number `step` of 16, is after sums_of_quarters of the
/// first 256 columns and the second have been added by quarters.
constexpr size_t sum_lane_32(size_t step) { return step / 8 * 8 + step % 2 * 4 + step % 8 / 2; }

/// Integer sums of 16 blocks, or chunks, of 16 weight rows: [block][row].
struct SumVectors {
  alignas(64) int32_t lane[16][16];
  void transpose() {
    I32x16 rows[16];
    for (int i = 0; i < 16; ++i) rows[i] = load(lane[i]);
    transpose_16(rows);
    for (int i = 0; i < 16; ++i) store(lane[i], rows[i]);
  }
};

template <typename Format, int kR>
void linear_few(const WeightRows& weights, size_t row_begin, size_t row_end, const ActivationRow* x,
                float* const* y) {
  for (size_t row = row_begin; row < row_end; row += 16) {
    const size_t left = row_end - row;
    Format::template times_few<kR>(weights, row, left < 16 ? left : 16, x, y);
  }
}

/// kFewRows activation rows at a time, then half as many, so that few kinds need be compiled: what
/// reads the same weights again finds them in the L2 cache.
template <typename Format, size_t kR = kFewRows>
void linear_by_rows(const WeightRows& weights, size_t row_begin, size_t row_end,
                    const ActivationRow* x, float* const* y, size_t x_count) {
  size_t r = 0;
  for (; r + kR <= x_count; r += kR) {
    linear_few<Format, kR>(weights, row_begin, row_end, x + r, y + r);
  }
  if constexpr (kR > 1) {
    if (r < x_count) {
      linear_by_rows<Format, kR / 2>(weights, row_begin, row_end, x + r, y + r, x_count - r);
    }
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
