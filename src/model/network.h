#ifndef FLASHMOE_MODEL_NETWORK_H_
#define FLASHMOE_MODEL_NETWORK_H_

#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "kernels/ops.h"
#include "model/expert_layout.h"
#include "model/layers/connection.h"
#include "model/layers/feed_forward.h"
#include "model/layers/hyper_connection.h"
#include "model/layers/mixer.h"
#include "model/layers/moe_block.h"
#include "model/layers/ngram_embedding.h"
#include "model/layers/norm_connection.h"
#include "model/model_spec.h"
#include "model/scratch.h"
#include "model/state/state_layout.h"
#include "model/weight_source.h"
#include "tensor/weight_view.h"

namespace flashmoe {

/// A model's blocks as its specification lists them, with their dense weights: what they need is
/// known from the start, the weights once a WeightSource has loaded what declare() asked for. Model
/// computes with it. Not movable: blocks and sources refer to it.
class Network {
 public:
  struct Layer {
    std::unique_ptr<NgramEmbedding> embedding;  // null: none
    std::unique_ptr<Connection> mixer_connection;
    std::unique_ptr<Mixer> mixer;
    std::unique_ptr<Connection> feed_forward_connection;
    std::unique_ptr<FeedForward> feed_forward;
    std::vector<float> scale;  // one number, or empty
  };

  /// `precision`: of what attention remembers of positions.
  explicit Network(ModelSpec spec, KvPrecision precision = KvPrecision::kF32);
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  /// Declares every tensor to `source`; call it once for the source that loads them. Errors: those
  /// of the source.
  Status declare(const TensorTable& table, WeightSource& source);

  /// After loading: tied embeddings are the head, and blocks make what they need of their weights.
  /// Errors: kCorrupt for weights that contradict one another.
  Status finish();
  /// Bytes of that, once declared.
  std::uint64_t derived_bytes() const;

  /// What the segments of each layer's routed experts mean, by layer; unused for dense ones.
  void set_expert_layouts(std::span<const ExpertLayout> layouts);

  const ModelSpec& spec() const { return spec_; }
  const StateLayout& state_layout() const { return state_layout_; }
  KvPrecision kv_precision() const { return kv_precision_; }
  /// The most that a connection carries of a row (Connection::carried_size).
  std::size_t carried_size() const;
  /// What the widest block's buffers take in steps of up to `rows` rows.
  ScratchSize scratch_size(std::size_t rows) const;
  /// The rotary embeddings that blocks refer to, each once.
  std::span<const RopeSpec> ropes() const { return ropes_; }

  std::span<Layer> layers() { return layers_; }
  std::span<const Layer> layers() const { return layers_; }
  const WeightView& embed_tokens() const { return embed_tokens_; }  // [vocab, hidden]
  const WeightView& lm_head() const { return lm_head_; }            // [vocab, hidden]
  /// What lm_head gets of the residual stream.
  const Connection& final_connection() const { return *final_connection_; }

 private:
  std::unique_ptr<Connection> make_connection(const NormConnection::Tensors& norm,
                                              const HyperConnection::Tensors& hyper) const;
  std::unique_ptr<Mixer> make_mixer(std::size_t layer);
  std::unique_ptr<FeedForward> make_feed_forward(std::size_t layer);
  std::size_t rope_index(const RopeSpec& rope);

  const ModelSpec spec_;
  const KvPrecision kv_precision_;
  std::vector<RopeSpec> ropes_;
  std::vector<AttentionRow> attention_rows_;
  std::vector<std::uint32_t> row_indices_;
  MoeBooks moe_books_;
  std::vector<Layer> layers_;
  StateLayout state_layout_;
  WeightView embed_tokens_;
  WeightView lm_head_;
  std::unique_ptr<Connection> final_connection_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_NETWORK_H_
