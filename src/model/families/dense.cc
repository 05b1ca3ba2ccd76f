// Dense models, as the degenerate case without experts: Llama (and SmolLM2, Mistral saved as such),
// Qwen3. Sources: transformers models/llama/modeling_llama.py, models/qwen3/modeling_qwen3.py.
#include "model/families/fields.h"
#include "model/model_family.h"

namespace flashmoe {
namespace {

Result<ModelSpec> read_llama(const ConfigReader& reader) {
  FM_ASSIGN_OR_RETURN(const bool has_mlp_bias, reader.boolean_or("mlp_bias", false));
  if (has_mlp_bias) {
    return reader.reject(StatusCode::kUnsupported, "mlp_bias", "biases of MLPs are not supported");
  }
  FM_ASSIGN_OR_RETURN(ModelSpec spec, read_model_fields(reader));
  FM_ASSIGN_OR_RETURN(AttentionSpec attention,
                      read_attention_fields(reader, {.kv_heads_may_be_absent = true}));
  FM_RETURN_IF_ERROR(read_attention_bias(reader, attention));
  FM_ASSIGN_OR_RETURN(const DenseMlpSpec mlp, read_dense_mlp(reader));
  FM_ASSIGN_OR_RETURN(const std::size_t layer_count, read_layer_count(reader));
  spec.layers.assign(layer_count, {attention, mlp});
  return spec;
}

Result<ModelSpec> read_qwen3(const ConfigReader& reader) {
  FM_RETURN_IF_ERROR(refuse_window(reader));
  FM_ASSIGN_OR_RETURN(ModelSpec spec, read_llama(reader));
  for (LayerSpec& layer : spec.layers) {
    std::get<AttentionSpec>(layer.mixer).qk_norm = QkNorm::kHeads;
  }
  return spec;
}

}  // namespace

const ModelFamily kLlama = {.model_type = "llama", .read_config = read_llama};
const ModelFamily kQwen3 = {.model_type = "qwen3", .read_config = read_qwen3};

}  // namespace flashmoe
