#ifndef FLASHMOE_MODEL_MODEL_WEIGHTS_H_
#define FLASHMOE_MODEL_MODEL_WEIGHTS_H_

#include <vector>

#include "base/result.h"
#include "model/model_config.h"
#include "model/model_family.h"
#include "model/weight_source.h"
#include "tensor/weight_view.h"

namespace flashmoe {

struct AttentionWeights {
  WeightView
      q_proj;  // [num_heads * 2 * head_dim, hidden]: per head the query rows, then the gate rows
  WeightView k_proj;  // [num_kv_heads * head_dim, hidden]
  WeightView v_proj;
  WeightView o_proj;          // [hidden, num_heads * head_dim]
  std::vector<float> q_norm;  // [head_dim]
  std::vector<float> k_norm;
  std::vector<float> q_bias;  // of the projections' outputs; empty without attention_bias
  std::vector<float> k_bias;
  std::vector<float> v_bias;
  std::vector<float> o_bias;
};

struct DeltaNetWeights {
  WeightView
      in_proj_qkvz;  // [key_heads * (2 key_dim + 2 ratio value_dim), hidden], grouped by key head
  WeightView in_proj_ba;         // [2 * value_heads, hidden], grouped by key head
  WeightView out_proj;           // [hidden, value_heads * value_dim]
  std::vector<float> conv;       // [conv_kernel, conv_channels], tap-major after finish()
  std::vector<float> neg_exp_a;  // [value_heads]: -exp(A_log) after finish()
  std::vector<float> dt_bias;    // [value_heads]
  std::vector<float> norm;       // [value_dim]
};

struct MlpWeights {
  WeightView gate_proj;
  WeightView up_proj;
  WeightView down_proj;
};

struct LayerWeights {
  std::vector<float> input_layernorm;
  std::vector<float> post_attention_layernorm;
  AttentionWeights attention;     // kFullAttention
  DeltaNetWeights delta_net;      // kLinearAttention
  WeightView router;              // MoE: [num_experts, hidden]
  MlpWeights mlp;                 // the shared expert of a MoE layer, or a dense layer's MLP
  WeightView shared_expert_gate;  // [1, hidden]
};

/// Everything of a model but its routed experts. The views point into memory of the WeightSource's
/// owner; vectors are own.
struct ModelWeights {
  WeightView embed_tokens;  // [vocab, hidden]
  WeightView lm_head;       // [vocab, hidden]; embed_tokens again when tied
  std::vector<float> final_norm;
  std::vector<LayerWeights> layers;

  /// Declares every tensor to `source`. This object must not move until the source has loaded and
  /// finish() has run.
  Status declare(const ModelFamily& family, const ModelConfig& config, WeightSource& source);

  /// After loading: brings vectors to the form the layers use. `add_one`: norms are stored
  /// zero-centred. Errors: kCorrupt if a parameter is not finite.
  Status finish(const ModelConfig& config, bool add_one);
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_MODEL_WEIGHTS_H_
