#ifndef FLASHMOE_KERNELS_CPU_KERNEL_TABLE_H_
#define FLASHMOE_KERNELS_CPU_KERNEL_TABLE_H_

// What CpuOps calls: one table of functions per instruction set. The files behind it are compiled
// with that set's flags, so this header brings them plain structs and raw pointers only: an inline
// function shared with other files could carry, say, AVX-512 into them through the linker.

#include <stddef.h>
#include <stdint.h>

#include "flashmoe/kv_precision.h"
#include "kernels/activation_row.h"
#include "tensor/weight_encoding.h"

namespace flashmoe {

/// kKvBlock of kernels/ops.h, which says what it is.
inline constexpr size_t kAttentionBlock = 64;
/// kKvGroup of kernels/kv_rows.h, which says what lies in a row of keys or values.
inline constexpr size_t kAttentionGroup = 32;

/// Float types of weights, scales and biases.
enum class FloatType : uint8_t { kF32, kBF16, kF16 };

/// Rows of a weight matrix, as in WeightView (tensor/weight_view.h).
struct WeightRows {
  const uint8_t* planes[3];  // each at its first row, as WeightType has them; null past the last
  size_t strides[3];         // bytes from row, or row of blocks, to the next
  size_t transposed_stride;  // bytes from input to input where floats are transposed, else 0
  size_t cols;
  uint32_t block_cols;
  uint32_t block_bytes;  // of a block in planes[0]
  // Of fp8: rows and columns that share a scale, of which row_in_block rows are before row 0.
  uint32_t scale_rows;
  uint32_t scale_cols;
  size_t row_in_block;
  uint32_t bits;  // affine
  WeightEncoding encoding;
  FloatType type;  // of floats; affine, fp8: of scales and biases
};

/// One sequence position's view of attention, as in AttentionRow (kernels/ops.h).
struct AttentionQuery {
  const float* q;
  size_t q_stride;
  const void* const* key_blocks;
  const void* const* value_blocks;
  size_t first;
  size_t position;
  const uint32_t* runs;  // null: all from first to position
  size_t run_count;
  float* out;
};
struct AttentionHeads {
  size_t head_begin;  // query heads [head_begin, head_end), all of one KV head
  size_t head_end;
  size_t kv_head;
  size_t head_dim;
  size_t value_dim;
  size_t value_stride;
  KvPrecision precision;
  size_t key_bytes;    // from a position's key to the next one's
  size_t value_bytes;  // the same of values
  float scale;
  const float* sinks;  // null: none
  size_t run_size;     // of the queries' runs
};
/// Queries times heads that one call of `attention` takes at most.
inline constexpr size_t kAttentionTileMax = 64;

/// One value head of one sequence, value columns [col_begin, col_end).
struct DeltaColumns {
  const float* q;  // of the first row: key head's [key_dim]; next row q_stride further
  const float* k;
  const float* v;  // of the first row: value head's [value_dim]
  const float* decay;
  const float* beta;
  float* o;
  size_t q_stride, k_stride, v_stride, decay_stride, beta_stride, o_stride;
  size_t row_count;
  size_t key_dim;
  size_t value_dim;  // of the state's rows
  size_t col_begin, col_end;
  float* state;  // [key_dim, value_dim]
};

struct KernelTable {
  const char* name;

  /// The integers of values[cols], cols a multiple of 32.
  void (*quantize_row)(const float* values, size_t cols, const ActivationRowParts& out);
  /// y[r][i] = weight row i times x[r], for i in [row_begin, row_end). `scratch`: memory of
  /// linear_scratch_size bytes for the time of the call, on a cache line.
  size_t linear_scratch_size;
  void (*linear)(const WeightRows& weights, size_t row_begin, size_t row_end,
                 const ActivationRow* x, float* const* y, size_t x_count, void* scratch);
  /// One row of weights as floats.
  void (*dequantize_row)(const WeightRows& weights, size_t row, float* out);

  void (*rms_norm)(const float* x, const float* weight, float eps, size_t n, float* y);
  void (*gated_rms_norm)(float* x, const float* gate, const float* weight, float eps, size_t n);
  void (*l2_normalize)(float* x, float scale, size_t n);
  void (*add)(float* x, const float* y, size_t n);
  void (*add_scaled)(float* y, float weight, const float* d, size_t n);
  void (*swiglu)(const float* gate, const float* up, float* h, size_t n);
  void (*geglu)(const float* gate, const float* up, float* h, size_t n);
  void (*clamped_swiglu)(const float* gate, const float* up, float alpha, float limit, float* h,
                         size_t n);
  float (*dot)(const float* a, const float* b, size_t n);
  void (*scale)(float* x, float factor, size_t n);
  void (*soft_cap)(float* x, float cap, size_t n);
  void (*sigmoid_gate)(float* x, const float* gate, size_t n);
  void (*sigmoid_scale)(float* x, float gate, size_t n);
  void (*delta_gates)(const float* a, const float* b, const float* neg_exp_a, const float* dt_bias,
                      float* decay, float* beta, size_t n);
  void (*rope)(float* x, const float* cos, const float* sin, size_t half);
  /// The softmax weights of ids[k], largest logit first, over those or over all n logits.
  void (*route_weights)(const float* logits, size_t n, const uint16_t* ids, size_t k,
                        bool normalize, float* weights);

  /// taps[t] + c: the input of channel c that weight[t * channels + c] meets.
  void (*conv_silu)(const float* const* taps, size_t kernel, const float* weight, size_t channels,
                    size_t channel_begin, size_t channel_end, float* y);
  /// queries * heads <= kAttentionTileMax. `scratch`: unless keys and values are floats, for the
  /// time of the call kAttentionBlock * (head_dim + value_dim) of them, on a cache line.
  void (*attention)(const AttentionHeads& heads, const AttentionQuery* queries, size_t query_count,
                    float* scratch);
  void (*delta_rule)(const DeltaColumns& columns);
  /// scores[j] = sum over h of weights[h] * max(0, q[h] . keys[j]), j < count <= kAttentionBlock.
  /// q: [heads, head_dim], keys: [count, head_dim].
  void (*key_scores)(const float* q, const float* weights, size_t heads, size_t head_dim,
                     const float* keys, size_t count, float* scores);
};

const KernelTable& kernels_scalar();
const KernelTable& kernels_avx2();
const KernelTable& kernels_avxvnni();
const KernelTable& kernels_avx512();
const KernelTable& kernels_avx512vnni();
const KernelTable& kernels_amx();
const KernelTable& kernels_neon();
const KernelTable& kernels_neondot();

}  // namespace flashmoe

#endif  // FLASHMOE_KERNELS_CPU_KERNEL_TABLE_H_
