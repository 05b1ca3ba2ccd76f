#ifndef FLASHMOE_MODEL_MODEL_SPEC_H_
#define FLASHMOE_MODEL_MODEL_SPEC_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "kernels/ops.h"
#include "model/ngram_hash.h"
#include "model/rope.h"

namespace flashmoe {

/// What queries and keys are normed by, before they rotate.
enum class QkNorm : std::uint8_t {
  kNone,
  kHeads,  // each head on its own, with one weight for all: [head_dim]
  kWhole,  // all heads of a row together, with a weight for each element
};

/// The search for the positions that attention looks at (layers/indexer.h).
struct IndexerSpec {
  std::size_t num_heads = 0;
  std::size_t head_dim = 0;        // at least the attention's rotary_dim
  std::size_t compress_ratio = 0;  // positions of a run, which has one key; divides kKvBlock
  std::size_t budget = 0;          // positions of whole runs that are kept; a multiple of that

  std::size_t runs_kept() const { return budget / compress_ratio; }

  friend bool operator==(const IndexerSpec&, const IndexerSpec&) = default;
};

/// Grouped-query attention with a KV cache (layers/attention.h).
struct AttentionSpec {
  std::size_t num_heads = 0;
  std::size_t num_kv_heads = 0;
  std::size_t head_dim = 0;
  RopeSpec rope;
  bool has_output_gate = false;  // q_proj has a gate beside each head's query; not with kWhole
  QkNorm qk_norm = QkNorm::kNone;
  bool has_qkv_bias = false;     // q_proj, k_proj and v_proj add one
  bool has_output_bias = false;  // o_proj adds one
  bool has_value_norm = false;   // of each head, without a weight
  bool keys_are_values = false;  // no v_proj: values are k_proj's output, before norm and rotation
  bool has_sinks = false;        // each head has a score without a value
  std::size_t window = 0;        // positions it looks back to, its own included; 0: all
  float scale = 0;               // of the scores; 0: 1 / sqrt(head_dim)
  std::optional<IndexerSpec> indexer = std::nullopt;  // none: it looks at all; not with a window

  std::size_t query_size() const { return num_heads * head_dim; }
  std::size_t kv_size() const { return num_kv_heads * head_dim; }

  friend bool operator==(const AttentionSpec&, const AttentionSpec&) = default;
};

/// Multi-head latent attention (layers/latent_attention.h).
struct LatentAttentionSpec {
  std::size_t num_heads = 0;
  std::size_t q_lora_rank = 0;  // 0: queries come from one matrix
  std::size_t kv_lora_rank = 0;
  std::size_t qk_nope_head_dim = 0;
  std::size_t qk_rope_head_dim = 0;
  std::size_t v_head_dim = 0;
  RopeSpec rope;                    // of qk_rope_head_dim
  bool is_rope_interleaved = true;  // pairs (2i, 2i + 1), else (i, i + half)
  float scale = 0;                  // of the scores

  std::size_t qk_head_dim() const { return qk_nope_head_dim + qk_rope_head_dim; }
  /// What is kept of a position: the latent, then the rotated key.
  std::size_t latent_size() const { return kv_lora_rank + qk_rope_head_dim; }

  friend bool operator==(const LatentAttentionSpec&, const LatentAttentionSpec&) = default;
};

/// Linear attention with a recurrent state (layers/gated_delta_net.h).
struct DeltaNetSpec {
  std::size_t key_heads = 0;
  std::size_t value_heads = 0;
  std::size_t key_dim = 0;    // of one head
  std::size_t value_dim = 0;  // of one head
  std::size_t conv_kernel = 0;
  /// The projections come in two matrices, key head by key head, rather than in four.
  bool is_grouped_by_head = false;
  bool has_sigmoid_gate = false;  // of the output, else silu

  std::size_t heads_ratio() const { return value_heads / key_heads; }
  std::size_t keys_size() const { return key_heads * key_dim; }
  std::size_t values_size() const { return value_heads * value_dim; }
  std::size_t conv_channels() const { return 2 * keys_size() + values_size(); }
  std::size_t conv_state_size() const { return (conv_kernel - 1) * conv_channels(); }
  std::size_t state_size() const { return value_heads * key_dim * value_dim; }

  friend bool operator==(const DeltaNetSpec&, const DeltaNetSpec&) = default;
};

/// A gated MLP that every row passes (layers/dense_mlp.h).
struct DenseMlpSpec {
  std::size_t intermediate_size = 0;

  friend bool operator==(const DenseMlpSpec&, const DenseMlpSpec&) = default;
};

/// Which experts a row passes, and with what weights (layers/router.h).
struct RouterSpec {
  std::size_t num_experts = 0;
  std::size_t num_experts_per_tok = 0;
  bool norm_topk_prob = true;  // weights of the chosen add up to 1, before they are scaled
  RouteRule::Score score = RouteRule::Score::kSoftmax;
  bool has_correction_bias = false;  // added to sigmoid scores for the choice alone
  float routed_scaling_factor = 1;
  std::size_t n_group = 1;     // equal runs of experts
  std::size_t topk_group = 1;  // how many of them a row may choose from
  bool groups_by_best_two = false;
  bool has_bias = false;          // of logits
  bool has_input_norm = false;    // it norms the residual stream itself, in its own way
  bool has_expert_scale = false;  // of weights, for each expert

