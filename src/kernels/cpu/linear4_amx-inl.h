// 4-bit weight rows times many rows of activations, on AMX: tiles of 16 weight rows by 16
// activation rows. Included by kernels-inl.h where the target has AMX.
//
// A lane's partial sum (linear4-inl.h) is the product of 32 weights and 32 activations, in any
// order. Two instructions make 256 of them, one for the high plane and one for the low, in
// bfloat16: weights have 4 bits, planes 8, the products and all their sums are integers below 2^24
// times 2^16, and so exact in the float32 that they are added in, ready for the float steps of
// docs/numerics.md. (Tiles of bytes would give 32-bit integers, of each plane its own: twice the
// work.) Few activation rows, weight rows that fill no tile, and rows that leave much of their last
// block empty are left to linear4.

constexpr size_t kTileRows = 16;
/// Activation rows that a tile is worth its padding for (bench/results/kernels.md).
constexpr size_t kTileRowsMin = 10;

/// 16 activation rows, or fewer and zeros, of one block of 512 elements: lane by lane a tile of
/// each plane, with elements 8 u + i and 8 u + i + 4 of activation row r in pair r of its row
/// 4 i + u; and the rows' scales and sums side by side.
struct PackedBlock {
  alignas(64) uint16_t planes[16][2][16][32];
  alignas(64) float scale[16][16];
  alignas(64) float sum[16][16];
};

/// 16 weight rows of one block: lane by lane a tile with a row for each, elements in the order that
/// PackedBlock's pairs have; and the scales and biases of the block's groups, each of 16 rows side
/// by side. Past the end of a row all are zero.
struct UnpackedBlock {
  alignas(64) uint16_t weights[16][kTileRows][32];
  alignas(64) float scale[16][kTileRows];
  alignas(64) float bias[16][kTileRows];
};

/// What the kernel keeps beside the caller's memory: in an L2 cache.
struct LinearScratch {
  static constexpr size_t kBlocksMax = 16;
  PackedBlock x[kBlocksMax];
  UnpackedBlock w[kBlocksMax];
};
constexpr size_t kLinearScratchSize = sizeof(LinearScratch);
/// Tiles of activation rows that weights are unpacked for at once, and tiles of weight rows that
/// meet a lane's activations one after the other, while those are in the L1 cache.
constexpr size_t kXTilesMax = 4;
constexpr size_t kWeightTilesMax = 4;

