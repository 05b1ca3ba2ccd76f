#include "model/families/fields.h"

#include <cmath>
#include <string>
#include <utility>

#include "base/portable_math.h"
#include "format/printable.h"

namespace flashmoe {

Status contradiction(const ConfigReader& reader, const FieldNames& field, std::string_view reason) {
  return reader.reject(StatusCode::kCorrupt, field, reason);
}

Result<ModelSpec> read_model_fields(const ConfigReader& reader, double rms_norm_eps_default,
                                    std::string_view activation) {
  ModelSpec spec;
  FM_ASSIGN_OR_RETURN(spec.model_type, reader.string("model_type"));
  FM_ASSIGN_OR_RETURN(spec.vocab_size, reader.uint("vocab_size", 1, 1u << 24));
  FM_ASSIGN_OR_RETURN(spec.hidden_size, reader.uint("hidden_size", 1, kWidthMax));
  FM_ASSIGN_OR_RETURN(spec.max_position_embeddings,
                      reader.uint_or("max_position_embeddings", 32768, 1, 1u << 30));
  FM_ASSIGN_OR_RETURN(const double eps,
                      reader.number_or("rms_norm_eps", rms_norm_eps_default, 0.0, 1.0));
  spec.rms_norm_eps = static_cast<float>(eps);
  FM_ASSIGN_OR_RETURN(spec.tie_word_embeddings, reader.boolean_or("tie_word_embeddings", false));
  const FieldNames act_field = {"hidden_act", "hidden_activation"};
  FM_ASSIGN_OR_RETURN(const std::string act, reader.string_or(act_field, std::string(activation)));
  if (act != activation) {
    return reader.reject(StatusCode::kUnsupported, act_field,
                         fmt::format("this family is supported with {} alone", activation));
  }
  return spec;
}

Result<std::size_t> read_layer_count(const ConfigReader& reader) {
  return reader.uint("num_hidden_layers", 1, 1024);
}

namespace {

/// How a rotary embedding is stretched; in rope_scaling (transformers 4) or rope_parameters.
class RopeScalingReader {
 public:
  RopeScalingReader(const ConfigReader& reader, ConfigReader object, std::size_t head_dim)
      : reader_(reader), object_(std::move(object)), head_dim_(head_dim) {}

  Status read(RopeSpec& rope) {
    FM_ASSIGN_OR_RETURN(const std::string type,
                        object_.string_or({"rope_type", "type"}, "default"));
    if (type == "default" || type == "mrope") return Status();
    if (type == "linear") return read_linear(rope);
    if (type == "dynamic") return read_dynamic();
    if (type == "longrope") return read_longrope(rope);
    if (type == "llama3") return read_llama3(rope);
    if (type == "yarn") return read_yarn(rope);
    if (type == "proportional") return read_proportional(rope);
    if (type == "divisors") {  // of GGUF's own
      FM_ASSIGN_OR_RETURN(rope.scaling, read_divisors("divisors", rope));
      return Status();
    }
    return object_.reject(
        StatusCode::kUnsupported, {"rope_type", "type"},
        "only default, linear, dynamic, llama3, yarn, longrope and proportional are "
        "supported; remove the scaling and keep within the original context");
  }

 private:
  Result<double> factor() const { return object_.number("factor", 1, 1e6); }

  /// Where both say it, the config's own comes before the scaling's.
  Result<double> original_max_position() const {
    constexpr const char* kField = "original_max_position_embeddings";
    if (!reader_.has(kField) && object_.has(kField)) return object_.number(kField, 1, 1e9);
    return reader_.number_or({kField, "max_position_embeddings"}, 8192, 1, 1e9);
  }

  Status read_linear(RopeSpec& rope) const {
    LinearRope scaling;
    FM_ASSIGN_OR_RETURN(scaling.factor, factor());
    rope.scaling = scaling;
    return Status();
  }

  /// Nothing is stretched within max_position_embeddings, and no context is longer.
  Status read_dynamic() const { return factor().status(); }

