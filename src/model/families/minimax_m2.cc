// MiniMax-M2 (M2, M2.1, M2.5): norms of whole rows of queries and keys, half of each head rotates,
// sigmoid routing with a correction bias. Source: transformers
// models/minimax_m2/modeling_minimax_m2.py.
#include <string>
#include <vector>

#include "model/families/fields.h"
#include "model/families/tensor_names.h"
#include "model/model_family.h"

namespace flashmoe {
namespace {

/// Models of the same names that compute otherwise. Errors: kUnsupported.
Status refuse_relatives(const ConfigReader& reader) {
  FM_RETURN_IF_ERROR(refuse_window(reader));
  if (reader.has("attn_type_list")) {
    FM_ASSIGN_OR_RETURN(const std::vector<std::uint64_t> types,
                        reader.uint_list("attn_type_list", 0, 1));
    for (const std::uint64_t type : types) {
      if (type == 1) continue;
      return reader.reject(StatusCode::kUnsupported, "attn_type_list",
                           "layers with lightning attention (MiniMax-Text-01, M1) are not "
                           "supported");
    }
  }
  FM_ASSIGN_OR_RETURN(const std::string scores, reader.string_or("scoring_func", "sigmoid"));
  if (scores != "sigmoid") {
    return reader.reject(StatusCode::kUnsupported, "scoring_func", "only sigmoid is supported");
  }
  FM_ASSIGN_OR_RETURN(const std::size_t shared,
                      reader.uint_or("shared_intermediate_size", 0, 0, kWidthMax));
  if (shared == 0) return Status();
  return reader.reject(StatusCode::kUnsupported, "shared_intermediate_size",
                       "shared experts of this family are not supported");
}

Result<ModelSpec> read_minimax_m2(const ConfigReader& reader) {
  FM_RETURN_IF_ERROR(refuse_relatives(reader));
  FM_ASSIGN_OR_RETURN(ModelSpec spec, read_model_fields(reader));
  FM_ASSIGN_OR_RETURN(AttentionSpec attention, read_attention_fields(reader, {.rope_theta = 5e6}));
  FM_ASSIGN_OR_RETURN(
      attention.rope.rotary_dim,
      reader.uint_or("rotary_dim", attention.rope.rotary_dim, 2, attention.head_dim));
  if (attention.rope.rotary_dim % 2 != 0) {
    return contradiction(reader, "rotary_dim", "must be even");
  }
  FM_ASSIGN_OR_RETURN(const bool has_norms, reader.boolean_or("use_qk_norm", true));
  if (has_norms) attention.qk_norm = QkNorm::kWhole;
  MoeSpec moe;
  FM_ASSIGN_OR_RETURN(moe.router, read_sigmoid_router_fields(reader));
  FM_ASSIGN_OR_RETURN(moe.intermediate_size, reader.uint("intermediate_size", 1, kWidthMax));
  FM_ASSIGN_OR_RETURN(const std::size_t layer_count, read_layer_count(reader));
  spec.layers.assign(layer_count, {attention, moe});
  return spec;
}

}  // namespace

const ModelFamily kMinimaxM2 = {
    .model_type = "minimax_m2",
    .also_called = "minimax",  // by early MLX conversions
    .tensors = TensorTable(kBlockSparseMoeTensors),
    .read_config = read_minimax_m2,
};

}  // namespace flashmoe
