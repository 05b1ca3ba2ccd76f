// Kernels that go once along a row. Included by kernels-inl.h.

/// Calls body(i, n) for 16 lanes at a time; n is 16 but for the last.
template <typename Body>
inline void for_lanes(size_t n, Body body) {
  size_t i = 0;
  for (; i + 16 <= n; i += 16) body(i, size_t{16});
  if (i < n) body(i, n - i);
}
inline F32x16 load_lanes(const float* p, size_t n) { return n == 16 ? load(p) : load_n(p, n); }
inline void store_lanes(float* p, F32x16 a, size_t n) {
  if (n == 16) {
    store(p, a);
  } else {
    store_n(p, a, n);
  }
}

inline float dot(const float* a, const float* b, size_t n) {
  F32x16 sum = set1(0.0f);
  for_lanes(
      n, [&](size_t i, size_t m) { sum = fma(load_lanes(a + i, m), load_lanes(b + i, m), sum); });
  return reduce_add(sum);
}

inline float rms_scale(const float* x, float eps, size_t n) {
  return 1.0f / __builtin_sqrtf(dot(x, x, n) / static_cast<float>(n) + eps);
}

// y = (x * r) * weight, r = 1 / sqrt(dot(x, x) / n + eps)
void rms_norm(const float* x, const float* weight, float eps, size_t n, float* y) {
  const F32x16 r = set1(rms_scale(x, eps, n));
  for_lanes(n, [&](size_t i, size_t m) {
    store_lanes(y + i, load_lanes(x + i, m) * r * load_lanes(weight + i, m), m);
  });
}

// x = ((x * r) * weight) * silu(gate)
void gated_rms_norm(float* x, const float* gate, const float* weight, float eps, size_t n) {
  const F32x16 r = set1(rms_scale(x, eps, n));
  for_lanes(n, [&](size_t i, size_t m) {
    const F32x16 normed = load_lanes(x + i, m) * r * load_lanes(weight + i, m);
    store_lanes(x + i, normed * silu(load_lanes(gate + i, m)), m);
  });
}

// x = x * (scale / sqrt(dot(x, x) + 1e-6))
void l2_normalize(float* x, float scale, size_t n) {
  const F32x16 r = set1(scale / __builtin_sqrtf(dot(x, x, n) + 1e-6f));
  for_lanes(n, [&](size_t i, size_t m) { store_lanes(x + i, load_lanes(x + i, m) * r, m); });
}

void add(float* x, const float* y, size_t n) {
  for_lanes(n, [&](size_t i, size_t m) {
    store_lanes(x + i, load_lanes(x + i, m) + load_lanes(y + i, m), m);
  });
}

void add_scaled(float* y, float weight, const float* d, size_t n) {
  const F32x16 w = set1(weight);
  for_lanes(n, [&](size_t i, size_t m) {
    store_lanes(y + i, fma(w, load_lanes(d + i, m), load_lanes(y + i, m)), m);
  });
}

void swiglu(const float* gate, const float* up, float* h, size_t n) {
  for_lanes(n, [&](size_t i, size_t m) {
    store_lanes(h + i, silu(load_lanes(gate + i, m)) * load_lanes(up + i, m), m);
  });
}

void geglu(const float* gate, const float* up, float* h, size_t n) {
  for_lanes(n, [&](size_t i, size_t m) {
    store_lanes(h + i, gelu_tanh(load_lanes(gate + i, m)) * load_lanes(up + i, m), m);
  });
}

// h = (u + 1) * (g / (1 + exp(-alpha g))), g = min(limit, gate), u = up within +-limit; this order
// of min and max keeps NaN.
void clamped_swiglu(const float* gate, const float* up, float alpha, float limit, float* h,
                    size_t n) {
  const F32x16 a = set1(alpha);
  const F32x16 high = set1(limit);
  const F32x16 low = set1(-limit);
  const F32x16 one = set1(1.0f);
  for_lanes(n, [&](size_t i, size_t m) {
    const F32x16 g = min(high, load_lanes(gate + i, m));
    const F32x16 u = max(low, min(high, load_lanes(up + i, m)));
    const F32x16 gated = g / (one + exp(set1(0.0f) - a * g));
    store_lanes(h + i, (u + one) * gated, m);
  });
}

