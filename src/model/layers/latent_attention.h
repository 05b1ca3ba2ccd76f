#ifndef FLASHMOE_MODEL_LAYERS_LATENT_ATTENTION_H_
#define FLASHMOE_MODEL_LAYERS_LATENT_ATTENTION_H_

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/ops.h"
#include "model/layers/mixer.h"
#include "model/model_spec.h"
#include "tensor/weight_view.h"

namespace flashmoe {

/// Multi-head latent attention (MLA), absorbed: of a position it keeps one latent vector and one
/// rotated key for all heads. A head's query is brought to the latent space rather than all keys
/// out of it, and what it attends to is brought out at the end.
/// Sources: arXiv 2405.04434; transformers modeling_deepseek_v3.py, DeepseekV3Attention.
class LatentAttention final : public Mixer {
 public:
  /// As Attention's. `rows` and `indices`: kept from step to step and shared by layers, which take
  /// turns; they must outlive the block.
  LatentAttention(const LatentAttentionSpec& spec, KvPrecision precision, std::size_t hidden_size,
                  std::size_t layer, std::size_t rope, std::vector<AttentionRow>& rows,
                  std::vector<std::uint32_t>& indices)
      : spec_(spec),
        precision_(precision),
        hidden_(hidden_size),
        layer_(layer),
        rope_(rope),
        rows_(rows),
        indices_(indices) {}

  Status declare(LayerTensors& tensors) override;
  void finish() override;
  std::uint64_t derived_bytes() const override;
  StateNeeds state() const override;
  ScratchSize scratch_size(std::size_t rows) const override;
  Status forward(StepContext& context, Scratch& scratch, const Activations& x,
                 MatrixView<float> y) override;

 private:
  struct Buffers;
  /// Rows [begin, begin + count) of a step.
  struct Rows {
    std::size_t begin = 0;
    std::size_t count = 0;
  };
  /// Weights of one head: keys' (transposed, so that they bring a query to the latent space) and
  /// values'.
  WeightView embed_q(std::size_t head) const;
  WeightView unembed_out(std::size_t head) const;

  void store_keys(StepContext& context, const Activations& x, const Buffers& buffers);
  void make_queries(StepContext& context, const Activations& x, const Buffers& buffers, Rows rows);
  void attend(StepContext& context, const Buffers& buffers, Rows rows);
  void read_out(StepContext& context, const Buffers& buffers, Rows rows, MatrixView<float> y);
  std::span<const std::uint32_t> indices(std::size_t begin, std::size_t count, std::size_t step);

  LatentAttentionSpec spec_;
  KvPrecision precision_;
  std::size_t hidden_;
  std::size_t layer_;
  std::size_t rope_;
  std::vector<AttentionRow>& rows_;
  std::vector<std::uint32_t>& indices_;

  WeightView q_proj_;              // [heads * qk_head_dim, hidden], or in two:
  WeightView q_a_proj_;            // [q_lora_rank, hidden]
  WeightView q_b_proj_;            // [heads * qk_head_dim, q_lora_rank]
  std::vector<float> q_a_norm_;    // [q_lora_rank]
  WeightView kv_a_proj_;           // [kv_lora_rank + qk_rope_head_dim, hidden]
  std::vector<float> kv_a_norm_;   // [kv_lora_rank]
  WeightView kv_b_proj_;           // [heads * (qk_nope_head_dim + v_head_dim), kv_lora_rank], or:
  WeightView embed_q_;             // [heads * kv_lora_rank, qk_nope_head_dim]
  WeightView unembed_out_;         // [heads * v_head_dim, kv_lora_rank]
  WeightView o_proj_;              // [hidden, heads * v_head_dim]
  std::vector<LinearTask> tasks_;  // of a step; grow-only
  /// The keys' rows of a quantised kv_b_proj as floats, which can be read transposed.
  std::vector<float> key_rows_;  // [heads * qk_nope_head_dim, kv_lora_rank]
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_LAYERS_LATENT_ATTENTION_H_
