// GLM-4.5, 4.6, 4.7 and their Air forms: attention with biases, half of each head rotates; dense
// layers first, then sigmoid routing with a correction bias beside shared experts that every row
// passes. Source: transformers models/glm4_moe/modeling_glm4_moe.py.
#include "model/families/fields.h"
#include "model/families/tensor_names.h"
#include "model/model_family.h"

namespace flashmoe {
namespace {

Result<ModelSpec> read_glm4_moe(const ConfigReader& reader) {
  FM_ASSIGN_OR_RETURN(ModelSpec spec, read_model_fields(reader, /*rms_norm_eps_default=*/1e-5));
  FM_ASSIGN_OR_RETURN(AttentionSpec attention,
                      read_attention_fields(reader, {.rotary_fraction = 0.5}));
  FM_ASSIGN_OR_RETURN(attention.has_qkv_bias, reader.boolean_or("attention_bias", false));
  FM_ASSIGN_OR_RETURN(const bool has_norms, reader.boolean_or("use_qk_norm", false));
  if (has_norms) attention.qk_norm = QkNorm::kHeads;
  FM_ASSIGN_OR_RETURN(const RouterSpec router, read_grouped_router_fields(reader));
  FM_ASSIGN_OR_RETURN(const MoeSpec moe,
                      read_experts_beside_shared(reader, router, /*n_shared_default=*/1));
  FM_ASSIGN_OR_RETURN(const std::size_t layer_count, read_layer_count(reader));
  FM_ASSIGN_OR_RETURN(const std::vector<bool> has_experts,
                      read_layers_after_dense(reader, layer_count));
  FM_ASSIGN_OR_RETURN(spec.layers, make_layers(reader, attention, moe, has_experts));
  return spec;
}

}  // namespace

const ModelFamily kGlm4Moe = {
    .model_type = "glm4_moe",
    .tensors = TensorTable(kSharedExpertsTensors),
    .read_config = read_glm4_moe,
};

}  // namespace flashmoe