  /// LongRoPE (arXiv 2402.13753) within the original context; a longer one has other divisors for
  /// all of its positions.
  Status read_longrope(RopeSpec& rope) const {
    FM_ASSIGN_OR_RETURN(DividedRope within, read_divisors("short_factor", rope));
    FM_RETURN_IF_ERROR(read_divisors("long_factor", rope).status());
    FM_ASSIGN_OR_RETURN(const double original, original_max_position());
    FM_ASSIGN_OR_RETURN(const double context,
                        reader_.number_or("max_position_embeddings", original, 1, 1e9));
    FM_ASSIGN_OR_RETURN(const double stretch,
                        object_.number_or("factor", context / original, 1e-3, 1e6));
    const bool is_longer = stretch > 1 && original > 1;
    const double implied =
        is_longer ? std::sqrt(1 + portable::log(stretch) / portable::log(original)) : 1;
    FM_ASSIGN_OR_RETURN(const double given,
                        object_.number_or("attention_factor", implied, 1e-3, 1e3));
    rope.attention_factor = static_cast<float>(given);
    rope.position_count = static_cast<std::size_t>(original);
    rope.scaling = std::move(within);
    return Status();
  }

  /// Where a part of each head rotates, its frequencies go by the whole.
  Status read_proportional(RopeSpec& rope) const {
    ProportionalRope scaling{.rotated_pairs = rope.rotary_dim / 2};
    FM_ASSIGN_OR_RETURN(scaling.factor, object_.number_or("factor", 1, 1e-3, 1e6));
    rope.rotary_dim = head_dim_;
    rope.scaling = scaling;
    return Status();
  }

  Result<DividedRope> read_divisors(const char* field, const RopeSpec& rope) const {
    DividedRope scaling;
    FM_ASSIGN_OR_RETURN(scaling.divisors, object_.number_list(field, 1e-6, 1e38));
    if (scaling.divisors.size() != rope.rotary_dim / 2) {
      return contradiction(
          object_, field,
          fmt::format("must be {}, one for each rotary pair of a head", rope.rotary_dim / 2));
    }
    return scaling;
  }

  Status read_llama3(RopeSpec& rope) const {
    Llama3Rope scaling;
    FM_ASSIGN_OR_RETURN(scaling.factor, factor());
    FM_ASSIGN_OR_RETURN(scaling.low_freq_factor, object_.number("low_freq_factor", 1e-3, 1e3));
    FM_ASSIGN_OR_RETURN(scaling.high_freq_factor, object_.number("high_freq_factor", 1e-3, 1e3));
    FM_ASSIGN_OR_RETURN(scaling.original_max_position,
                        object_.number("original_max_position_embeddings", 1, 1e9));
    if (scaling.high_freq_factor <= scaling.low_freq_factor) {
      return contradiction(object_, "high_freq_factor", "must exceed low_freq_factor");
    }
    rope.scaling = scaling;
    return Status();
  }

  Status read_yarn(RopeSpec& rope) const {
    YarnRope scaling;
    FM_ASSIGN_OR_RETURN(scaling.factor, factor());
    FM_ASSIGN_OR_RETURN(scaling.beta_fast, object_.number_or("beta_fast", 32, 1e-3, 1e6));
    FM_ASSIGN_OR_RETURN(scaling.beta_slow, object_.number_or("beta_slow", 1, 1e-3, 1e6));
    FM_ASSIGN_OR_RETURN(scaling.truncate, object_.boolean_or("truncate", true));
    FM_ASSIGN_OR_RETURN(scaling.original_max_position, original_max_position());
    rope.scaling = scaling;

    const auto magnitude = [&](double scale) { return yarn_magnitude(scaling.factor, scale); };
    FM_ASSIGN_OR_RETURN(const double mscale, object_.number_or("mscale", 0, 0, 1e3));
    FM_ASSIGN_OR_RETURN(const double mscale_all, object_.number_or("mscale_all_dim", 0, 0, 1e3));
    const double implied =
        mscale > 0 && mscale_all > 0 ? magnitude(mscale) / magnitude(mscale_all) : magnitude(1);
    FM_ASSIGN_OR_RETURN(const double given,
                        object_.number_or("attention_factor", implied, 1e-3, 1e3));
    rope.attention_factor = static_cast<float>(given);
    return Status();
  }

