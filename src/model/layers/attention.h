#ifndef FLASHMOE_MODEL_LAYERS_ATTENTION_H_
#define FLASHMOE_MODEL_LAYERS_ATTENTION_H_

#include <optional>
#include <vector>

#include "base/check.h"
#include "kernels/ops.h"
#include "model/layers/indexer.h"
#include "model/layers/mixer.h"
#include "model/model_spec.h"
#include "tensor/weight_view.h"

namespace flashmoe {

/// Grouped-query attention with rotary embedding; as the family has it, with norms of queries and
/// keys, biases, a window, sinks, a gate of the output, values that are keys, and an indexer that
/// says where to look.
/// Sources: transformers modeling_qwen3_next.py, Qwen3NextAttention; modeling_qwen3_moe.py;
/// modeling_olmoe.py (norms of whole rows); modeling_gemma4.py (values).
class Attention final : public Mixer {
 public:
  /// `layer`: which layer of the model this is. `rope`: which of StepContext::rope is its own.
  /// `rows`: kept from step to step, so that decoding allocates nothing; layers, which take turns,
  /// share it. It must outlive the block.
  Attention(const AttentionSpec& spec, KvPrecision precision, std::size_t hidden_size,
            float rms_norm_eps, std::size_t layer, std::size_t rope,
            std::vector<AttentionRow>& rows)
      : spec_(spec),
        precision_(precision),
        hidden_(hidden_size),
        rms_norm_eps_(rms_norm_eps),
        layer_(layer),
        rope_(rope),
        rows_(rows) {
    FM_CHECK(!spec.has_output_gate || spec.qk_norm != QkNorm::kWhole);
    FM_CHECK(!spec.keys_are_values || spec.has_value_norm);
    FM_CHECK(!spec.indexer || spec.window == 0);
    if (spec.has_value_norm) v_norm_.assign(spec.head_dim, 1.0f);
    if (spec.indexer) {
      indexer_.emplace(*spec.indexer, spec.rope, hidden_size, rms_norm_eps, layer, rope);
    }
  }

  Status declare(LayerTensors& tensors) override;
  StateNeeds state() const override;
  ScratchSize scratch_size(std::size_t rows) const override;
  Status forward(StepContext& context, Scratch& scratch, const Activations& x,
                 MatrixView<float> y) override;

 private:
  struct Buffers;
  /// Elements of a row of q_proj's output per head: the query, then the gate if there is one.
  std::size_t query_stride() const { return spec_.head_dim * (spec_.has_output_gate ? 2 : 1); }
  void attend(StepContext& context, const Buffers& buffers);

  AttentionSpec spec_;
  KvPrecision precision_;
  std::size_t hidden_;
  float rms_norm_eps_;
  std::size_t layer_;
  std::size_t rope_;
  bool is_interleaved_ = false;  // queries and keys are projected in the order of rotary pairs
  std::vector<AttentionRow>& rows_;
  std::optional<Indexer> indexer_;

  WeightView q_proj_;          // [num_heads * query_stride(), hidden]
  WeightView k_proj_;          // [num_kv_heads * head_dim, hidden]
  WeightView v_proj_;          // likewise; none where keys are values
  WeightView o_proj_;          // [hidden, num_heads * head_dim]
  std::vector<float> q_norm_;  // as QkNorm says
  std::vector<float> k_norm_;
  std::vector<float> v_norm_;  // ones, [head_dim]; empty without
  std::vector<float> sinks_;   // [num_heads]; empty without
  std::vector<float> q_bias_;  // of the projections' outputs; empty without
  std::vector<float> k_bias_;
  std::vector<float> v_bias_;
  std::vector<float> o_bias_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_LAYERS_ATTENTION_H_
