// 4-bit weight rows times rows of activations. Included by kernels-inl.h.
//
// Blocks of 512 elements: lane 4s + j takes elements 128j + 32s ... 128j + 32s + 31, which share a
// weight scale and an activation scale, so that a float step comes only every 32 elements. In
// memory a lane's elements are 4 words of 8; lines j = 0..3 of 64 bytes are transposed to have word
// 0 of every lane, then word 1, and so on. Weights of one row at a time: more would spill, and of
// one stream the hardware prefetches best.
//
// Rows of up to 128 elements are taken 4 at a time as one block: line j is then row j.

/// Which of its scales a block's lanes have.
constexpr LaneMap long_row_map(size_t group_size) {
  LaneMap map;
  for (size_t lane = 0; lane < 16; ++lane) {
    map.set(lane, (128 * (lane % 4) + 32 * (lane / 4)) / group_size);
  }
  return map;
}
constexpr LaneMap kLongRow32 = long_row_map(32);
constexpr LaneMap kLongRow64 = long_row_map(64);
constexpr LaneMap kLongRow128 = long_row_map(128);

/// The same where lines are rows of `cols` elements; past those lanes take number 4 * groups, which
/// is left zero.
inline LaneMap short_row_map(size_t group_size, size_t cols) {
  LaneMap map;
  const size_t groups = cols / group_size;
  for (size_t lane = 0; lane < 16; ++lane) {
    const size_t element = lane / 4 * 32;
    map.set(lane, element < cols ? lane % 4 * groups + element / group_size : 4 * groups);
  }
  return map;
}

/// What all rows of one matrix have in common.
struct NibbleShape {
  explicit NibbleShape(const WeightRows& weights)
      : full_blocks(weights.cols / 512),
        block_groups(512 / weights.group_size),
        tail_groups(weights.cols % 512 / weights.group_size),
        tail(weights.cols % 512 / 2),
        map(weights.group_size == 32   ? kLongRow32
            : weights.group_size == 64 ? kLongRow64
                                       : kLongRow128) {}
  size_t full_blocks;
  size_t block_groups;  // of a full one
  size_t tail_groups;
  NibbleMask tail;
  const LaneMap& map;
};

/// `groups` scales or biases from `p` on, in the lanes that they belong to.
inline F32x16 load_for_lanes(FloatType type, const uint8_t* p, size_t groups, const LaneMap& map) {
  return permute_lanes(load_widened_lanes(type, p, groups), map);
}

/// acc[r] += a block of weights, its scales and biases from `scale_at` on, times activations of
/// row r, which load_planes(row, offset) and load_floats(floats) load.
template <int kR, typename LoadPlanes, typename LoadFloats>
inline void add_block(const WeightRows& weights, const NibbleBlock& w, size_t scale_at,
                      size_t groups, const LaneMap& map, const ActivationRow* x,
                      LoadPlanes load_planes, LoadFloats load_floats, F32x16 (&acc)[kR]) {
  PlaneSums sums[kR];
  for (PlaneSums& sum : sums) sum = zero_sums();
#pragma GCC unroll 4
  for (int part = 0; part < 4; ++part) {
#pragma GCC unroll 2
    for (int odd = 0; odd < 2; ++odd) {
      const Bytes64 nibbles = odd == 0 ? low_nibbles(w.part[part]) : high_nibbles(w.part[part]);
      const int offset = 256 * part + 128 * odd;
      for (int r = 0; r < kR; ++r) {
        sums[r] = add_products(sums[r], nibbles, load_planes(x[r], offset),
                               load_planes(x[r], offset + 64));
      }
    }
  }
  const F32x16 scale = load_for_lanes(weights.type, weights.scales + scale_at, groups, map);
  const F32x16 bias = load_for_lanes(weights.type, weights.biases + scale_at, groups, map);
  for (int r = 0; r < kR; ++r) {
    acc[r] = fma(bias, load_floats(x[r].lane_sum), acc[r]);
    acc[r] = fma(scale * load_floats(x[r].lane_scale), to_float(total(sums[r])), acc[r]);
  }
}

