// Causal attention over blocks of 64 positions. Included by kernels-inl.h.

/// One query head on its way through the blocks.
struct HeadState {
  const float* q;
  float* o;
  float highest;
  float total;
};

/// scores[h][i] = heads[h].q . keys[i] for kCount keys, each in the lanes and tree of `dot`. Keys
/// come from the second-level cache: two heads that meet them together halve that.
template <int kHeads, int kCount>
inline void dot_keys(const HeadState* heads, const float* keys, size_t head_dim,
                     float (*scores)[kAttentionBlock], size_t at) {
  F32x16 sum[kHeads][kCount];
  for (auto& sums : sum) {
    for (F32x16& s : sums) s = set1(0.0f);
  }
  for_lanes(head_dim, [&](size_t d, size_t n) {
    F32x16 qd[kHeads];
    for (int h = 0; h < kHeads; ++h) qd[h] = load_lanes(heads[h].q + d, n);
    for (int i = 0; i < kCount; ++i) {
      const F32x16 key = load_lanes(keys + i * head_dim + d, n);
      for (int h = 0; h < kHeads; ++h) sum[h][i] = fma(qd[h], key, sum[h][i]);
    }
  });
  for (int h = 0; h < kHeads; ++h) {
    if constexpr (kCount % 4 == 0) {
      for (int i = 0; i < kCount; i += 4) reduce_add_4(sum[h] + i, scores[h] + at + i);
    } else {
      for (int i = 0; i < kCount; ++i) scores[h][at + i] = reduce_add(sum[h][i]);
    }
  }
}

/// Which positions of a block are seen: `count` from `first` on, or those in `places`, ascending.
struct SeenPositions {
  const uint8_t* places;  // null: those from `first` on
  size_t first;
  size_t count;
  size_t operator[](size_t i) const { return places == nullptr ? first + i : places[i]; }
  /// The place of i and the kKeyTile - 1 behind it follow one another.
  bool is_tile(size_t i) const {
    return places == nullptr || places[i] + kKeyTile - 1 == places[i + kKeyTile - 1];
  }
};

/// o = o * c, then o = fma(p_j, v_j, o) for ascending j, in kCount vectors of dimensions.
template <int kHeads, int kCount>
inline void add_values(const HeadState* heads, size_t d, const float* c,
                       const float (*p)[kAttentionBlock], const float* values, size_t stride,
                       const SeenPositions& seen) {
  F32x16 sum[kHeads][kCount];
  for (int h = 0; h < kHeads; ++h) {
    for (int i = 0; i < kCount; ++i) sum[h][i] = load(heads[h].o + d + 16 * i) * set1(c[h]);
  }
  for (size_t j = 0; j < seen.count; ++j) {
    F32x16 pj[kHeads];
    for (int h = 0; h < kHeads; ++h) pj[h] = set1(p[h][j]);
    for (int i = 0; i < kCount; ++i) {
      const F32x16 value = load(values + seen[j] * stride + d + 16 * i);
      for (int h = 0; h < kHeads; ++h) sum[h][i] = fma(pj[h], value, sum[h][i]);
    }
  }
  for (int h = 0; h < kHeads; ++h) {
    for (int i = 0; i < kCount; ++i) store(heads[h].o + d + 16 * i, sum[h][i]);
  }
}

/// Turns the scores of a block into softmax weights; returns what the weights before it shrink by.
inline float weigh_scores(float* score, size_t count, float scale, HeadState& head) {
  F32x16 block_max = set1(-__builtin_inff());
  for_lanes(count, [&](size_t i, size_t n) {
    const F32x16 s = load_lanes(score + i, n) * set1(scale);
    store_lanes(score + i, s, n);
    if (n == 16) {
      block_max = max(block_max, s);
    } else {
      float lanes[16];
      store(lanes, set1(-__builtin_inff()));
      store_n(lanes, s, n);
      block_max = max(block_max, load(lanes));
    }
  });
  const float block_highest = reduce_max(block_max);
  const float next = head.highest > block_highest ? head.highest : block_highest;
  float c[16];
  store(c, exp(set1(head.highest) - set1(next)));
  F32x16 sum = set1(0.0f);
  for_lanes(count, [&](size_t i, size_t n) {
    const F32x16 p = exp(load_lanes(score + i, n) - set1(next));
    store_lanes(score + i, p, n);
    sum = sum + load_lanes(score + i, n);
  });
  head.highest = next;
  head.total = head.total * c[0] + reduce_add(sum);
  return c[0];
}

/// A KV head's keys and values in a block, as floats.
struct BlockRows {
  const float* keys;  // [kAttentionBlock, head_dim]
  const float* values;
  size_t value_stride;
};

