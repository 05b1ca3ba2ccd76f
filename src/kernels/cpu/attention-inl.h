// Causal attention over blocks of 64 positions. Included by kernels-inl.h.

/// A number that a lambda can be called with and a template made for.
template <int kValue>
struct Count {
  static constexpr int value = kValue;
};

/// One query head on its way through the blocks.
struct HeadState {
  const float* q;
  float* o;
  float highest;
  float total;
  float shrink;  // what o is multiplied with before values are added to it
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

/// o = o * c, then o = fma(p[j], v_j, o) for ascending j, in kCount vectors of dimensions.
template <int kHeads, int kCount>
inline void add_values(const HeadState* heads, size_t d, const float (*p)[kAttentionBlock],
                       size_t at, const float* values, size_t stride, size_t position_count) {
  F32x16 sum[kHeads][kCount];
  for (int h = 0; h < kHeads; ++h) {
    for (int i = 0; i < kCount; ++i) {
      sum[h][i] = load(heads[h].o + d + 16 * i) * set1(heads[h].shrink);
    }
  }
  for (size_t j = 0; j < position_count; ++j) {
    F32x16 pj[kHeads];
    for (int h = 0; h < kHeads; ++h) pj[h] = set1(p[h][at + j]);
    for (int i = 0; i < kCount; ++i) {
      const F32x16 value = load(values + j * stride + d + 16 * i);
      for (int h = 0; h < kHeads; ++h) sum[h][i] = fma(pj[h], value, sum[h][i]);
    }
  }
  for (int h = 0; h < kHeads; ++h) {
    for (int i = 0; i < kCount; ++i) store(heads[h].o + d + 16 * i, sum[h][i]);
  }
}

/// Turns the scores of a block into softmax weights; those before it are to shrink.
inline void weigh_scores(float* score, size_t count, float scale, HeadState& head) {
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
  head.shrink = c[0];
}

/// Rows of floats, `stride` floats apart.
struct FloatRows {
  const float* data;
  size_t stride;
};

/// kHeads query heads meet the keys of `count` positions, whose scores begin at `at`.
template <int kHeads>
inline void score_keys(const HeadState* heads, FloatRows keys, size_t head_dim, size_t count,
                       float (*scores)[kAttentionBlock], size_t at) {
  size_t j = 0;
  for (; j + kKeyTile <= count; j += kKeyTile) {
    dot_keys<kHeads, kKeyTile>(heads, keys.data + j * keys.stride, head_dim, scores, at + j);
  }
  for (; j < count; ++j) {
    dot_keys<kHeads, 1>(heads, keys.data + j * keys.stride, head_dim, scores, at + j);
  }
}

/// The same heads meet the values of those positions.
template <int kHeads>
inline void sum_values(HeadState* heads, FloatRows values, size_t value_dim, size_t count,
                       const float (*p)[kAttentionBlock], size_t at) {
  const size_t stride = values.stride;
  size_t d = 0;
  for (; d + 16 * kValueTile <= value_dim; d += 16 * kValueTile) {
    add_values<kHeads, kValueTile>(heads, d, p, at, values.data, stride, count);
  }
  for (; d + 16 <= value_dim; d += 16) {
    add_values<kHeads, 1>(heads, d, p, at, values.data, stride, count);
  }
  for (; d < value_dim; ++d) {
    for (int h = 0; h < kHeads; ++h) {
      float od = heads[h].o[d] * heads[h].shrink;
      for (size_t i = 0; i < count; ++i) {
        od = __builtin_fmaf(p[h][at + i], values.data[i * stride + d], od);
      }
      heads[h].o[d] = od;
    }
  }
  for (int h = 0; h < kHeads; ++h) heads[h].shrink = 1;  // once a block
}

/// Positions that queries meet at a time: so few that they are in the first-level cache, unless
/// rows are so wide that what the queries add up would not be beside them (bench/results/kv.md).
inline size_t tile_of(size_t dim) { return dim <= 256 ? 16 : kAttentionBlock; }

/// Positions of a block, counted from its first.
struct BlockRange {
  size_t begin;
  size_t end;
};

/// Those of block b that a query sees; begin == end: none.
inline BlockRange seen_of_block(const AttentionQuery& query, size_t b) {
  const size_t block_first = b * kAttentionBlock;
  if (query.position < block_first || query.first >= block_first + kAttentionBlock) return {0, 0};
  const size_t left = query.position - block_first + 1;
  return {query.first > block_first ? query.first - block_first : 0,
          left < kAttentionBlock ? left : kAttentionBlock};
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

/// Keys or values of one head in a block, as they are stored.
struct StoredRows {
  const uint8_t* data;
  size_t row_bytes;
  size_t row_dim;
};

/// The first `dim` elements of `tile`'s rows as floats, which may be made in `scratch`: once for
/// all queries and heads, and few enough to be in the first-level cache when those meet them.
inline FloatRows floats_of(KvPrecision precision, const StoredRows& rows, size_t dim,
                           BlockRange tile, float* scratch) {
  if (precision == KvPrecision::kF32) {
    return {reinterpret_cast<const float*>(rows.data) + tile.begin * rows.row_dim, rows.row_dim};
  }
  for (size_t j = tile.begin; j < tile.end; ++j) {
    const uint8_t* const row = rows.data + j * rows.row_bytes;
    float* const out = scratch + (j - tile.begin) * dim;
    if (precision == KvPrecision::kBF16) {
      widen_bf16_row(row, dim, out);
    } else {
      widen_int8_row(row, rows.row_dim, dim, out);
    }
  }
  return {scratch, dim};
}

/// Queries of one sequence on their way through a block.
struct BlockQueries {
  const AttentionQuery* queries;
  HeadState* states;                 // [query_count, head_count]
  float (*scores)[kAttentionBlock];  // likewise; from the first position that a query sees on
  size_t query_count;
  size_t head_count;
  size_t block;

  /// fn<heads>(states, scores, positions of the tile that are seen, index of the first in scores)
  /// for each query, some heads at a time.
  template <typename Fn>
  void for_heads(BlockRange tile, Fn fn) const {
    for (size_t i = 0; i < query_count; ++i) {
      const BlockRange seen = seen_of_block(queries[i], block);
      const size_t begin = seen.begin > tile.begin ? seen.begin : tile.begin;
      const size_t end = seen.end < tile.end ? seen.end : tile.end;
      if (begin >= end) continue;
      HeadState* const mine = states + i * head_count;
      float(*const my_scores)[kAttentionBlock] = scores + i * head_count;
      size_t h = 0;
      for (; h + kHeadTile <= head_count; h += kHeadTile) {
        fn(Count<kHeadTile>(), mine + h, my_scores + h, BlockRange{begin, end}, begin - seen.begin);
      }
      for (; h < head_count; ++h) {
        fn(Count<1>(), mine + h, my_scores + h, BlockRange{begin, end}, begin - seen.begin);
      }
    }
  }
};

/// All queries and heads meet the positions of a block that any of them sees.
inline void attend_block(const AttentionHeads& heads, const BlockQueries& queries, BlockRange range,
                         float* scratch) {
  const AttentionQuery& any = queries.queries[0];
  const size_t head_row = heads.kv_head * kAttentionBlock;
  const StoredRows keys = {
      static_cast<const uint8_t*>(any.key_blocks[queries.block]) + head_row * heads.key_bytes,
      heads.key_bytes, heads.head_dim};
  const StoredRows values = {
      static_cast<const uint8_t*>(any.value_blocks[queries.block]) + head_row * heads.value_bytes,
      heads.value_bytes, heads.value_stride};
  const auto for_tiles = [&](size_t dim, auto fn) {
    const size_t tile = tile_of(dim);
    for (size_t at = range.begin; at < range.end; at += tile) {
      const size_t left = range.end - at;
      fn(BlockRange{at, at + (left < tile ? left : tile)});
    }
  };
  for_tiles(heads.head_dim, [&](BlockRange tile) {
    const FloatRows rows = floats_of(heads.precision, keys, heads.head_dim, tile, scratch);
    queries.for_heads(tile, [&](auto count, HeadState* states, float(*scores)[kAttentionBlock],
                                BlockRange seen, size_t at) {
      score_keys<count.value>(states,
                              {rows.data + (seen.begin - tile.begin) * rows.stride, rows.stride},
                              heads.head_dim, seen.end - seen.begin, scores, at);
    });
  });
  for (size_t i = 0; i < queries.query_count; ++i) {
    const BlockRange seen = seen_of_block(queries.queries[i], queries.block);
    if (seen.begin == seen.end) continue;
    for (size_t h = i * queries.head_count; h < (i + 1) * queries.head_count; ++h) {
      weigh_scores(queries.scores[h], seen.end - seen.begin, heads.scale, queries.states[h]);
    }
  }
  for_tiles(heads.value_dim, [&](BlockRange tile) {
    const FloatRows rows = floats_of(heads.precision, values, heads.value_dim, tile, scratch);
    queries.for_heads(tile, [&](auto count, HeadState* states, float(*scores)[kAttentionBlock],
                                BlockRange seen, size_t at) {
      sum_values<count.value>(states,
                              {rows.data + (seen.begin - tile.begin) * rows.stride, rows.stride},
                              heads.value_dim, seen.end - seen.begin, scores, at);
    });
  });
}

// Blocks outside, queries and heads inside: a block of keys and values serves all of them from the
// cache.
void attention(const AttentionHeads& heads, const AttentionQuery* queries, size_t query_count,
               float* scratch) {
  const size_t head_count = heads.head_end - heads.head_begin;
  const size_t value_dim = heads.value_dim;
  HeadState states[kAttentionTileMax];
  float scores[kAttentionTileMax][kAttentionBlock];
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
          .total = heads.sinks != nullptr ? 1.0f : 0.0f,
          .shrink = 1};
    }
    memset(query.out + heads.head_begin * value_dim, 0, head_count * value_dim * sizeof(float));
  }
  for (size_t b = block_begin; b < block_end; ++b) {
    size_t end = 0;
    for (size_t begin = 0; begin < query_count; begin = end) {
      // Queries of one sequence read the same rows.
      const AttentionQuery& first = queries[begin];
      BlockRange range = {kAttentionBlock, 0};
      for (end = begin; end < query_count && queries[end].key_blocks == first.key_blocks &&
                        queries[end].value_blocks == first.value_blocks;
           ++end) {
        const BlockRange seen = seen_of_block(queries[end], b);
        if (seen.begin == seen.end) continue;
        if (seen.begin < range.begin) range.begin = seen.begin;
        if (seen.end > range.end) range.end = seen.end;
      }
      if (range.end == 0) continue;
      attend_block(heads,
                   {queries + begin, states + begin * head_count, scores + begin * head_count,
                    end - begin, head_count, b},
                   range, scratch);
    }
  }
  for (size_t i = 0; i < query_count * head_count; ++i) {
    float* const o = states[i].o;
    const F32x16 l = set1(states[i].total);
    for_lanes(value_dim,
              [&](size_t d, size_t n) { store_lanes(o + d, load_lanes(o + d, n) / l, n); });
  }
}
