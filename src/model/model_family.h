#ifndef FLASHMOE_MODEL_MODEL_FAMILY_H_
#define FLASHMOE_MODEL_MODEL_FAMILY_H_

#include <string>
#include <string_view>

#include "base/result.h"
#include "format/checkpoint.h"
#include "model/model_config.h"

namespace flashmoe {

/// The tensors of a family, by what they do. "{layer}" and "{expert}" stand for indices.
struct TensorNames {
  std::string_view embed_tokens;
  std::string_view final_norm;
  std::string_view lm_head;
  std::string_view input_layernorm;
  std::string_view post_attention_layernorm;

  std::string_view q_proj;
  std::string_view k_proj;
  std::string_view v_proj;
  std::string_view o_proj;
  std::string_view q_norm;
  std::string_view k_norm;

  std::string_view in_proj_qkvz;
  std::string_view in_proj_ba;
  std::string_view conv1d;
  std::string_view a_log;
  std::string_view dt_bias;
  std::string_view delta_norm;
  std::string_view out_proj;

  std::string_view router;
  std::string_view shared_gate_proj;
  std::string_view shared_up_proj;
  std::string_view shared_down_proj;
  std::string_view shared_expert_gate;

  /// Three spellings of the routed experts, whichever the checkpoint has.
  std::string_view stacked_experts;   // + ".gate_proj" etc., [num_experts, out, in] (MLX)
  std::string_view separate_experts;  // with {expert}, + ".gate_proj" etc. (Hugging Face)
  std::string_view fused_gate_up;  // [num_experts, 2 * out, in], gate rows first (transformers 5)
  std::string_view fused_down;     // [num_experts, out, in]; or both transposed

  std::string_view mlp_gate_proj;  // layers without experts
  std::string_view mlp_up_proj;
  std::string_view mlp_down_proj;
};

/// A model architecture as data: what config.json leaves unsaid. New math becomes a block in
/// layers/, not a branch here.
struct ModelFamily {
  std::string_view model_type;
  /// Norm weights of Hugging Face checkpoints are stored as w for 1 + w (MLX conversions store the
  /// sum).
  bool norms_are_zero_centred = false;
  TensorNames tensors;
  /// Reads and checks config.json. Errors name the field and the remedy.
  Result<ModelConfig> (*read_config)(const Checkpoint& checkpoint) = nullptr;
};

/// The family of a checkpoint by its config's `model_type`. Errors: kUnsupported, naming those
/// supported.
Result<const ModelFamily*> find_model_family(const Checkpoint& checkpoint);

/// `pattern` with its placeholders filled in.
std::string tensor_name(std::string_view pattern, std::size_t layer);
std::string tensor_name(std::string_view pattern, std::size_t layer, std::size_t expert);

extern const ModelFamily kQwen3Next;

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_MODEL_FAMILY_H_