/// kHeads query heads meet the positions of one block that they see.
template <int kHeads>
inline void attend_block(HeadState* heads, const BlockRows& rows, const AttentionHeads& shape,
                         const SeenPositions& seen) {
  const size_t head_dim = shape.head_dim;
  const size_t count = seen.count;
  const float* const values = rows.values;
  const size_t stride = rows.value_stride;
  float score[kHeads][kAttentionBlock];
  size_t j = 0;
  while (j < count) {
    const float* const at = rows.keys + seen[j] * head_dim;
    if (j + kKeyTile <= count && seen.is_tile(j)) {
      dot_keys<kHeads, kKeyTile>(heads, at, head_dim, score, j);
      j += kKeyTile;
    } else {
      dot_keys<kHeads, 1>(heads, at, head_dim, score, j);
      ++j;
    }
  }
  float c[kHeads];
  for (int h = 0; h < kHeads; ++h) c[h] = weigh_scores(score[h], count, shape.scale, heads[h]);

  size_t d = 0;
  for (; d + 16 * kValueTile <= shape.value_dim; d += 16 * kValueTile) {
    add_values<kHeads, kValueTile>(heads, d, c, score, values, stride, seen);
  }
  for (; d + 16 <= shape.value_dim; d += 16) {
    add_values<kHeads, 1>(heads, d, c, score, values, stride, seen);
  }
  for (; d < shape.value_dim; ++d) {
    for (int h = 0; h < kHeads; ++h) {
      float od = heads[h].o[d] * c[h];
      for (size_t i = 0; i < count; ++i) {
        od = __builtin_fmaf(score[h][i], values[seen[i] * stride + d], od);
      }
      heads[h].o[d] = od;
    }
  }
}

/// The first `dim` elements of a row of bfloat16, and of one of `row_dim` bytes, as floats.
inline void widen_bf16_row(const uint8_t* row, size_t dim, float* out) {
  for_lanes(dim, [&](size_t d, size_t n) {
    store_lanes(out + d, load_widened_lanes<FloatType::kBF16>(row + 2 * d, n), n);
  });
}
inline void widen_int8_row(const uint8_t* row, size_t row_dim, size_t dim, float* out) {
  const uint8_t* const scales = row + row_dim;
  for_lanes(dim, [&](size_t d, size_t n) {
    float scale;
    memcpy(&scale, scales + d / kAttentionGroup * sizeof(scale), sizeof(scale));
    if (n == 16) {
      store(out + d, set1(scale) * load_i8(row + d));
    } else {
      uint8_t bytes[16] = {};
      memcpy(bytes, row + d, n);
      store_n(out + d, set1(scale) * load_i8(bytes), n);
    }
  });
}

/// Where rounded keys and values of a block are widened: each row once, at its own place, for all
/// queries and heads that see it.
struct WidenedBlock {
  float* floats;  // keys [kAttentionBlock, head_dim], then values [kAttentionBlock, value_dim]
  const void* key_block;
  const void* value_block;
  uint64_t rows;  // bit i: row i of these blocks is widened
};
static_assert(kAttentionBlock == 64);

inline void widen_row(const AttentionHeads& heads, const uint8_t* row, size_t row_dim, size_t dim,
                      float* out) {
  if (heads.precision == KvPrecision::kBF16) {
    widen_bf16_row(row, dim, out);
  } else {
    widen_int8_row(row, row_dim, dim, out);
  }
}

/// The rows of block b that a query sees: where they lie if they are floats, else in `widened`.
inline BlockRows rows_of_block(const AttentionHeads& heads, const AttentionQuery& query, size_t b,
                               const SeenPositions& seen, WidenedBlock& widened) {
  const size_t first_row = heads.kv_head * kAttentionBlock;
  const auto* const keys =
      static_cast<const uint8_t*>(query.key_blocks[b]) + first_row * heads.key_bytes;
  const auto* const values =
      static_cast<const uint8_t*>(query.value_blocks[b]) + first_row * heads.value_bytes;
  if (heads.precision == KvPrecision::kF32) {
    return {reinterpret_cast<const float*>(keys), reinterpret_cast<const float*>(values),
            heads.value_stride};
  }
  if (widened.key_block != keys || widened.value_block != values) {
    widened.key_block = keys;
    widened.value_block = values;
    widened.rows = 0;
  }
  const bool is_latent = keys == values;  // a row's first elements are its value
  float* const wide_keys = widened.floats;
  float* const wide_values = widened.floats + kAttentionBlock * heads.head_dim;
  for (size_t i = 0; i < seen.count; ++i) {
    const size_t at = seen[i];
    const uint64_t bit = uint64_t{1} << at;
    if ((widened.rows & bit) != 0) continue;
    widened.rows |= bit;
    widen_row(heads, keys + at * heads.key_bytes, heads.head_dim, heads.head_dim,
              wide_keys + at * heads.head_dim);
    if (is_latent) continue;
    widen_row(heads, values + at * heads.value_bytes, heads.value_stride, heads.value_dim,
              wide_values + at * heads.value_dim);
  }
  if (is_latent) return {wide_keys, wide_keys, heads.head_dim};
  return {wide_keys, wide_values, heads.value_dim};
}

