// OLMoE (1B-7B): norms of whole rows of queries and keys, weights of experts that do not add up to
// 1. Source: transformers models/olmoe/modeling_olmoe.py.
#include "model/families/fields.h"
#include "model/model_family.h"

namespace flashmoe {
namespace {

Result<ModelSpec> read_olmoe(const ConfigReader& reader) {
  if (reader.has("clip_qkv")) {
    return reader.reject(StatusCode::kUnsupported, "clip_qkv", "clipping is not supported");
  }
  FM_ASSIGN_OR_RETURN(ModelSpec spec, read_model_fields(reader, /*rms_norm_eps_default=*/1e-5));
  FM_ASSIGN_OR_RETURN(AttentionSpec attention,
                      read_attention_fields(reader, {.kv_heads_may_be_absent = true}));
  attention.qk_norm = QkNorm::kWhole;
  FM_RETURN_IF_ERROR(read_attention_bias(reader, attention));
  MoeSpec moe;
  FM_ASSIGN_OR_RETURN(moe.router, read_router_fields(reader, /*norm_topk_prob_default=*/false));
  FM_ASSIGN_OR_RETURN(moe.intermediate_size, reader.uint("intermediate_size", 1, kWidthMax));
  FM_ASSIGN_OR_RETURN(const std::size_t layer_count, read_layer_count(reader));
  spec.layers.assign(layer_count, {attention, moe});
  return spec;
}

}  // namespace

const ModelFamily kOlmoe = {
    .model_type = "olmoe",
    .read_config = read_olmoe,
};

}  // namespace flashmoe