  friend bool operator==(const RouterSpec&, const RouterSpec&) = default;
};

/// What an expert makes of its gate g and the other half u (kernels/ops.h).
struct Glu {
  enum class Kind : std::uint8_t {
    kSwiglu,         // silu(g) u
    kGeglu,          // gelu(g) u
    kClampedSwiglu,  // gpt-oss' silu, as `clamp` says
  };
  Kind kind = Kind::kSwiglu;
  ClampedSwiglu clamp = {};

  friend bool operator==(const Glu&, const Glu&) = default;
};

/// Routed experts, and perhaps a shared one (layers/moe_block.h).
struct MoeSpec {
  RouterSpec router;
  std::size_t intermediate_size = 0;         // of a routed expert
  std::size_t shared_intermediate_size = 0;  // 0: no shared expert
  bool has_shared_gate = false;              // the shared expert's weight is a sigmoid, else 1
  Glu glu;                                   // of all experts
  bool has_expert_bias = false;              // the matrices of routed experts add one
  /// The routed experts norm the residual stream themselves, where the shared one has what the
  /// layer's norm gives; and what either gives is normed before they are added.
  bool has_branch_norms = false;

  friend bool operator==(const MoeSpec&, const MoeSpec&) = default;
};

/// A residual stream that is several, and how layers hang on it (layers/hyper_connection.h).
struct HyperConnectionSpec {
  static constexpr std::size_t kStreamsMax = 16;
  std::size_t streams = 0;
  std::size_t rank = 0;  // of the matrices that mix

  friend bool operator==(const HyperConnectionSpec&, const HyperConnectionSpec&) = default;
};

/// What a table of n-grams adds to the residual stream (layers/ngram_embedding.h).
struct NgramEmbeddingSpec {
  NgramSpec ngrams;
  std::size_t embed_dim = 0;    // of all heads together
  std::size_t table_parts = 0;  // tensors that the table is in
  ConvShape conv;

  std::size_t head_dim() const { return embed_dim / ngrams.heads(); }

  friend bool operator==(const NgramEmbeddingSpec&, const NgramEmbeddingSpec&) = default;
};

/// One layer: x += mixer(norm(x)), then x += feed_forward(norm(x)).
struct LayerSpec {
  std::variant<AttentionSpec, LatentAttentionSpec, DeltaNetSpec> mixer;
  std::variant<DenseMlpSpec, MoeSpec> feed_forward;
  bool has_output_norms = false;  // what mixer and feed-forward give is normed before it is added
  bool has_scale = false;         // x *= a number of the layer's, at its end
  std::optional<NgramEmbeddingSpec> embedding = std::nullopt;  // added before the mixer

  /// Null where the layer has no experts.
  const MoeSpec* moe() const { return std::get_if<MoeSpec>(&feed_forward); }

  friend bool operator==(const LayerSpec&, const LayerSpec&) = default;
};

/// What config.json says of a model, checked: every size is in range and consistent with the
/// others.
struct ModelSpec {
  std::string model_type;
  std::size_t vocab_size = 0;
  std::size_t hidden_size = 0;
  std::size_t max_position_embeddings = 0;
  float rms_norm_eps = 0;
  bool tie_word_embeddings = false;
  float embedding_scale = 1;
  float final_logit_softcapping = 0;  // logits become cap * tanh(logits / cap); 0: they stay
  /// None: one stream, which each half of a layer norms and adds to. With it no layer has output
  /// norms, and nothing routes by the stream itself.
  std::optional<HyperConnectionSpec> hyper_connection = std::nullopt;
  std::vector<LayerSpec> layers;

  std::size_t streams() const { return hyper_connection ? hyper_connection->streams : 1; }

  /// The experts of the model's first MoE layer; of none, a spec of zeros. Families have the same
  /// in all of their MoE layers.
  const MoeSpec& moe() const;
  std::size_t moe_layer_count() const;
  /// The first layer of that kind, or null.
  template <typename Mixer>
  const Mixer* first_mixer() const {
    for (const LayerSpec& layer : layers) {
      if (const auto* mixer = std::get_if<Mixer>(&layer.mixer)) return mixer;
    }
    return nullptr;
  }
  template <typename Mixer>
  std::size_t count() const {
    std::size_t count = 0;
    for (const LayerSpec& layer : layers) count += std::holds_alternative<Mixer>(layer.mixer);
    return count;
  }

  friend bool operator==(const ModelSpec&, const ModelSpec&) = default;
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_MODEL_SPEC_H_
