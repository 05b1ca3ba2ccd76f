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

/// Which positions of a block are seen: the first `count`, or those in `places`, ascending.
struct SeenPositions {
  const uint8_t* places;  // null: the first
  size_t count;
  size_t operator[](size_t i) const { return places == nullptr ? i : places[i]; }
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

/// kHeads query heads meet the positions of one block that they see.
template <int kHeads>
inline void attend_block(HeadState* heads, const float* keys, const float* values,
                         const AttentionHeads& shape, const SeenPositions& seen) {
  const size_t head_dim = shape.head_dim;
  const size_t count = seen.count;
  const size_t stride = shape.value_stride;
  float score[kHeads][kAttentionBlock];
  size_t j = 0;
  while (j < count) {
    const float* const at = keys + seen[j] * head_dim;
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
void attention(const AttentionHeads& heads, const AttentionQuery* queries, size_t query_count) {
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
  const size_t key_offset = heads.kv_head * kAttentionBlock * heads.head_dim;
  const size_t value_offset = heads.kv_head * kAttentionBlock * heads.value_stride;
  for (size_t b = block_begin; b < block_end; ++b) {
    for (size_t i = 0; i < query_count; ++i) {
      const AttentionQuery& query = queries[i];
      const size_t block_first = b * kAttentionBlock;
      if (query.position < block_first || query.first >= block_first + kAttentionBlock) continue;
      const size_t begin = query.first > block_first ? query.first - block_first : 0;
      const size_t left = query.position - block_first + 1;
      const size_t end = left < kAttentionBlock ? left : kAttentionBlock;
      const float* keys = query.key_blocks[b] + key_offset;
      const float* values = query.value_blocks[b] + value_offset;
      SeenPositions seen = {.places = nullptr, .count = end - begin};
      if (query.runs == nullptr) {
        keys += begin * heads.head_dim;
        values += begin * heads.value_stride;
      } else {
        seen.places = places;
        seen.count = places_of_runs(query, heads.run_size, b, begin, end, next_runs[i], places);
        if (seen.count == 0) continue;
      }
      HeadState* const mine = states + i * head_count;
      size_t h = 0;
      for (; h + kHeadTile <= head_count; h += kHeadTile) {
        attend_block<kHeadTile>(mine + h, keys, values, heads, seen);
      }
      for (; h < head_count; ++h) attend_block<1>(mine + h, keys, values, heads, seen);
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