/// All tiles have 16 rows of 64 bytes. Tiles 0 and 4 are weights, 1, 2, 5 and 6 planes of
/// activations, 3 and 7 sums. (g++ wants digits where instructions name tiles.)
struct TileShapes {
  alignas(64) uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_size[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t row_count[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

/// Transposes 16 rows of 16 words.
inline void transpose_16(__m512i (&rows)[16]) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    rows[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    rows[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    rows[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    rows[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  // Word c of each 128-bit quarter is now in rows[4 i + c], for source rows 4 i to 4 i + 3.
  for (int c = 0; c < 4; ++c) {
    const __m512i ab_even = _mm512_shuffle_i32x4(rows[c], rows[4 + c], 0x88);
    const __m512i ab_odd = _mm512_shuffle_i32x4(rows[c], rows[4 + c], 0xdd);
    const __m512i cd_even = _mm512_shuffle_i32x4(rows[8 + c], rows[12 + c], 0x88);
    const __m512i cd_odd = _mm512_shuffle_i32x4(rows[8 + c], rows[12 + c], 0xdd);
    t[c] = _mm512_shuffle_i32x4(ab_even, cd_even, 0x88);
    t[8 + c] = _mm512_shuffle_i32x4(ab_even, cd_even, 0xdd);
    t[4 + c] = _mm512_shuffle_i32x4(ab_odd, cd_odd, 0x88);
    t[12 + c] = _mm512_shuffle_i32x4(ab_odd, cd_odd, 0xdd);
  }
  for (int i = 0; i < 16; ++i) rows[i] = t[i];
}

/// Of every word's bytes b0 to b3, signed, the bfloat16 pairs 2^shift (b0, b2).
template <int kShift>
inline __m512i even_bytes_to_bf16(__m512i words) {
  static_assert(kShift == 16 || kShift == 24);
  const __m512i upper_byte = _mm512_set1_epi32(static_cast<int>(0xff000000));
  __m512i b0 = _mm512_slli_epi32(words, 24);
  __m512i b2 = _mm512_and_si512(_mm512_slli_epi32(words, 8), upper_byte);
  if constexpr (kShift == 16) {
    b0 = _mm512_srai_epi32(b0, 8);
    b2 = _mm512_srai_epi32(b2, 8);
  }
  // The lower halves of these floats are zero: at most eight significant bits.
  const __m512i first = _mm512_castps_si512(_mm512_cvtepi32_ps(b0));
  const __m512i second = _mm512_castps_si512(_mm512_cvtepi32_ps(b2));
  return _mm512_or_si512(_mm512_srli_epi32(first, 16), second);
}

/// load(r) of rows r below `count`, zeros for the others, transposed.
template <typename Load>
inline void load_transposed(size_t count, Load load_row, __m512i (&lines)[16]) {
  for (size_t r = 0; r < 16; ++r) {
    lines[r] = r < count ? _mm512_loadu_si512(load_row(r)) : _mm512_setzero_si512();
  }
  transpose_16(lines);
}

/// A plane of PackedBlock from that of ActivationRow, at planes + offset, times 2^kShift.
template <int kShift>
inline void pack_plane(const ActivationRow* x, size_t count, size_t offset, size_t plane,
                       PackedBlock& out) {
  for (size_t u = 0; u < 4; ++u) {
    for (size_t odd = 0; odd < 2; ++odd) {
      __m512i lines[16];
      load_transposed(
          count, [&](size_t r) { return x[r].planes + offset + 256 * u + 128 * odd; }, lines);
      // Elements 8 u + odd + (0, 2, 4, 6) of 16 activation rows, of each lane.
      for (size_t lane = 0; lane < 16; ++lane) {
        uint16_t(*const tile)[32] = out.planes[lane][plane];
        _mm512_store_si512(tile[4 * odd + u], even_bytes_to_bf16<kShift>(lines[lane]));
        _mm512_store_si512(tile[4 * (odd + 2) + u],
                           even_bytes_to_bf16<kShift>(_mm512_srli_epi32(lines[lane], 8)));
      }
    }
  }
}

inline void pack_block(const ActivationRow* x, size_t count, size_t block, PackedBlock& out) {
  pack_plane<24>(x, count, 1024 * block, 0, out);
  pack_plane<16>(x, count, 1024 * block + 64, 1, out);
  __m512i lines[16];
  load_transposed(
      count, [&](size_t r) { return x[r].lane_scale + 16 * block; }, lines);
  for (size_t lane = 0; lane < 16; ++lane) _mm512_store_si512(out.scale[lane], lines[lane]);
  load_transposed(
      count, [&](size_t r) { return x[r].lane_sum + 16 * block; }, lines);
  for (size_t lane = 0; lane < 16; ++lane) _mm512_store_si512(out.sum[lane], lines[lane]);
}

/// bfloat16 of 2^-16 times 0 to 15, twice: an index's upper bits do not count.
struct NibbleTable {
  alignas(64) uint16_t bf16[32] = {};
  constexpr NibbleTable() {
    for (int v = 1; v < 16; ++v) {
      int exponent = 0;
      while (v >> (exponent + 1) != 0) ++exponent;
      const int mantissa = (v << 7 >> exponent) - 128;
      bf16[v] = bf16[v + 16] = static_cast<uint16_t>((127 - 16 + exponent) * 128 + mantissa);
    }
  }
};

inline void unpack_block(const WeightRows& weights, size_t row, size_t block, UnpackedBlock& out) {
  static constexpr NibbleTable kTable;
  const __m512i table = _mm512_load_si512(kTable.bf16);
  // Elements i, i + 4, ... of a lane's 32 to quarter i.
  const __m512i shifts =
      _mm512_set_epi64(0x000c000c000c000c, 0x000c000c000c000c, 0x0008000800080008,
                       0x0008000800080008, 0x0004000400040004, 0x0004000400040004, 0, 0);
  const size_t left = weights.cols - 512 * block;
  const size_t cols = left < 512 ? left : 512;
  for (size_t r = 0; r < kTileRows; ++r) {
    const uint8_t* const p = weights.weight + (row + r) * weights.weight_stride + 256 * block;
    for (size_t at = 0; at < 16; ++at) {  // lane 4 s + j has bytes 64 j + 16 s ...
      __m512i words = _mm512_setzero_si512();
      if (32 * at < cols) {
        words =
            _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16 * at)));
      }
      const __m512i nibbles = _mm512_srlv_epi16(words, shifts);
      _mm512_store_si512(out.weights[at % 4 * 4 + at / 4][r],
                         _mm512_permutexvar_epi16(nibbles, table));
    }
  }
  const size_t block_groups = 512 / weights.group_size;
  const auto transpose_groups = [&](const uint8_t* values, float(&to)[16][kTileRows]) {
    __m512i lines[16];
    for (size_t r = 0; r < kTileRows; ++r) {
      const uint8_t* const p =
          values + (row + r) * weights.scale_stride + block_groups * block * size_of(weights.type);
      lines[r] =
          _mm512_castps_si512(load_widened_lanes(weights.type, p, cols / weights.group_size).v);
    }
    transpose_16(lines);
    for (size_t g = 0; g < 16; ++g) _mm512_store_si512(to[g], lines[g]);
  };
  transpose_groups(weights.scales, out.scale);
  transpose_groups(weights.biases, out.bias);
}

/// Of one lane, the exact sums of 16 weight rows (one a row) times 16 activation rows.
struct PartialSums {
  alignas(64) float values[kTileRows][16];
};

/// Products take turns with the tiles: loads of one need not wait for the other's arithmetic.
inline void begin_product(size_t turn, const UnpackedBlock& w, const PackedBlock& x, size_t lane) {
  if (turn == 0) {
    _tile_loadd(0, w.weights[lane], 64);
    _tile_loadd(1, x.planes[lane][0], 64);
    _tile_loadd(2, x.planes[lane][1], 64);
    _tile_zero(3);
    _tile_dpbf16ps(3, 0, 1);
    _tile_dpbf16ps(3, 0, 2);
  } else {
    _tile_loadd(4, w.weights[lane], 64);
    _tile_loadd(5, x.planes[lane][0], 64);
    _tile_loadd(6, x.planes[lane][1], 64);
    _tile_zero(7);
    _tile_dpbf16ps(7, 4, 5);
    _tile_dpbf16ps(7, 4, 6);
  }
}
inline void end_product(size_t turn, PartialSums& out) {
  if (turn == 0) {
    _tile_stored(3, out.values, 64);
  } else {
    _tile_stored(7, out.values, 64);
  }
}

/// acc[i] += the lane's partial sums of weight row i, as docs/numerics.md has it.
inline void add_partials(const PartialSums& sums, const float* scale, const float* bias,
                         const float* x_scale, const float* x_sum, __m512 (&acc)[kTileRows]) {
  const __m512 xs = _mm512_load_ps(x_scale);
  const __m512 sum = _mm512_load_ps(x_sum);
#pragma GCC unroll 16
  for (size_t i = 0; i < kTileRows; ++i) {
    acc[i] = _mm512_fmadd_ps(_mm512_set1_ps(bias[i]), sum, acc[i]);
    acc[i] = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_set1_ps(scale[i]), xs),
                             _mm512_load_ps(sums.values[i]), acc[i]);
  }
}

/// Goes through lanes in the order in which the tree adds them, so that at most four sums wait; for
/// each through tiles of weight rows, and for each of those through blocks. Then begins again.
struct ProductOrder {
  size_t tile_count;
  size_t block_count;
  size_t step = 0;
  size_t tile = 0;
  size_t block = 0;
  size_t lane() const {
    static constexpr uint8_t kLanes[16] = {0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15};
    return kLanes[step];
  }
  void advance() {
    if (++block < block_count) return;
    block = 0;
    if (++tile < tile_count) return;
    tile = 0;
    step = (step + 1) % 16;
  }
};

/// Sums of lanes, complete over all blocks, that wait for the sums that the tree adds to them.
struct WaitingSums {
  alignas(64) float sums[4][kTileRows][16];

