// Integer weights times many rows of activations, on AMX: 16 activation rows by 16 weight rows at a
// time. Included by kernels-inl.h where the target has AMX.
//
// The unpacked tile of chain-inl.h is what the instructions take: 4 columns of 16 weight rows to a
// row. Of activations a tile has 16 rows by one plane of a block's bytes. Two instructions, one for
// each plane, make a block's 256 integer sums, which are stored, joined, and taken by the float
// steps with 16 weight rows side by side. Few activation rows are taken row by row.

constexpr size_t kAmxRows = 16;
/// Activation rows that a tile is worth its padding for (bench/results/kernels.md).
constexpr size_t kAmxRowsMin = 8;
static_assert(kAmxRowsMin <= kTiledRowsMin);

/// A slab's planes of 16 activation rows, or fewer and zeros, in the order of a tile's steps.
template <int kBlock>
struct AmxActivations {
  alignas(64) int8_t plane[kShortSlab / kBlock][2][kAmxRows][kBlock];
};

/// Activation rows whose planes are kept packed, for weights that are unpacked but once.
constexpr size_t kAmxPassRows = 128;

struct AmxScratch {
  ChainTile tile;
  alignas(64) int8_t planes[kAmxPassRows * kShortSlab * 2];
};

/// Tiles 0 and 4 are sums of the high plane, 1 and 5 of the low one, 2 and 6 weights, 3 and 7
/// activations. (g++ wants digits where instructions name tiles.)
struct TileShapes {
  alignas(64) uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_size[16] = {};
  uint8_t row_count[16] = {};

  explicit TileShapes(int block) {
    for (int i = 0; i < 8; ++i) {
      row_size[i] = static_cast<uint16_t>(i % 4 == 3 ? block : 64);
      row_count[i] = static_cast<uint8_t>(i % 4 == 2 ? block / 4 : 16);
    }
  }
};

/// Bytes of both planes of 32 words in kWordOrder, each 8 in the order of ActivationRow::planes.
inline void split_words(const int16_t* words, int8_t* high, int8_t* low) {
  const __m512i x = _mm512_loadu_si512(words);
  const __m256i order = _mm256_broadcastsi128_si256(
      _mm_set_epi8(15, 11, 14, 10, 13, 9, 12, 8, 7, 3, 6, 2, 5, 1, 4, 0));
  const auto store_bytes = [&](int8_t* p, __m512i halves) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm256_shuffle_epi8(_mm512_cvtepi16_epi8(halves), order));
  };
  store_bytes(high, _mm512_srai_epi16(_mm512_add_epi16(x, _mm512_set1_epi16(128)), 8));
  store_bytes(low, x);
}

template <int kBlock>
inline void pack_activations(const ActivationRow* x, size_t x_count, const TilePlace& place,
                             AmxActivations<kBlock>& out) {
  if (x_count < kAmxRows) memset(&out, 0, sizeof(out));
  for (size_t r = 0; r < x_count; ++r) {
    for (size_t i = 0; i < place.col_count; i += 32) {
      if constexpr (kBlock < 32) {
        int8_t bytes[2][32];
        split_words(x[r].words + place.col + i, bytes[0], bytes[1]);
        for (size_t half = 0; half < 2; ++half) {
          for (size_t plane = 0; plane < 2; ++plane) {
            memcpy(out.plane[i / kBlock + half][plane][r], bytes[plane] + kBlock * half, kBlock);
          }
        }
      } else {
        auto& block = out.plane[i / kBlock];
        split_words(x[r].words + place.col + i, block[0][r] + i % kBlock, block[1][r] + i % kBlock);
      }
    }
  }
}

/// A block's sums of each plane, of 16 activation rows (one a row) and 16 weight rows.
struct AmxSums {
  alignas(64) int32_t high[kAmxRows][16];
  alignas(64) int32_t low[kAmxRows][16];
};

/// Products take turns with the tiles: loads of one need not wait for the other's arithmetic.
inline void begin_product(size_t turn, const uint8_t* steps, size_t step_stride,
                          const int8_t* planes, size_t row_size) {
  const int8_t* const low = planes + kAmxRows * row_size;
  if (turn == 0) {
    _tile_loadd(2, steps, step_stride);
    _tile_loadd(3, planes, row_size);
    _tile_zero(0);
    _tile_dpbsud(0, 3, 2);
    _tile_loadd(3, low, row_size);
    _tile_zero(1);
    _tile_dpbsud(1, 3, 2);
  } else {
    _tile_loadd(6, steps, step_stride);
    _tile_loadd(7, planes, row_size);
    _tile_zero(4);
    _tile_dpbsud(4, 7, 6);
    _tile_loadd(7, low, row_size);
    _tile_zero(5);
    _tile_dpbsud(5, 7, 6);
  }
}
inline void end_product(size_t turn, AmxSums& out) {
  if (turn == 0) {
    _tile_stored(0, out.high, 64);
    _tile_stored(1, out.low, 64);
  } else {
    _tile_stored(4, out.high, 64);
    _tile_stored(5, out.low, 64);
  }
}

