#ifndef FLASHMOE_KERNELS_OPS_H_
#define FLASHMOE_KERNELS_OPS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "flashmoe/kv_precision.h"
#include "kernels/activations.h"
#include "tensor/matrix_view.h"
#include "tensor/weight_view.h"

namespace flashmoe {

/// y.row(i) = W x.row(x_rows[i]) for every row of y. x_rows empty means row i itself; x then has as
/// many rows as y.
struct LinearTask {
  WeightView weight;                        // [out, in]
  const Activations* x = nullptr;           // prepared, cols == in
  std::span<const std::uint32_t> x_rows{};  // size y.rows, or empty
  MatrixView<float> y;                      // [rows, out]
};

/// y[y_row] += weight * d[d_row]
struct WeightedRow {
  std::uint32_t y_row = 0;
  std::uint32_t d_row = 0;
  float weight = 0;
};

/// Positions per block of the KV cache. Blocks begin at multiples of this, whatever chunk wrote
/// them: attention adds up block by block, so its bits do not depend on how a prompt was cut.
inline constexpr std::size_t kKvBlock = 64;

/// Causal attention of one row (a token at `position`) over its sequence's KV cache.
struct AttentionRow {
  const float* q = nullptr;  // head h at q + h * q_stride, [head_dim]
  std::size_t q_stride = 0;
  /// For positions b * kKvBlock and on, key_blocks[b]: [num_kv_heads, kKvBlock] rows of head_dim
  /// elements, value_blocks[b]: likewise of value_stride, stored as kernels/kv_rows.h says; floats
  /// are aligned. Those before `first` may be null.
  const void* const* key_blocks = nullptr;
  const void* const* value_blocks = nullptr;
  std::size_t first = 0;  // attends to positions first ..= position
  std::size_t position = 0;
  /// Not empty: to those of them alone that are in these runs of AttentionShape::run_size
  /// positions. Run i begins at position i * run_size. Ascending.
  std::span<const std::uint32_t> runs{};
  float* out = nullptr;  // [num_heads * value_dim]
};
struct AttentionShape {
  std::size_t num_heads = 0;
  std::size_t num_kv_heads = 0;  // query head h reads KV head h / (num_heads / num_kv_heads)
  std::size_t head_dim = 0;      // of queries and keys
  std::size_t value_dim = 0;     // the first elements of a position's value that count
  std::size_t value_stride = 0;  // elements of a position's value, those that do not count too
  KvPrecision precision = KvPrecision::kF32;  // of keys and values
  float scale = 0;                            // of the scores, before softmax
  /// A score of each head that takes part in its softmax and has no value, [num_heads]; null: none.
  const float* sinks = nullptr;
  std::size_t run_size = 1;  // of AttentionRow::runs; divides kKvBlock
};

/// A row's search for the keys that its attention looks at (Ops::choose_keys).
struct KeySearch {
  const float* q = nullptr;  // [num_heads, head_dim]
  /// key_blocks[b]: floats [keys_per_block, head_dim], keys b * keys_per_block and on.
  const void* const* key_blocks = nullptr;
  std::size_t key_count = 0;        // at least k
  std::uint32_t* chosen = nullptr;  // [k]: the best keys, ascending
  std::uint64_t* room = nullptr;    // [k], for the time of the call
};
struct KeySearchShape {
  std::size_t num_heads = 0;
  std::size_t head_dim = 0;
  std::size_t keys_per_block = 0;  // at most kKvBlock
  std::size_t k = 0;
  const float* head_weights = nullptr;  // [num_heads]
};

/// Taps of a convolution, `dilation` rows apart.
struct ConvShape {
  std::size_t kernel = 1;
  std::size_t dilation = 1;
  /// Rows before the current one that it looks back to.
  constexpr std::size_t past() const { return (kernel - 1) * dilation; }

  friend bool operator==(const ConvShape&, const ConvShape&) = default;
};

/// Consecutive rows [row_begin, row_end) of one sequence, with its state before the first of them;
/// updated in place.
struct ConvSegment {
  std::size_t row_begin = 0;
  std::size_t row_end = 0;
  float* state = nullptr;  // [ConvShape::past(), channels]: the last inputs, oldest first
};
struct DeltaSegment {
  std::size_t row_begin = 0;
  std::size_t row_end = 0;
  float* state = nullptr;  // [value_heads, key_dim, value_dim]
};
struct DeltaShape {
  std::size_t key_heads = 0;
  std::size_t value_heads = 0;
  std::size_t key_dim = 0;
  std::size_t value_dim = 0;
  /// Value head j belongs to key head j % key_heads, rather than j / (value_heads / key_heads).
  bool is_tiled = false;