void scale(float* x, float factor, size_t n) {
  const F32x16 f = set1(factor);
  for_lanes(n, [&](size_t i, size_t m) { store_lanes(x + i, load_lanes(x + i, m) * f, m); });
}

// x = cap * tanh(x / cap)
void soft_cap(float* x, float cap, size_t n) {
  const F32x16 c = set1(cap);
  for_lanes(n,
            [&](size_t i, size_t m) { store_lanes(x + i, c * tanh(load_lanes(x + i, m) / c), m); });
}

void sigmoid_gate(float* x, const float* gate, size_t n) {
  for_lanes(n, [&](size_t i, size_t m) {
    store_lanes(x + i, load_lanes(x + i, m) * sigmoid(load_lanes(gate + i, m)), m);
  });
}

void sigmoid_scale(float* x, float gate, size_t n) {
  const F32x16 s = sigmoid(set1(gate));
  for_lanes(n, [&](size_t i, size_t m) { store_lanes(x + i, load_lanes(x + i, m) * s, m); });
}

// decay = exp(neg_exp_a * softplus(a + dt_bias)), beta = sigmoid(b)
void delta_gates(const float* a, const float* b, const float* neg_exp_a, const float* dt_bias,
                 float* decay, float* beta, size_t n) {
  for_lanes(n, [&](size_t i, size_t m) {
    const F32x16 step = softplus(load_lanes(a + i, m) + load_lanes(dt_bias + i, m));
    const F32x16 rate = load_lanes(neg_exp_a + i, m);
    const F32x16 gate = sigmoid(load_lanes(b + i, m));
    store_lanes(decay + i, exp(rate * step), m);
    store_lanes(beta + i, gate, m);
  });
}

// (x1, x2) = (x1 cos - x2 sin, x2 cos + x1 sin), the second product rounded into the first by fma
void rope(float* x, const float* cos, const float* sin, size_t half) {
  for_lanes(half, [&](size_t i, size_t m) {
    const F32x16 x1 = load_lanes(x + i, m);
    const F32x16 x2 = load_lanes(x + half + i, m);
    const F32x16 c = load_lanes(cos + i, m);
    const F32x16 s = load_lanes(sin + i, m);
    store_lanes(x + i, fnma(x2, s, x1 * c), m);
    store_lanes(x + half + i, fma(x1, s, x2 * c), m);
  });
}

// weights[i] = exp(logits[ids[i]] - max) / sum; the sum over the k in 16 lanes by rank, or over all
// n by id.
void route_weights(const float* logits, size_t n, const uint16_t* ids, size_t k, bool normalize,
                   float* weights) {
  const F32x16 highest = set1(logits[ids[0]]);
  for (size_t i = 0; i < k; ++i) weights[i] = logits[ids[i]];
  F32x16 sum = set1(0.0f);
  for_lanes(k, [&](size_t i, size_t m) {
    const F32x16 e = exp(load_lanes(weights + i, m) - highest);
    store_lanes(weights + i, e, m);
    if (normalize) sum = sum + (m == 16 ? e : load_n(weights + i, m));
  });
  if (!normalize) {
    for_lanes(n, [&](size_t i, size_t m) {
      float e[16];
      store(e, exp(load_lanes(logits + i, m) - highest));
      sum = sum + load_lanes(e, m);
    });
  }
  const F32x16 total = set1(reduce_add(sum));
  for_lanes(k, [&](size_t i, size_t m) {
    store_lanes(weights + i, load_lanes(weights + i, m) / total, m);
  });
}

// y[c] = silu(sum over t of weight[t][c] * taps[t][c]), ascending t from 0
void conv_silu(const float* const* taps, size_t kernel, const float* weight, size_t channels,
               size_t channel_begin, size_t channel_end, float* y) {
  for_lanes(channel_end - channel_begin, [&](size_t i, size_t m) {
    const size_t c = channel_begin + i;
    F32x16 sum = set1(0.0f);
    for (size_t t = 0; t < kernel; ++t) {
      sum = fma(load_lanes(weight + t * channels + c, m), load_lanes(taps[t] + c, m), sum);
    }
    store_lanes(y + c, silu(sum), m);
  });
}

