#ifndef FLASHMOE_MODEL_LAYERS_MOE_BLOCK_H_
#define FLASHMOE_MODEL_LAYERS_MOE_BLOCK_H_

#include <cstdint>
#include <span>
#include <vector>

#include "base/check.h"
#include "base/result.h"
#include "experts/expert_id.h"
#include "model/expert_layout.h"
#include "model/layers/feed_forward.h"
#include "model/layers/router.h"
#include "model/model_spec.h"
#include "model/overlap_meter.h"
#include "model/step.h"

namespace flashmoe {

/// One expert that rows of a step chose: assignments [begin, end), grouped by expert.
struct ChosenExpert {
  ExpertId id;
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
  std::uint32_t best_rank = 0;  // among all rows' choices; 0 is a router's first
};

/// The bookkeeping of one MoE forward pass, shared by a model's layers, which take turns.
/// Grow-only, so that a decode step allocates nothing.
struct MoeBooks {
  std::vector<std::uint16_t> routed_ids;      // [rows, k], rank order
  std::vector<float> routed_weights;          // [rows, k]
  std::vector<std::uint32_t> expert_cursor;   // [num_experts]
  std::vector<std::uint32_t> best_rank;       // [num_experts], where chosen
  std::vector<ChosenExpert> chosen;           // ascending id
  std::vector<std::uint32_t> assignment_row;  // by assignment: ascending expert, then row
  std::vector<float> assignment_weight;       // by assignment
  std::vector<ExpertLease> leases;            // of chosen, where acquired
  std::vector<std::size_t> wave_order;        // of a wave: indices into chosen, most wanted first
  std::vector<ExpertId> wave_ids;             // of a wave, in that order, like the next two
  std::vector<std::uint32_t> wave_rows;       // how many rows chose each
  std::vector<ExpertLease> wave_leases;       // on their way to leases
  std::vector<std::size_t> pending;  // of a wave: indices into chosen whose bytes are awaited
  std::vector<std::size_t> ready;    // of a wave: indices into chosen to compute now
  std::vector<ExpertMatrices> ready_matrices;  // of ready
  std::vector<std::uint32_t> compact_rows;     // 0, 1, 2, ...: rows of compacted buffers
  std::vector<float> bias;                     // of one expert's matrix, widened
  std::vector<float> up;                       // of one row whose gate and up come in turns
  std::vector<LinearTask> tasks;
  std::vector<WeightedRow> terms;
  OverlapMeter overlap;
};

/// A sparse MLP: each row passes the routed experts that its router picked, and the shared expert
/// where there is one.
///
///   (w, k) = Router(x)
///   y = sum over k of w_k Expert_k(x) + sigmoid(W_shared_expert_gate x) Shared(x)
///       (without that gate, + Shared(x))
///   Expert(x) = W_down (silu(W_gate x) * (W_up x)), or as Glu says; each product (+ its bias)
///
/// With norms of its branches, x being the residual stream,
///
///   y = RMSNorm(sum over k of w_k Expert_k(RMSNorm(x))) + RMSNorm(Shared(the layer's norm of x))
///
/// Expert results are added in ascending expert id, whatever order the experts' bytes arrive in.
/// Sources: transformers modeling_qwen3_next.py, Qwen3NextSparseMoeBlock; modeling_glm4_moe.py;
/// modeling_gemma4.py (norms of branches).
class MoeBlock final : public FeedForward {
 public:
  /// `layer`: which layer of the model this is. `books`: shared by the model's layers, which take
  /// turns; it must outlive the block.
  MoeBlock(const MoeSpec& spec, std::size_t hidden_size, float rms_norm_eps, LayerId layer,
           MoeBooks& books)
      : spec_(spec),
        hidden_(hidden_size),
        rms_norm_eps_(rms_norm_eps),
        layer_(layer),
        router_(spec.router, hidden_size),
        books_(books) {
    FM_CHECK(!spec.has_branch_norms || has_shared());
  }

  Status declare(LayerTensors& tensors) override;
  ScratchSize scratch_size(std::size_t rows) const override;
  Status forward(StepContext& context, Scratch& scratch, const FeedForwardInput& x,
                 MatrixView<float> y) override;
  const Router* router() const override { return &router_; }

  /// What the segments of the layer's experts mean, before the first forward().
  void set_layout(const ExpertLayout& layout) { layout_ = layout; }

 private:
  struct Buffers;
  /// The most of a wave.
  struct WaveLimits {
    std::size_t experts = 0;
    std::size_t assignments = 0;
  };
  /// A pass, as its parts see it.
  struct Pass {
    StepContext& context;
    const Buffers& buffers;
    const Activations& x;  // of the routed experts
    const Activations& shared_x;
  };

  bool has_shared() const { return spec_.shared_intermediate_size > 0; }
  const Activations& norm(const Buffers& buffers, Ops& ops, MatrixView<const float> residual,
                          std::span<const float> weight) const;
  Status route(StepContext& context, const Buffers& buffers, const FeedForwardInput& x) const;
  void group_by_expert(std::size_t rows) const;
  Status run_waves(const Pass& pass, MatrixView<float> y) const;
  std::size_t wave_end(std::size_t begin, const WaveLimits& limits) const;
  std::uint32_t first_assignment(std::size_t i) const;
  double share_before(std::size_t i) const;
  Status acquire(StepContext& context, std::size_t begin, std::size_t end,
                 const WaveLimits& limits) const;
  Status run_wave(const Pass& pass, std::size_t begin, std::size_t end, bool with_shared) const;
  void run_experts(const Pass& pass, std::uint32_t wave_first_assignment, bool with_shared) const;
  Status check_scales(const Pass& pass, std::uint32_t wave_first_assignment) const;
  void add_bias(Ops& ops, const std::byte* bias, MatrixView<float> y) const;
  void complete_gate_up(const Pass& pass) const;

  MoeSpec spec_;
  std::size_t hidden_;
  float rms_norm_eps_;
  LayerId layer_;
  Router router_;
  WeightView shared_gate_proj_;    // [shared_intermediate_size, hidden]
  WeightView shared_up_proj_;      // [shared_intermediate_size, hidden]
  WeightView shared_down_proj_;    // [hidden, shared_intermediate_size]
  WeightView shared_expert_gate_;  // [1, hidden]
  // Of the branches, [hidden]; empty without.
  std::vector<float> experts_norm_;
  std::vector<float> experts_out_norm_;
  std::vector<float> shared_out_norm_;
  ExpertLayout layout_;
  MoeBooks& books_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_LAYERS_MOE_BLOCK_H_