  std::size_t key_head_of(std::size_t value_head) const {
    return is_tiled ? value_head % key_heads : value_head / (value_heads / key_heads);
  }
};

/// How experts are chosen from a router's logits, and weighed.
///
///   softmax:  chosen by logit; w = softmax of the logits over all experts, or over the k
///   sigmoid:  s = sigmoid(logit); chosen by s + bias; w = s, or s / (sum of the k by rank + 1e-20)
///
/// then w *= scale, and w *= expert_scale of its expert. With groups, equal runs of experts, only
/// those of the best `groups_kept` are candidates: a group is as good as its best expert, or as the
/// sum of its best two; ties go to the lower group. The others count as 0 among sigmoid scores, and
/// never among softmax ones, unless fewer than k are left. Sources: transformers
/// modeling_qwen3_moe.py, modeling_deepseek_v2.py, modeling_deepseek_v3.py, modeling_gemma4.py.
struct RouteRule {
  /// Of experts with sigmoid scores or groups, and of groups.
  static constexpr std::size_t kExpertsMax = 4096;
  static constexpr std::size_t kGroupsMax = 64;

  enum class Score : std::uint8_t { kSoftmax, kSigmoid };
  std::size_t k = 0;
  bool normalize = false;  // over the k
  Score score = Score::kSoftmax;
  float scale = 1;
  const float* bias = nullptr;          // [num_experts]; of sigmoid scores, null for none
  const float* expert_scale = nullptr;  // [num_experts]; null for none
  std::size_t groups = 1;               // divides num_experts
  std::size_t groups_kept = 1;
  bool groups_by_best_two = false;
};

/// gpt-oss' swiglu (Ops::clamped_swiglu).
struct ClampedSwiglu {
  float alpha = 1;
  float limit = 0;  // > 0

  friend bool operator==(const ClampedSwiglu&, const ClampedSwiglu&) = default;
};

/// The math that models speak. Implementations: reference/ (double, obvious) and cpu/ (SIMD,
/// threads). Every row's result depends on that row's inputs alone, never on the other rows of the
/// call, and on cpu/ its bits are those of docs/numerics.md on every target and thread count. Sizes
/// are the caller's promise (FM_CHECKed); nothing fails.
///
/// Threads: an Ops may use several inside; one caller at a time.
class Ops {
 public:
  virtual ~Ops() = default;

  /// "reference", "scalar", "avx2", "avxvnni", "avx512", "avx512vnni", "amx", "neon", "neondot".
  virtual std::string_view target() const = 0;

  /// While `*stop` is true, ops may return early and leave any values behind: nobody wants what
  /// they compute. It may be set by any thread, or a signal handler, while an op runs, and must
  /// outlive its use. Null, as at first: all is computed.
  virtual void set_stop(const std::atomic<bool>* /*stop*/) {}

  /// out.row(i) = row ids[i] of `table`, as floats. Affine rows: scale * q rounded, + bias rounded,
  /// as MLX does. `table` is not transposed.
  virtual void embed(const WeightView& table, std::span<const std::int32_t> ids,
                     MatrixView<float> out) = 0;

  /// Makes `out` the prepared form of x. `x` must outlive its use.
  virtual void prepare(MatrixView<const float> x, Activations& out) = 0;

  /// All tasks at once, their weight rows shared out among the threads.
  virtual void linear(std::span<const LinearTask> tasks) = 0;

  /// y = x * rsqrt(mean(x^2) + eps) * weight, per row. y may be x. weight: [cols].
  virtual void rms_norm(MatrixView<const float> x, const float* weight, float eps,
                        MatrixView<float> y) = 0;

  /// x += y
  virtual void add(MatrixView<float> x, MatrixView<const float> y) = 0;

  /// h = silu(gate) * up, silu(x) = x / (1 + exp(-x)). h may be gate or up.
  virtual void swiglu(MatrixView<const float> gate, MatrixView<const float> up,
                      MatrixView<float> h) = 0;

  /// h = gelu(gate) * up, gelu(x) = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))). h may be gate or
  /// up.
  virtual void geglu(MatrixView<const float> gate, MatrixView<const float> up,
                     MatrixView<float> h) = 0;

  /// h = (u + 1) * g * sigmoid(alpha * g), g = min(gate, limit), u = up within +-limit. h may be
  /// gate or up.
  virtual void clamped_swiglu(const ClampedSwiglu& clamp, MatrixView<const float> gate,
                              MatrixView<const float> up, MatrixView<float> h) = 0;