// docs/numerics.md, "Activations as 16-bit integers": kCount (64, or 32 that end a row) elements.
template <int kCount>
inline void quantize_block(const float* values, int16_t* q, float& scale) {
  constexpr int kVectors = kCount / 16;
  F32x16 x[kVectors];
  F32x16 highest_lanes = set1(0.0f);
  for (int i = 0; i < kVectors; ++i) {
    x[i] = load(values + 16 * i);
    highest_lanes = max_magnitude(highest_lanes, x[i]);
  }
  const float highest = reduce_max_magnitude(highest_lanes);
  if (highest < 0x1p-100f) {
    memset(q, 0, kCount * sizeof(int16_t));
    scale = 0;
    return;
  }
  const F32x16 inverse = set1(32639.0f / highest);
  const F32x16 limit = set1(32639.0f);
  for (int i = 0; i < kVectors; ++i) {
    // NaN becomes 32639, and its scale carries the NaN on.
    const F32x16 clamped = max(min(x[i] * inverse, limit), set1(0.0f) - limit);
    store_low_16(q + 16 * i, clamped + set1(kRounder));
  }
  scale = highest / 32639.0f;
}

inline ActivationBlock block_of(float scale, int32_t total) {
  return {scale, scale * static_cast<float>(total), total};
}

inline int32_t sum_of_16(const int16_t* q) {
  int32_t sum = 0;
  for (int i = 0; i < 16; ++i) sum += q[i];
  return sum;
}

/// Lane of ActivationRow::planes that a chunk of 32 has, the chunks of a row being counted from 0.
constexpr size_t chunk_lane(size_t chunk) { return chunk % 4 * 4 + chunk % 16 / 4; }

inline void write_chunk(const int16_t* q, size_t chunk, const ActivationRowParts& out) {
  order_words(q, out.words + 32 * chunk);
  int8_t high[32];
  int8_t low[32];
  split_planes(q, high, low);
  int8_t* const to = out.planes + 1024 * (chunk / 16) + 4 * chunk_lane(chunk);
  for (int i = 0; i < 8; ++i) {
    memcpy(to + 128 * i, high + 4 * i, 4);
    memcpy(to + 128 * i + 64, low + 4 * i, 4);
  }
}

/// ActivationRow::numbers of 64 columns.
inline void write_numbers(const int16_t* q, int8_t* to) {
  if constexpr (kWordSpan == 0) {
    for (size_t i = 0; i < 64; ++i) {
      const int high = (q[i] + 128) >> 8;
      to[i] = static_cast<int8_t>(high);
      to[64 + i] = static_cast<int8_t>(q[i] - 256 * high);
    }
  } else {
    int16_t words[64];
    constexpr size_t kHalf = kWordSpan / 2;
    for (size_t i = 0; i < 64; ++i) {
      const size_t span = i / kWordSpan * kWordSpan;
      words[i] = q[span + i % kHalf * 2 + i % kWordSpan / kHalf];
    }
    memcpy(to, words, sizeof(words));
  }
}

void quantize_row(const float* values, size_t cols, const ActivationRowParts& out) {
  if (cols % 512 != 0) memset(out.planes + cols / 512 * 1024, 0, 1024);
  for (size_t i = 0; i < cols; i += 64) {
    alignas(64) int16_t q[64];
    float scale;
    const size_t count = cols - i < 64 ? 32 : 64;
    if (count == 32) {
      quantize_block<32>(values + i, q, scale);
      memset(q + 32, 0, 32 * sizeof(int16_t));
    } else {
      quantize_block<64>(values + i, q, scale);
    }
    int32_t total = 0;
    for (size_t j = 0; j < count; j += 32) {
      const size_t chunk = (i + j) / 32;
      const int32_t first = sum_of_16(q + j);
      const int32_t second = sum_of_16(q + j + 16);
      out.blocks16[2 * chunk] = block_of(scale, first);
      out.blocks16[2 * chunk + 1] = block_of(scale, second);
      out.blocks32[chunk] = block_of(scale, first + second);
      write_chunk(q + j, chunk, out);
      total += first + second;
    }
    if (count == 64) out.blocks64[i / 64] = block_of(scale, total);
    write_numbers(q, out.numbers + 2 * i);
  }
}
