#ifndef FLASHMOE_MODEL_LAYERS_ATTENTION_H_
#define FLASHMOE_MODEL_LAYERS_ATTENTION_H_

#include "model/model_config.h"
#include "model/model_weights.h"
#include "model/step.h"
#include "model/workspace.h"

namespace flashmoe {

/// Gated grouped-query attention with per-head query and key norms and partial rotary embedding.
/// Source: transformers modeling_qwen3_next.py, Qwen3NextAttention.
class GatedAttention {
 public:
  /// `ordinal`: which attention layer of the model this is, counted from 0. References must outlive
  /// the layer.
  GatedAttention(const ModelConfig& config, const AttentionWeights& weights, std::size_t ordinal)
      : config_(config.attention),
        rms_norm_eps_(config.rms_norm_eps),
        weights_(weights),
        ordinal_(ordinal) {}

  /// y = Attention(x) for every row, extending the KV cache of every segment. x: prepared [rows,
  /// hidden]; y: [rows, hidden]. The caches must have room (KvCache::reserve).
  void forward(StepContext& context, Workspace& workspace, const Activations& x,
               MatrixView<float> y) const;

 private:
  const AttentionConfig& config_;
  float rms_norm_eps_;
  const AttentionWeights& weights_;
  std::size_t ordinal_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_LAYERS_ATTENTION_H_
