#include "model/families/fields.h"

#include <string>

namespace flashmoe {

Status contradiction(const ConfigReader& reader, const FieldNames& field, std::string_view reason) {
  return reader.reject(StatusCode::kCorrupt, field, reason);
}

Result<ModelSpec> read_model_fields(const ConfigReader& reader) {
  ModelSpec spec;
  FM_ASSIGN_OR_RETURN(spec.model_type, reader.string("model_type"));
  FM_ASSIGN_OR_RETURN(spec.vocab_size, reader.uint("vocab_size", 1, 1u << 24));
  FM_ASSIGN_OR_RETURN(spec.hidden_size, reader.uint("hidden_size", 1, kWidthMax));
  FM_ASSIGN_OR_RETURN(spec.max_position_embeddings,
                      reader.uint_or("max_position_embeddings", 32768, 1, 1u << 30));
  FM_ASSIGN_OR_RETURN(const double eps, reader.number_or("rms_norm_eps", 1e-6, 0.0, 1.0));
  spec.rms_norm_eps = static_cast<float>(eps);
  FM_ASSIGN_OR_RETURN(spec.tie_word_embeddings, reader.boolean_or("tie_word_embeddings", false));
  FM_ASSIGN_OR_RETURN(const std::string act, reader.string_or("hidden_act", "silu"));
  if (act != "silu") {
    return reader.reject(StatusCode::kUnsupported, "hidden_act", "only silu is supported");
  }
  return spec;
}

Result<std::size_t> read_layer_count(const ConfigReader& reader) {
  return reader.uint("num_hidden_layers", 1, 1024);
}

Result<AttentionSpec> read_attention_fields(const ConfigReader& reader,
                                            const HeadDefaults& defaults) {
  AttentionSpec attention;
  FM_ASSIGN_OR_RETURN(attention.num_heads, reader.uint("num_attention_heads", 1, 1024));
  FM_ASSIGN_OR_RETURN(attention.num_kv_heads,
                      reader.uint_or("num_key_value_heads", attention.num_heads, 1, 1024));
  if (attention.num_heads % attention.num_kv_heads != 0) {
    return contradiction(reader, "num_key_value_heads", "must divide num_attention_heads");
  }
  std::size_t head_dim = defaults.head_dim;
  if (head_dim == 0 && !reader.has("head_dim")) {
    FM_ASSIGN_OR_RETURN(const std::size_t hidden, reader.uint("hidden_size", 1, kWidthMax));
    head_dim = hidden / attention.num_heads;
    if (head_dim * attention.num_heads != hidden) {
      return contradiction(reader, "num_attention_heads",
                           "must divide hidden_size where there is no head_dim");
    }
  }
  FM_ASSIGN_OR_RETURN(attention.head_dim, reader.uint_or("head_dim", head_dim, 2, 4096));

  // transformers 4 has these at the top, transformers 5 inside rope_parameters.
  FM_ASSIGN_OR_RETURN(
      attention.rope.theta,
      reader.number_or({"rope_theta", "rope_parameters.rope_theta"}, 10000.0, 1.0, 1e12));
  FM_ASSIGN_OR_RETURN(
      const double rotary_fraction,
      reader.number_or({"partial_rotary_factor", "rope_parameters.partial_rotary_factor"},
                       defaults.rotary_fraction, 0.0, 1.0));
  const FieldNames rope_type = {"rope_scaling.rope_type", "rope_scaling.type",
                                "rope_parameters.rope_type", "rope_parameters.type"};
  FM_ASSIGN_OR_RETURN(const std::string type, reader.string_or(rope_type, "default"));
  if (type != "default") {
    return reader.reject(StatusCode::kUnsupported, rope_type,
                         "only the default rotary embedding is supported; remove rope_scaling and "
                         "keep within the original context");
  }
  attention.rope.rotary_dim =
      static_cast<std::size_t>(static_cast<double>(attention.head_dim) * rotary_fraction);
  if (attention.rope.rotary_dim == 0 || attention.rope.rotary_dim % 2 != 0) {
    return contradiction(reader, "partial_rotary_factor",
                         "must give an even, positive number of rotary dimensions of head_dim");
  }
  return attention;
}

Result<std::vector<bool>> read_sparse_layers(const ConfigReader& reader, std::size_t layer_count) {
  FM_ASSIGN_OR_RETURN(const std::size_t step, reader.uint_or("decoder_sparse_step", 1, 1, 1024));
  std::vector<bool> has_experts(layer_count);
  for (std::size_t i = 0; i < layer_count; ++i) has_experts[i] = (i + 1) % step == 0;
  if (reader.has("mlp_only_layers")) {
    FM_ASSIGN_OR_RETURN(const std::vector<std::uint64_t> dense,
                        reader.uint_list("mlp_only_layers", 0, layer_count - 1));
    for (const std::uint64_t layer : dense) has_experts[layer] = false;
  }
  return has_experts;
}

Result<RouterSpec> read_router_fields(const ConfigReader& reader, bool norm_topk_prob_default) {
  RouterSpec router;
  FM_ASSIGN_OR_RETURN(
      router.num_experts,
      reader.uint({"num_experts", "num_local_experts", "n_routed_experts"}, 1, 65535));
  FM_ASSIGN_OR_RETURN(router.num_experts_per_tok, reader.uint("num_experts_per_tok", 1, 65535));
  FM_ASSIGN_OR_RETURN(router.norm_topk_prob,
                      reader.boolean_or("norm_topk_prob", norm_topk_prob_default));
  if (router.num_experts_per_tok > router.num_experts) {
    return contradiction(reader, "num_experts_per_tok", "must not exceed num_experts");
  }
  return router;
}

Result<DenseMlpSpec> read_dense_mlp(const ConfigReader& reader) {
  if (!reader.has("intermediate_size")) {
    return contradiction(reader, "intermediate_size", "is needed for the layers without experts");
  }
  FM_ASSIGN_OR_RETURN(const std::size_t size, reader.uint("intermediate_size", 1, kWidthMax));
  return DenseMlpSpec{size};
}

}  // namespace flashmoe