  const ConfigReader& reader_;
  ConfigReader object_;
  std::size_t head_dim_;
};

/// Where a rotary embedding is described.
struct RopeFields {
  FieldNames theta;
  FieldNames fraction;
  FieldNames scaling;
};

Result<RopeSpec> read_rope_fields(const ConfigReader& reader, const RopeFields& fields,
                                  std::size_t head_dim, const HeadDefaults& defaults) {
  RopeSpec rope;
  FM_ASSIGN_OR_RETURN(rope.theta, reader.number_or(fields.theta, defaults.rope_theta, 1.01, 1e12));
  FM_ASSIGN_OR_RETURN(const double fraction,
                      reader.number_or(fields.fraction, defaults.rotary_fraction, 0.0, 1.0));
  rope.rotary_dim = static_cast<std::size_t>(static_cast<double>(head_dim) * fraction);
  const std::size_t rotating = rope.rotary_dim;
  if (reader.has(fields.scaling)) {
    FM_ASSIGN_OR_RETURN(ConfigReader object, reader.object(fields.scaling));
    FM_RETURN_IF_ERROR(RopeScalingReader(reader, std::move(object), head_dim).read(rope));
  }
  if (rotating < 2 || rope.rotary_dim % 2 != 0) {
    return contradiction(reader, fields.fraction,
                         "must give an even, positive number of rotary dimensions of head_dim");
  }
  return rope;
}

}  // namespace

Result<RopeSpec> read_rope(const ConfigReader& reader, std::size_t head_dim,
                           const HeadDefaults& defaults) {
  for (const char* kind : {"rope_parameters.full_attention", "rope_parameters.sliding_attention"}) {
    if (!reader.has(kind)) continue;
    return reader.reject(StatusCode::kUnsupported, kind,
                         "this family is supported with one rotary embedding for all layers");
  }
  return read_rope_fields(
      reader,
      {.theta = {"rope_theta", "rope_parameters.rope_theta"},
       .fraction = {"partial_rotary_factor", "rope_parameters.partial_rotary_factor"},
       .scaling = {"rope_parameters", "rope_scaling"}},
      head_dim, defaults);
}

Result<RopeSpec> read_rope_of(std::string_view layer_type, const ConfigReader& reader,
                              std::size_t head_dim, const HeadDefaults& defaults) {
  const std::string object = fmt::format("rope_parameters.{}", layer_type);
  FM_RETURN_IF_ERROR(reader.object(std::string_view(object)).status());
  const std::string theta = object + ".rope_theta";
  const std::string fraction = object + ".partial_rotary_factor";
  return read_rope_fields(reader,
                          {.theta = std::string_view(theta),
                           .fraction = std::string_view(fraction),
                           .scaling = std::string_view(object)},
                          head_dim, defaults);
}

Result<AttentionSpec> read_heads(const ConfigReader& reader, const HeadDefaults& defaults) {
  AttentionSpec attention;
  FM_ASSIGN_OR_RETURN(attention.num_heads, reader.uint("num_attention_heads", 1, 1024));
  attention.num_kv_heads = attention.num_heads;
  if (!defaults.kv_heads_may_be_absent || reader.has("num_key_value_heads")) {
    FM_ASSIGN_OR_RETURN(attention.num_kv_heads, reader.uint("num_key_value_heads", 1, 1024));
  }
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
  FM_ASSIGN_OR_RETURN(attention.head_dim, reader.uint_or("head_dim", head_dim, 2, kHeadDimMax));
  if (attention.head_dim > kHeadDimMax || attention.query_size() > kWidthMax) {
    return contradiction(reader, "num_attention_heads", "gives heads that are too wide");
  }
  return attention;
}

Result<AttentionSpec> read_attention_fields(const ConfigReader& reader,
                                            const HeadDefaults& defaults) {
  FM_ASSIGN_OR_RETURN(AttentionSpec attention, read_heads(reader, defaults));
  FM_ASSIGN_OR_RETURN(attention.rope, read_rope(reader, attention.head_dim, defaults));
  return attention;
}

Status read_attention_bias(const ConfigReader& reader, AttentionSpec& attention, bool fallback) {
  FM_ASSIGN_OR_RETURN(attention.has_qkv_bias, reader.boolean_or("attention_bias", fallback));
  attention.has_output_bias = attention.has_qkv_bias;
  return Status();
}

Result<std::vector<std::string>> read_layer_words(const ConfigReader& reader,
                                                  const FieldNames& field,
                                                  std::size_t layer_count) {
  FM_ASSIGN_OR_RETURN(std::vector<std::string> words, reader.string_list(field));
  if (words.size() == layer_count) return words;
  return contradiction(reader, field, "must list num_hidden_layers entries");
}

Result<std::vector<bool>> read_sliding_layers(const ConfigReader& reader, std::size_t layer_count) {
  FM_ASSIGN_OR_RETURN(const std::vector<std::string> types,
                      read_layer_words(reader, "layer_types", layer_count));
  std::vector<bool> is_sliding(layer_count);
  for (std::size_t i = 0; i < layer_count; ++i) {
    is_sliding[i] = types[i] == "sliding_attention";
    if (!is_sliding[i] && types[i] != "full_attention") {
      return contradiction(reader, "layer_types",
                           fmt::format("has '{}'; expected sliding_attention or full_attention",
                                       printable(types[i])));
    }
  }
  return is_sliding;
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
  const FieldNames chosen = {"num_experts_per_tok", "top_k_experts"};
  FM_ASSIGN_OR_RETURN(router.num_experts_per_tok, reader.uint(chosen, 1, 65535));
  FM_ASSIGN_OR_RETURN(router.norm_topk_prob,
                      reader.boolean_or("norm_topk_prob", norm_topk_prob_default));
  if (router.num_experts_per_tok > router.num_experts) {
    return contradiction(reader, chosen, "must not exceed num_experts");
  }
  return router;
}

Result<float> read_scaling_factor(const ConfigReader& reader) {
  FM_ASSIGN_OR_RETURN(const double scale,
                      reader.number_or("routed_scaling_factor", 1.0, 1e-3, 1e3));
  return static_cast<float>(scale);
}

namespace {

/// How many experts routers with sigmoid scores or groups may have.
Status check_expert_count(const ConfigReader& reader, const RouterSpec& router) {
  if (router.num_experts <= RouteRule::kExpertsMax) return Status();
  return contradiction(reader, {"num_experts", "num_local_experts", "n_routed_experts"},
                       "is more than a router with sigmoid scores or groups may have");
}

}  // namespace

Status read_groups(const ConfigReader& reader, RouterSpec& router) {
  FM_ASSIGN_OR_RETURN(router.n_group, reader.uint_or("n_group", 1, 1, RouteRule::kGroupsMax));
  FM_ASSIGN_OR_RETURN(router.topk_group, reader.uint_or("topk_group", 1, 1, router.n_group));
  if (router.num_experts % router.n_group != 0) {
    return contradiction(reader, "n_group", "must divide the number of experts");
  }
  if (router.num_experts / router.n_group * router.topk_group < router.num_experts_per_tok) {
    return contradiction(reader, "topk_group", "must leave num_experts_per_tok experts to choose");
  }
  return router.n_group > 1 ? check_expert_count(reader, router) : Status();
}

double yarn_magnitude(double factor, double scale) {
  return factor <= 1 ? 1.0 : 0.1 * scale * portable::log(factor) + 1.0;
}

Result<RouterSpec> read_sigmoid_router_fields(const ConfigReader& reader) {
  FM_ASSIGN_OR_RETURN(RouterSpec router,
                      read_router_fields(reader, /*norm_topk_prob_default=*/true));
  router.score = RouteRule::Score::kSigmoid;
  router.has_correction_bias = true;
  FM_RETURN_IF_ERROR(check_expert_count(reader, router));
  return router;
}

Result<RouterSpec> read_grouped_router_fields(const ConfigReader& reader) {
  FM_ASSIGN_OR_RETURN(RouterSpec router, read_sigmoid_router_fields(reader));
  router.groups_by_best_two = true;
  FM_ASSIGN_OR_RETURN(router.routed_scaling_factor, read_scaling_factor(reader));
  FM_RETURN_IF_ERROR(read_groups(reader, router));
  return router;
}

Result<std::vector<bool>> read_layers_after_dense(const ConfigReader& reader,
                                                  std::size_t layer_count) {
  std::vector<bool> has_experts(layer_count, true);
  if (reader.has("mlp_layer_types")) {
    FM_ASSIGN_OR_RETURN(const std::vector<std::string> types,
                        read_layer_words(reader, "mlp_layer_types", layer_count));
    for (std::size_t i = 0; i < layer_count; ++i) {
      has_experts[i] = types[i] == "sparse";
      if (!has_experts[i] && types[i] != "dense") {
        return contradiction(reader, "mlp_layer_types", "has a type other than dense and sparse");
      }
    }
    return has_experts;
  }
  FM_ASSIGN_OR_RETURN(const std::size_t dense,
                      reader.uint_or("first_k_dense_replace", 1, 0, layer_count));
  for (std::size_t i = 0; i < dense; ++i) has_experts[i] = false;
  return has_experts;
}

Result<MoeSpec> read_experts_beside_shared(const ConfigReader& reader, const RouterSpec& router,
                                           std::size_t n_shared_default) {
  MoeSpec moe{.router = router};
  FM_ASSIGN_OR_RETURN(moe.intermediate_size, reader.uint("moe_intermediate_size", 1, kWidthMax));
  FM_ASSIGN_OR_RETURN(const std::size_t shared,
                      reader.uint_or("n_shared_experts", n_shared_default, 0, 64));
  moe.shared_intermediate_size = shared * moe.intermediate_size;
  return moe;
}

Result<std::size_t> read_window(const ConfigReader& reader) {
  return reader.uint_or("sliding_window", 0, 1, 1u << 30);
}

Status refuse_window(const ConfigReader& reader) {
  FM_ASSIGN_OR_RETURN(const bool is_used,
                      reader.boolean_or("use_sliding_window", reader.has("sliding_window")));
  if (!is_used || !reader.has("sliding_window")) return Status();
  return reader.reject(StatusCode::kUnsupported, "sliding_window",
                       "this family is supported without a sliding window");
}

Result<DenseMlpSpec> read_dense_mlp(const ConfigReader& reader) {
  if (!reader.has("intermediate_size")) {
    return contradiction(reader, "intermediate_size", "is needed for the layers without experts");
  }
  FM_ASSIGN_OR_RETURN(const std::size_t size, reader.uint("intermediate_size", 1, kWidthMax));
  return DenseMlpSpec{size};
}

Result<std::vector<LayerSpec>> make_layers(const ConfigReader& reader,
                                           const decltype(LayerSpec::mixer)& mixer,
                                           const MoeSpec& moe,
                                           const std::vector<bool>& has_experts) {
  std::vector<LayerSpec> layers(has_experts.size(), LayerSpec{mixer, moe});
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (has_experts[i]) continue;
    FM_ASSIGN_OR_RETURN(layers[i].feed_forward, read_dense_mlp(reader));
  }
  return layers;
}

}  // namespace flashmoe
