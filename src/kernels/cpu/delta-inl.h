// The gated delta rule, token by token. Included by kernels-inl.h.

/// kCount vectors of value columns from column `col` on, their state at `state`, rows `stride`
/// apart; with kPartial one vector of n < 16 columns.
template <int kCount, bool kPartial>
inline void delta_columns(const DeltaColumns& c, size_t col, size_t n, float* state,
                          size_t stride) {
  const auto get = [&](const float* p) { return kPartial ? load_n(p, n) : load(p); };
  const auto put = [&](float* p, F32x16 a) {
    if constexpr (kPartial) {
      store_n(p, a, n);
    } else {
      store(p, a);
    }
  };
  for (size_t row = 0; row < c.row_count; ++row) {
    const float* q = c.q + row * c.q_stride;
    const float* k = c.k + row * c.k_stride;
    const F32x16 decay = set1(c.decay[row * c.decay_stride]);
    const F32x16 beta = set1(c.beta[row * c.beta_stride]);
    F32x16 t[kCount];
    for (F32x16& ti : t) ti = set1(0.0f);
    for (size_t dk = 0; dk < c.key_dim; ++dk) {
      const F32x16 kd = set1(k[dk]);
      for (int i = 0; i < kCount; ++i) {
        const F32x16 s = get(state + dk * stride + 16 * i) * decay;
        t[i] = fma(s, kd, t[i]);
      }
    }
    F32x16 u[kCount];
    F32x16 o[kCount];
    for (int i = 0; i < kCount; ++i) {
      u[i] = beta * (get(c.v + row * c.v_stride + col + 16 * i) - t[i]);
      o[i] = set1(0.0f);
    }
    // S * decay again, rather than stored and loaded: the same bits.
    for (size_t dk = 0; dk < c.key_dim; ++dk) {
      const F32x16 kd = set1(k[dk]);
      const F32x16 qd = set1(q[dk]);
      for (int i = 0; i < kCount; ++i) {
        float* p = state + dk * stride + 16 * i;
        const F32x16 s = fma(kd, u[i], get(p) * decay);
        put(p, s);
        o[i] = fma(s, qd, o[i]);
      }
    }
    for (int i = 0; i < kCount; ++i) put(c.o + row * c.o_stride + col + 16 * i, o[i]);
  }
}

// Columns and key rows of a state block that is copied together for several tokens: in place, rows
// a power of two apart fall into few sets of the L1 cache and drive each other out.
constexpr size_t kDeltaBlockColumns = 64;
constexpr size_t kDeltaBlockKeys = 128;

inline void delta_block(const DeltaColumns& c, size_t col) {
  if (c.row_count == 1 || c.key_dim > kDeltaBlockKeys) {
    delta_columns<4, false>(c, col, 16, c.state + col, c.value_dim);
    return;
  }
  alignas(64) float block[kDeltaBlockKeys * kDeltaBlockColumns];
  constexpr size_t kSize = kDeltaBlockColumns * sizeof(float);
  for (size_t dk = 0; dk < c.key_dim; ++dk) {
    memcpy(block + dk * kDeltaBlockColumns, c.state + dk * c.value_dim + col, kSize);
  }
  delta_columns<4, false>(c, col, 16, block, kDeltaBlockColumns);
  for (size_t dk = 0; dk < c.key_dim; ++dk) {
    memcpy(c.state + dk * c.value_dim + col, block + dk * kDeltaBlockColumns, kSize);
  }
}

void delta_rule(const DeltaColumns& c) {
  size_t col = c.col_begin;
  for (; col + kDeltaBlockColumns <= c.col_end; col += kDeltaBlockColumns) delta_block(c, col);
  for (; col + 16 <= c.col_end; col += 16) {
    delta_columns<1, false>(c, col, 16, c.state + col, c.value_dim);
  }
  if (col < c.col_end) {
    delta_columns<1, true>(c, col, c.col_end - col, c.state + col, c.value_dim);
  }
}