  /// Adds what waits for lane number `step` in ProductOrder; then `acc` waits, or is the result.
  void add(size_t step, __m512 (&acc)[kTileRows]) {
    size_t depth = static_cast<size_t>(__builtin_popcountll(step));
    for (size_t i = step; (i & 1) != 0; i >>= 1) {
      --depth;
#pragma GCC unroll 16
      for (size_t r = 0; r < kTileRows; ++r) {
        acc[r] = _mm512_add_ps(_mm512_load_ps(sums[depth][r]), acc[r]);
      }
    }
    for (size_t r = 0; r < kTileRows; ++r) _mm512_store_ps(sums[depth][r], acc[r]);
  }
};

/// `tile_count` tiles of weight rows times 16 activation rows; result[t].sums[0] has those of tile
/// t, weight row by weight row.
inline void tiles_times(const UnpackedBlock* w, size_t tile_count, const PackedBlock* x,
                        size_t block_count, size_t group_size, WaitingSums* result) {
  // While a product's sums are added, the next one is made; stored at once it would be waited for.
  // The one begun past the last is of no use.
  PartialSums sums[2];
  ProductOrder ahead{tile_count, block_count};
  const auto begin_next = [&](size_t turn) {
    begin_product(turn, w[ahead.tile * block_count + ahead.block], x[ahead.block], ahead.lane());
    ahead.advance();
  };
  begin_next(0);
  end_product(0, sums[0]);
  size_t turn = 0;
  ProductOrder now{tile_count, block_count};
  for (; now.step < 16; ++now.step) {
    const size_t lane = now.lane();
    const size_t group = (128 * (lane % 4) + 32 * (lane / 4)) / group_size;
    for (size_t tile = 0; tile < tile_count; ++tile) {
      __m512 acc[kTileRows];
      for (__m512& a : acc) a = _mm512_setzero_ps();
      const UnpackedBlock* const rows = w + tile * block_count;
      for (size_t block = 0; block < block_count; ++block, turn ^= 1) {
        begin_next(turn ^ 1);
        add_partials(sums[turn], rows[block].scale[group], rows[block].bias[group],
                     x[block].scale[lane], x[block].sum[lane], acc);
        end_product(turn ^ 1, sums[turn ^ 1]);
      }
      result[tile].add(now.step, acc);
    }
  }
}

/// Rows [row_begin, row_end), whole tiles, times the rows of x whose tiles are packed.
inline void tile_rows_times(const WeightRows& weights, size_t row_begin, size_t row_end,
                            size_t block_count, size_t x_count, float* const* y,
                            LinearScratch& scratch) {
  const size_t tiles_fitting = LinearScratch::kBlocksMax / block_count;
  const size_t tiles_max = tiles_fitting < kWeightTilesMax ? tiles_fitting : kWeightTilesMax;
  WaitingSums result[kWeightTilesMax];
  for (size_t row = row_begin; row < row_end; row += tiles_max * kTileRows) {
    const size_t tiles_left = (row_end - row) / kTileRows;
    const size_t tile_count = tiles_left < tiles_max ? tiles_left : tiles_max;
    for (size_t t = 0; t < tile_count; ++t) {
      for (size_t b = 0; b < block_count; ++b) {
        unpack_block(weights, row + t * kTileRows, b, scratch.w[t * block_count + b]);
      }
    }
    // g++ does not know that tiles are loaded from memory.
    __asm__ volatile("" ::: "memory");
    for (size_t first = 0; first < x_count; first += kTileRows) {
      tiles_times(scratch.w, tile_count, scratch.x + first / kTileRows * block_count, block_count,
                  weights.group_size, result);
      for (size_t t = 0; t < tile_count; ++t) {
        __m512i columns[16];
        for (size_t i = 0; i < 16; ++i) columns[i] = _mm512_load_si512(result[t].sums[0][i]);
        transpose_16(columns);
        for (size_t r = first; r < x_count && r < first + kTileRows; ++r) {
          _mm512_storeu_si512(y[r] + row + t * kTileRows, columns[r - first]);
        }
      }
    }
  }
}

void linear4_amx(const WeightRows& weights, size_t row_begin, size_t row_end,
                 const ActivationRow* x, float* const* y, size_t x_count, void* scratch_memory) {
  const size_t rest = x_count % kTileRows;
  const size_t tiled_x = rest < kTileRowsMin ? x_count - rest : x_count;
  const size_t tiled_end = row_begin + (row_end - row_begin) / kTileRows * kTileRows;
  const size_t block_count = (weights.cols + 511) / 512;
  // Lanes past the end of a row cost as much as others.
  const bool is_padded_much = 512 * block_count - weights.cols > weights.cols / 8;
  if (tiled_end == row_begin || tiled_x == 0 || is_padded_much ||
      block_count > LinearScratch::kBlocksMax) {
    linear4(weights, row_begin, row_end, x, y, x_count);
    return;
  }
  auto& scratch = *static_cast<LinearScratch*>(scratch_memory);
  const size_t tiles_fitting = LinearScratch::kBlocksMax / block_count;
  const size_t pass_rows = kTileRows * (tiles_fitting < kXTilesMax ? tiles_fitting : kXTilesMax);
  const TileShapes shapes;
  _tile_loadconfig(&shapes);
  for (size_t pass = 0; pass < tiled_x; pass += pass_rows) {
    const size_t count = tiled_x - pass < pass_rows ? tiled_x - pass : pass_rows;
    for (size_t first = 0; first < count; first += kTileRows) {
      const size_t n = count - first < kTileRows ? count - first : kTileRows;
      for (size_t b = 0; b < block_count; ++b) {
        pack_block(x + pass + first, n, b, scratch.x[first / kTileRows * block_count + b]);
      }
    }
    tile_rows_times(weights, row_begin, tiled_end, block_count, count, y + pass, scratch);
  }
  _tile_release();
  if (tiled_x < x_count) {
    linear4(weights, row_begin, tiled_end, x + tiled_x, y + tiled_x, x_count - tiled_x);
  }
  if (tiled_end < row_end) linear4(weights, tiled_end, row_end, x, y, x_count);
}
