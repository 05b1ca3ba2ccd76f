// Mixtral (8x7B, 8x22B): plain attention, few wide experts. Source: transformers
// models/mixtral/modeling_mixtral.py.
#include "model/families/fields.h"
#include "model/families/tensor_names.h"
#include "model/model_family.h"

namespace flashmoe {
namespace {

Result<ModelSpec> read_mixtral(const ConfigReader& reader) {
  FM_ASSIGN_OR_RETURN(ModelSpec spec, read_model_fields(reader, /*rms_norm_eps_default=*/1e-5));
  FM_ASSIGN_OR_RETURN(AttentionSpec attention, read_attention_fields(reader, {.rope_theta = 1e6}));
  FM_ASSIGN_OR_RETURN(attention.window, read_window(reader));
  MoeSpec moe;
  // Softmax over the chosen experts' logits, which is what the others' normalised weights are.
  FM_ASSIGN_OR_RETURN(moe.router, read_router_fields(reader, /*norm_topk_prob_default=*/true));
  FM_ASSIGN_OR_RETURN(moe.intermediate_size, reader.uint("intermediate_size", 1, kWidthMax));
  FM_ASSIGN_OR_RETURN(const std::size_t layer_count, read_layer_count(reader));
  spec.layers.assign(layer_count, {attention, moe});
  return spec;
}

}  // namespace

const ModelFamily kMixtral = {
    .model_type = "mixtral",
    .tensors = TensorTable(kBlockSparseMoeTensors),
    .read_config = read_mixtral,
};

}  // namespace flashmoe