  /// out.row(i)[0] = a.row(i) . b.row(i). out: [rows, 1].
  virtual void row_dots(MatrixView<const float> a, MatrixView<const float> b,
                        MatrixView<float> out) = 0;

  /// x *= factor
  virtual void scale(MatrixView<float> x, float factor) = 0;

  /// x = cap * tanh(x / cap), elementwise. cap > 0.
  virtual void soft_cap(MatrixView<float> x, float cap) = 0;

  /// x *= sigmoid(gate), elementwise. gate may be x.
  virtual void sigmoid_gate(MatrixView<float> x, MatrixView<const float> gate) = 0;

  /// x.row(i) *= sigmoid(gate.row(i)[0]). gate: [rows, 1].
  virtual void sigmoid_scale_rows(MatrixView<float> x, MatrixView<const float> gate) = 0;

  /// For each row of logits [rows, num_experts]: the k experts that `rule` chooses to ids [rows,
  /// k], the most wanted first (ties: the smaller id), and their weights to weights [rows, k].
  virtual void route(const RouteRule& rule, MatrixView<const float> logits,
                     std::span<std::uint16_t> ids, std::span<float> weights) = 0;

  /// Adds weighted rows of d to rows of y, for each row of y in the order given.
  virtual void add_weighted_rows(MatrixView<const float> d, std::span<const WeightedRow> terms,
                                 MatrixView<float> y) = 0;

  /// cos.row(i)[j], sin.row(i)[j] of the angle float(positions[i]) * inv_freq[j] rounded to float,
  /// times `scale`. [rows, rotary_dim / 2].
  virtual void rope_angles(std::span<const std::uint32_t> positions,
                           std::span<const float> inv_freq, float scale, MatrixView<float> cos,
                           MatrixView<float> sin) = 0;

  /// Rotates the first 2 * cos.cols elements of every head, pairs (i, i + cos.cols), in place. x:
  /// [tokens * heads, head_dim], `heads` consecutive rows to a token; cos and sin: [tokens,
  /// rotary_dim / 2].
  virtual void rope(MatrixView<float> x, std::size_t heads, MatrixView<const float> cos,
                    MatrixView<const float> sin) = 0;

  virtual void attention(const AttentionShape& shape, std::span<const AttentionRow> rows) = 0;

  /// For each row the k keys of the highest scores; of equal ones the lower key.
  ///   score_j = sum_h w_h max(0, q_h . key_j)
  virtual void choose_keys(const KeySearchShape& shape, std::span<const KeySearch> rows) = 0;

  /// y_t[c] = silu(sum_j weight[j][c] * u_{t - (kernel-1-j) * dilation}[c]), causal per segment;
  /// weight: [kernel, channels], the last tap meets the current row. u and y: [rows, channels], not
  /// overlapping.
  virtual void causal_conv_silu(MatrixView<const float> u, const float* weight,
                                const ConvShape& shape, std::span<const ConvSegment> segments,
                                MatrixView<float> y) = 0;

  /// x = scale * x / sqrt(sum(x^2) + 1e-6), per head, in place. Every `head_dim` consecutive
  /// elements of a row are a head.
  virtual void l2_normalize(MatrixView<float> x, std::size_t head_dim, float scale) = 0;

  /// decay = exp(-exp(a_log) * softplus(a + dt_bias)), beta = sigmoid(b). a, b, decay, beta: [rows,
  /// value_heads]; neg_exp_a: -exp(a_log), [value_heads]. decay may be a, beta may be b.
  virtual void delta_gates(MatrixView<const float> a, MatrixView<const float> b,
                           const float* neg_exp_a, const float* dt_bias, MatrixView<float> decay,
                           MatrixView<float> beta) = 0;

  /// The gated delta rule (Gated DeltaNet), token by token. Per value head, with S [key_dim,
  /// value_dim]:
  ///   S <- decay S;  u = beta (v - S^T k);  S <- S + k u^T;  o = S^T q
  /// q, k: [rows, key_heads * key_dim]; v, o: [rows, value_heads * value_dim]; decay, beta: [rows,
  /// value_heads].
  virtual void delta_rule(const DeltaShape& shape, MatrixView<const float> q,
                          MatrixView<const float> k, MatrixView<const float> v,
                          MatrixView<const float> decay, MatrixView<const float> beta,
                          std::span<const DeltaSegment> segments, MatrixView<float> o) = 0;

  /// x = x * rsqrt(mean(x^2) + eps) * weight * silu(gate), per row, in place. weight: [cols].
  virtual void gated_rms_norm(MatrixView<float> x, MatrixView<const float> gate,
                              const float* weight, float eps) = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_KERNELS_OPS_H_