/// The lanes' sums of one row of weights times kR rows of activations.
template <int kR>
inline void add_row(const WeightRows& weights, const NibbleShape& shape, size_t row,
                    const ActivationRow* x, F32x16 (&acc)[kR]) {
  for (F32x16& a : acc) a = set1(0.0f);
  const uint8_t* w = weights.weight + row * weights.weight_stride;
  size_t scale_at = row * weights.scale_stride;
  size_t block = 0;
  const auto load_planes = [&](const ActivationRow& a, int offset) {
    return load_bytes(a.planes + 1024 * block + offset);
  };
  const auto load_floats = [&](const float* floats) { return load(floats + 16 * block); };
  for (; block < shape.full_blocks; ++block) {
    for (int line = 0; line < 4; ++line) prefetch(w + 64 * line);
    add_block(weights, load_nibbles(w), scale_at, shape.block_groups, shape.map, x, load_planes,
              load_floats, acc);
    w += 256;
    scale_at += shape.block_groups * size_of(weights.type);
  }
  if (shape.tail_groups == 0) return;
  prefetch(w);
  add_block(weights, load_nibbles(w, 64, shape.tail), scale_at, shape.tail_groups, shape.map, x,
            load_planes, load_floats, acc);
}

template <int kR>
inline void row_times(const WeightRows& weights, const NibbleShape& shape, size_t row,
                      const ActivationRow* x, float* const* y) {
  F32x16 acc[kR];
  add_row(weights, shape, row, x, acc);
  if constexpr (kR == 4) {
    float sums[4];
    reduce_add_4(acc, sums);
    for (int r = 0; r < 4; ++r) y[r][row] = sums[r];
  } else {
    for (int r = 0; r < kR; ++r) y[r][row] = reduce_add(acc[r]);
  }
}

inline void rows_times_one(const WeightRows& weights, const NibbleShape& shape, size_t row,
                           size_t row_end, const ActivationRow& x, float* y) {
  for (; row + 4 <= row_end; row += 4) {
    F32x16 acc[4];
    for (size_t i = 0; i < 4; ++i) {
      F32x16 sum[1];
      add_row(weights, shape, row + i, &x, sum);
      acc[i] = sum[0];
    }
    reduce_add_4(acc, y + row);
  }
  for (; row < row_end; ++row) row_times<1>(weights, shape, row, &x, &y);
}

template <int kR>
inline void short_rows_times(const WeightRows& weights, const NibbleShape& shape, size_t row,
                             size_t row_end, const ActivationRow* x, float* const* y) {
  const LaneMap map = short_row_map(weights.group_size, weights.cols);
  const NibbleMask lines = NibbleMask::lines(weights.cols / 2);
  const size_t groups = 4 * weights.cols / weights.group_size;
  for (; row + 4 <= row_end; row += 4) {
    const uint8_t* const w = weights.weight + row * weights.weight_stride;
    prefetch(w);
    F32x16 acc[kR];
    for (F32x16& a : acc) a = set1(0.0f);
    add_block(
        weights, load_nibbles(w, weights.weight_stride, lines), row * weights.scale_stride, groups,
        map, x,
        [](const ActivationRow& a, int offset) {
          return repeat_firsts(load_bytes(a.planes + offset));
        },
        [](const float* floats) { return repeat_firsts(load(floats)); }, acc);
    for (int r = 0; r < kR; ++r) reduce_add_rows(acc[r], y[r] + row);
  }
  for (; row < row_end; ++row) row_times<kR>(weights, shape, row, x, y);
}

template <int kR>
inline void rows_times(const WeightRows& weights, const NibbleShape& shape, size_t row,
                       size_t row_end, const ActivationRow* x, float* const* y) {
  if (weights.cols <= 128) {
    short_rows_times<kR>(weights, shape, row, row_end, x, y);
  } else if constexpr (kR == 1) {
    rows_times_one(weights, shape, row, row_end, *x, *y);
  } else {
    for (; row < row_end; ++row) row_times<kR>(weights, shape, row, x, y);
  }
}

void linear4(const WeightRows& weights, size_t row_begin, size_t row_end, const ActivationRow* x,
             float* const* y, size_t x_count) {
  const NibbleShape shape(weights);
  size_t r = 0;
  for (; r + kRowTile <= x_count; r += kRowTile) {
    rows_times<kRowTile>(weights, shape, row_begin, row_end, x + r, y + r);
  }
  for (; r + 2 <= x_count; r += 2) {
    rows_times<2>(weights, shape, row_begin, row_end, x + r, y + r);
  }
  if (r < x_count) rows_times<1>(weights, shape, row_begin, row_end, x + r, y + r);
}