/// The places in block `block` of what a query's runs have there, [begin, end) of it; `run`: its
/// first run that is not before the block, and afterwards the next block's.
inline size_t places_of_runs(const AttentionQuery& query, size_t run_size, size_t block,
                             size_t begin, size_t end, size_t& run, uint8_t* places) {
  const size_t runs_per_block = kAttentionBlock / run_size;
  size_t count = 0;
  for (; run < query.run_count && query.runs[run] / runs_per_block <= block; ++run) {
    if (query.runs[run] / runs_per_block < block) continue;
    const size_t at = query.runs[run] % runs_per_block * run_size;
    for (size_t place = at; place < at + run_size; ++place) {
      if (place >= begin && place < end) places[count++] = static_cast<uint8_t>(place);
    }
  }
  return count;
}

// Blocks outside, queries and heads inside: a block of keys and values serves all of them from the
// cache.
void attention(const AttentionHeads& heads, const AttentionQuery* queries, size_t query_count,
               float* scratch) {
  const size_t head_count = heads.head_end - heads.head_begin;
  const size_t value_dim = heads.value_dim;
  HeadState states[kAttentionTileMax];
  size_t next_runs[kAttentionTileMax];
  uint8_t places[kAttentionBlock];
  size_t block_begin = SIZE_MAX;
  size_t block_end = 0;
  for (size_t i = 0; i < query_count; ++i) {
    const AttentionQuery& query = queries[i];
    const size_t first = query.first / kAttentionBlock;
    const size_t end = query.position / kAttentionBlock + 1;
    if (first < block_begin) block_begin = first;
    if (end > block_end) block_end = end;
    for (size_t h = 0; h < head_count; ++h) {
      const size_t head = heads.head_begin + h;
      // A sink is a position without a value that comes before all others.
      states[i * head_count + h] = {
          .q = query.q + head * query.q_stride,
          .o = query.out + head * value_dim,
          .highest = heads.sinks != nullptr ? heads.sinks[head] : -__builtin_inff(),
          .total = heads.sinks != nullptr ? 1.0f : 0.0f};
    }
    next_runs[i] = 0;
    memset(query.out + heads.head_begin * value_dim, 0, head_count * value_dim * sizeof(float));
  }
  WidenedBlock widened = {
      .floats = scratch, .key_block = nullptr, .value_block = nullptr, .rows = 0};
  for (size_t b = block_begin; b < block_end; ++b) {
    for (size_t i = 0; i < query_count; ++i) {
      const AttentionQuery& query = queries[i];
      const size_t block_first = b * kAttentionBlock;
      if (query.position < block_first || query.first >= block_first + kAttentionBlock) continue;
      const size_t begin = query.first > block_first ? query.first - block_first : 0;
      const size_t left = query.position - block_first + 1;
      const size_t end = left < kAttentionBlock ? left : kAttentionBlock;
      SeenPositions seen = {.places = nullptr, .first = begin, .count = end - begin};
      if (query.runs != nullptr) {
        seen.places = places;
        seen.count = places_of_runs(query, heads.run_size, b, begin, end, next_runs[i], places);
        if (seen.count == 0) continue;
      }
      const BlockRows rows = rows_of_block(heads, query, b, seen, widened);
      HeadState* const mine = states + i * head_count;
      size_t h = 0;
      for (; h + kHeadTile <= head_count; h += kHeadTile) {
        attend_block<kHeadTile>(mine + h, rows, heads, seen);
      }
      for (; h < head_count; ++h) attend_block<1>(mine + h, rows, heads, seen);
    }
  }
  for (size_t i = 0; i < query_count * head_count; ++i) {
    float* const o = states[i].o;
    const F32x16 l = set1(states[i].total);
    for_lanes(value_dim,
              [&](size_t d, size_t n) { store_lanes(o + d, load_lanes(o + d, n) / l, n); });
  }
}

// scores[j] = fma(weights[h], max(0, q[h] . keys[j]), scores[j]) for ascending h, from 0
void key_scores(const float* q, const float* weights, size_t heads, size_t head_dim,
                const float* keys, size_t count, float* scores) {
  memset(scores, 0, count * sizeof(float));
  for (size_t h = 0; h < heads; ++h) {
    const HeadState head = {.q = q + h * head_dim, .o = nullptr, .highest = 0, .total = 0};
    float dots[1][kAttentionBlock];
    size_t j = 0;
    for (; j + kKeyTile <= count; j += kKeyTile) {
      dot_keys<1, kKeyTile>(&head, keys + j * head_dim, head_dim, dots, j);
    }
    for (; j < count; ++j) dot_keys<1, 1>(&head, keys + j * head_dim, head_dim, dots, j);
    const F32x16 weight = set1(weights[h]);
    for_lanes(count, [&](size_t i, size_t n) {
      const F32x16 positive = max(set1(0.0f), load_lanes(dots[0] + i, n));
      store_lanes(scores + i, fma(weight, positive, load_lanes(scores + i, n)), n);
    });
  }
}
