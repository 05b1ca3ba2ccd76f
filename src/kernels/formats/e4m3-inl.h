// Floats of eight bits with a plane of scales, for CPUs: e4m3.h has the layout. Included by
// kernels-inl.h.
//
// A Reader widens one row of weights, 16 at a time, from the first to the last.

/// The first n of 16, never reading past them; zeros in the others.
inline F32x16 load_e4m3_lanes(const uint8_t* p, size_t n) {
  if (n == 16) return load_e4m3(p);
  uint8_t bytes[16] = {};
  memcpy(bytes, p, n);
  return load_e4m3(bytes);
}

/// 2^(code - 127), or NaN.
inline float float_of_e8m0(uint32_t code) {
  const uint32_t bits = code == 255 ? 0x7fc00000 : code == 0 ? 0x00400000 : code << 23;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

struct Mxfp8Reader {
  const uint8_t* weights;
  const uint8_t* scales;
  F32x16 scale;

  FM_INLINE void begin(const WeightRows& rows, size_t row) {
    weights = rows.planes[0] + row * rows.strides[0];
    scales = rows.planes[1] + row * rows.strides[1];
    scale = set1(0.0f);
  }
  FM_INLINE F32x16 read(size_t i, size_t /*n*/) {
    if (i % 32 == 0) scale = set1(float_of_e8m0(scales[i / 32]));
    prefetch(weights + i);
    return load_e4m3(weights + i) * scale;
  }
};

struct Fp8Reader {
  const WeightRows* rows;
  const uint8_t* weights;
  const uint8_t* scales;
  size_t block;      // that `scale` is of
  size_t block_end;  // its last column + 1
  F32x16 scale;

  FM_INLINE void begin(const WeightRows& of, size_t row) {
    rows = &of;
    weights = of.planes[0] + row * of.strides[0];
    scales = of.planes[1] + (of.row_in_block + row) / of.scale_rows * of.strides[1];
    take(0);
  }
  FM_INLINE F32x16 read(size_t i, size_t n) {
    if (i >= block_end) take(i / rows->scale_cols);
    prefetch(weights + i);
    const F32x16 values = load_e4m3_lanes(weights + i, n);
    return i + n <= block_end ? values * scale : values * several(i, n);
  }

 private:
  FM_INLINE float scale_of(size_t at) const {
    float lanes[16];
    store(lanes, load_widened_lanes(rows->type, scales + at * size_of(rows->type), 1));
    return lanes[0];
  }
  FM_INLINE void take(size_t at) {
    block = at;
    block_end = (at + 1) * rows->scale_cols;
    scale = set1(scale_of(at));
  }
  /// The scales of columns [i, i + n), which are of several blocks.
  __attribute__((noinline)) F32x16 several(size_t i, size_t n) const {
    float lanes[16] = {};
    for (size_t lane = 0; lane < n; ++lane) lanes[lane] = scale_of((i + lane) / rows->scale_cols);
    return load(lanes);
  }
};

template <typename Reader>
void widen_e4m3_row(const WeightRows& weights, size_t row, float* out) {
  Reader reader;
  reader.begin(weights, row);
  for_lanes(weights.cols, [&](size_t i, size_t n) { store_lanes(out + i, reader.read(i, n), n); });
}
