#ifndef FLASHMOE_KERNELS_CPU_CPU_OPS_IMPL_H_
#define FLASHMOE_KERNELS_CPU_CPU_OPS_IMPL_H_

#include <atomic>
#include <cstddef>
#include <vector>

#include "kernels/cpu/cpu_ops.h"

namespace flashmoe {

/// Shares the kernels of one target out among threads. linear() is in cpu_linear.cc, the ops over
/// sequences in cpu_sequence.cc, the others in cpu_ops.cc.
class CpuOps : public Ops {
 public:
  CpuOps(ThreadPool& pool, const KernelTable& kernels) : pool_(pool), kernels_(kernels) {}

  std::string_view target() const override { return kernels_.name; }
  void set_stop(const std::atomic<bool>* stop) override { stop_ = stop; }

  void embed(const WeightView& table, std::span<const std::int32_t> ids,
             MatrixView<float> out) override;
  void prepare(MatrixView<const float> x, Activations& out) override;
  void linear(std::span<const LinearTask> tasks) override;
  void rms_norm(MatrixView<const float> x, const float* weight, float eps,
                MatrixView<float> y) override;
  void add(MatrixView<float> x, MatrixView<const float> y) override;
  void swiglu(MatrixView<const float> gate, MatrixView<const float> up,
              MatrixView<float> h) override;
  void geglu(MatrixView<const float> gate, MatrixView<const float> up,
             MatrixView<float> h) override;
  void clamped_swiglu(const ClampedSwiglu& clamp, MatrixView<const float> gate,
                      MatrixView<const float> up, MatrixView<float> h) override;
  void row_dots(MatrixView<const float> a, MatrixView<const float> b,
                MatrixView<float> out) override;
  void scale(MatrixView<float> x, float factor) override;
  void soft_cap(MatrixView<float> x, float cap) override;
  void sigmoid_gate(MatrixView<float> x, MatrixView<const float> gate) override;
  void sigmoid_scale_rows(MatrixView<float> x, MatrixView<const float> gate) override;
  void route(const RouteRule& rule, MatrixView<const float> logits, std::span<std::uint16_t> ids,
             std::span<float> weights) override;
  void add_weighted_rows(MatrixView<const float> d, std::span<const WeightedRow> terms,
                         MatrixView<float> y) override;
  void rope_angles(std::span<const std::uint32_t> positions, std::span<const float> inv_freq,
                   float scale, MatrixView<float> cos, MatrixView<float> sin) override;
  void rope(MatrixView<float> x, std::size_t heads, MatrixView<const float> cos,
            MatrixView<const float> sin) override;
  void attention(const AttentionShape& shape, std::span<const AttentionRow> rows) override;
  void choose_keys(const KeySearchShape& shape, std::span<const KeySearch> rows) override;
  void causal_conv_silu(MatrixView<const float> u, const float* weight, const ConvShape& shape,
                        std::span<const ConvSegment> segments, MatrixView<float> y) override;
  void l2_normalize(MatrixView<float> x, std::size_t head_dim, float scale) override;
  void delta_gates(MatrixView<const float> a, MatrixView<const float> b, const float* neg_exp_a,
                   const float* dt_bias, MatrixView<float> decay, MatrixView<float> beta) override;
  void delta_rule(const DeltaShape& shape, MatrixView<const float> q, MatrixView<const float> k,
                  MatrixView<const float> v, MatrixView<const float> decay,
                  MatrixView<const float> beta, std::span<const DeltaSegment> segments,
                  MatrixView<float> o) override;
  void gated_rms_norm(MatrixView<float> x, MatrixView<const float> gate, const float* weight,
                      float eps) override;

 private:
  /// One task of linear(), as the kernels take it.
  struct LinearPlan {
    WeightRows weights;
    std::size_t row_count;
    std::size_t row_size;  // bytes of a row in all planes
    bool is_integer;       // WeightType::has_integer_products()
    std::size_t rows_per_chunk;
    std::size_t first_chunk;  // of all tasks' chunks
    std::size_t x_begin;      // into x_ and y_
    std::size_t x_count;
  };

  void run_chunk(std::size_t chunk);

  /// Calls fn(r) for every row; in parallel where `rows` rows of `row_cost` (about that many
  /// elements touched) are worth a parallel region.
  template <typename Fn>
  void for_rows(std::size_t rows, std::size_t row_cost, Fn fn) {
    if (rows * row_cost < kInlineCost) {
      for (std::size_t r = 0; r < rows; ++r) fn(r);
      return;
    }
    const std::size_t step = row_cost >= kChunkCost ? 1 : kChunkCost / row_cost;
    pool_.parallel_for((rows + step - 1) / step, [&](std::size_t chunk) {
      if (is_stopped()) return;
      const std::size_t end = (chunk + 1) * step < rows ? (chunk + 1) * step : rows;
      for (std::size_t r = chunk * step; r < end; ++r) fn(r);
    });
  }
  /// Elements below which a parallel region costs more than it gains, and worth a chunk of one.
  static constexpr std::size_t kInlineCost = 16384;
  static constexpr std::size_t kChunkCost = 8192;

  /// Asked before each chunk of a parallel region: a load from a line that all threads share.
  bool is_stopped() const { return stop_ != nullptr && stop_->load(std::memory_order_relaxed); }

  const std::atomic<bool>* stop_ = nullptr;
  ThreadPool& pool_;
  const KernelTable& kernels_;
  // Scratch of linear(): grows to the largest call and stays.
  std::vector<LinearPlan> plans_;
  std::vector<ActivationRow> x_;
  std::vector<float*> y_;
  std::vector<AttentionQuery> queries_;
  std::vector<float> key_scores_;  // of one row of choose_keys()
};

/// At least `size` bytes of the calling thread's own, until it ends or asks for more.
void* thread_scratch(std::size_t size);

/// `weights` as the kernels take it; FM_CHECKs the format.
WeightRows to_weight_rows(const WeightView& weights);

}  // namespace flashmoe

#endif  // FLASHMOE_KERNELS_CPU_CPU_OPS_IMPL_H_