/// One vector of weight rows, number `vector` of kW, times up to 16 activation rows.
template <typename Shape, int kW>
inline void amx_tile(const ChainTile& tile, const TilePlace& place, size_t vector, int32_t offset,
                     const AmxActivations<Shape::kBlock>& packed, const ActivationRow* x,
                     size_t x_count, float* const* y) {
  constexpr int kBlock = Shape::kBlock;
  const size_t row = place.row + 16 * vector;
  const size_t row_count = place.rows_of(vector);
  const size_t first_block = place.col / kBlock;
  const size_t block_count = place.col_count / kBlock;
  const auto begin = [&](size_t turn, size_t block) {
    begin_product(turn, tile.steps + kStepSize * (vector + kW * (kBlock / 4) * block),
                  kStepSize * kW, packed.plane[block][0][0], kBlock);
  };
  // While a product's sums are added, the next one is made; stored at once it would be waited for.
  AmxSums sums[2];
  begin(0, 0);
  end_product(0, sums[0]);
  F32x16 acc[kAmxRows];
  for (size_t r = 0; r < kAmxRows; ++r) {
    acc[r] = place.col == 0 || r >= x_count ? set1(0.0f) : load_lanes(y[r] + row, row_count);
  }
  size_t turn = 0;
  for (size_t block = 0; block < block_count; ++block, turn ^= 1) {
    // The one begun past the last is the last once more, and of no use.
    begin(turn ^ 1, block + 1 < block_count ? block + 1 : block);
    const BlockScales& scales = tile.scales[kW * block + vector];
    const F32x16 scale = load(scales.scale);
    const F32x16 bias = load(scales.bias);
    const AmxSums& done = sums[turn];
#pragma GCC unroll 16
    for (size_t r = 0; r < kAmxRows; ++r) {
      const ActivationBlock& values = block_of<kBlock>(x[r < x_count ? r : 0], first_block + block);
      I32x16 total = {_mm512_add_epi32(_mm512_slli_epi32(_mm512_load_si512(done.high[r]), 8),
                                       _mm512_load_si512(done.low[r]))};
      if constexpr (Shape::kHasOffset) total = total + broadcast_i32(offset * values.total);
      acc[r] = float_step<Shape::kHasBias>(acc[r], scale, bias, values, to_float(total));
    }
    end_product(turn ^ 1, sums[turn ^ 1]);
  }
  for (size_t r = 0; r < x_count; ++r) store_lanes(y[r] + row, acc[r], row_count);
}

template <typename Format, int kW>
inline void amx_tiles(const WeightRows& weights, const TilePlace& place,
                      const AmxActivations<Format::kBlock>* packed, const ActivationRow* x,
                      float* const* y, size_t x_count, ChainTile& tile) {
  load_tile_scales<Format, kW>(weights, place, place.col_count, tile);
  unpack_tile<Format, kW>(weights, place, tile);
  // g++ does not know that tiles are loaded from memory.
  __asm__ volatile("" ::: "memory");
  for (size_t first = 0; first < x_count; first += kAmxRows) {
    const size_t count = x_count - first < kAmxRows ? x_count - first : kAmxRows;
    for (size_t vector = 0; vector < kW; ++vector) {
      amx_tile<ShapeOf<Format>, kW>(tile, place, vector, Format::kOffset, packed[first / kAmxRows],
                                    x + first, count, y + first);
    }
  }
}

template <typename Format>
void linear_amx(const WeightRows& weights, size_t row_begin, size_t row_end, const ActivationRow* x,
                float* const* y, size_t x_count, AmxScratch& scratch) {
  const size_t rest = x_count % kAmxRows;
  const size_t tiled = rest < kAmxRowsMin ? x_count - rest : x_count;
  if (tiled == 0) {
    linear_by_rows<Format>(weights, row_begin, row_end, x, y, x_count);
    return;
  }
  using Packed = AmxActivations<Format::kBlock>;
  auto* const packed = reinterpret_cast<Packed*>(scratch.planes);
  const TileShapes shapes(Format::kBlock);
  _tile_loadconfig(&shapes);
  for (size_t pass = 0; pass < tiled; pass += kAmxPassRows) {
    const size_t count = tiled - pass < kAmxPassRows ? tiled - pass : kAmxPassRows;
    for (size_t col = 0; col < weights.cols; col += kShortSlab) {
      const size_t left = weights.cols - col;
      TilePlace place = {row_begin, 0, col, left < kShortSlab ? left : kShortSlab};
      for (size_t first = 0; first < count; first += kAmxRows) {
        const size_t n = count - first < kAmxRows ? count - first : kAmxRows;
        pack_activations(x + pass + first, n, place, packed[first / kAmxRows]);
      }
      for (; place.row < row_end; place.row += place.row_count) {
        const size_t rows_left = row_end - place.row;
        place.row_count = rows_left < 16 * kChainVectors ? rows_left : 16 * kChainVectors;
        if (place.row_count > 16) {
          amx_tiles<Format, kChainVectors>(weights, place, packed, x + pass, y + pass, count,
                                           scratch.tile);
        } else {
          amx_tiles<Format, 1>(weights, place, packed, x + pass, y + pass, count, scratch.tile);
        }
      }
    }
  }
  _tile_release();
  if (tiled < x_count) {
    linear_by_rows<Format>(weights, row_begin, row_end, x + tiled, y + tiled, x_count - tiled);
  }
}
