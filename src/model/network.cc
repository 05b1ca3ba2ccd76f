#include "model/network.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"
#include "model/layers/attention.h"
#include "model/layers/dense_mlp.h"
#include "model/layers/gated_delta_net.h"
#include "model/layers/latent_attention.h"

namespace flashmoe {

Network::Network(ModelSpec spec, KvPrecision precision)
    : spec_(std::move(spec)), kv_precision_(precision) {
  using enum TensorId;
  std::vector<StateNeeds> needs;
  for (std::size_t i = 0; i < spec_.layers.size(); ++i) {
    Layer& layer = layers_.emplace_back();
    const bool has_behind = spec_.layers[i].has_output_norms;
    const auto behind = [&](TensorId id) {
      return has_behind ? std::optional<TensorId>(id) : std::nullopt;
    };
    layer.mixer_connection = make_connection(
        {.before = kInputNorm, .behind = behind(kMixerOutNorm)}, {.norm = kMixerHyperNorm,
                                                                  .down = kMixerHyperDown,
                                                                  .up = kMixerHyperUp,
                                                                  .inject = kMixerHyperInject});
    layer.mixer = make_mixer(i);
    layer.feed_forward_connection =
        make_connection({.before = kFeedForwardNorm, .behind = behind(kFeedForwardOutNorm)},
                        {.norm = kFeedForwardHyperNorm,
                         .down = kFeedForwardHyperDown,
                         .up = kFeedForwardHyperUp,
                         .inject = kFeedForwardHyperInject});
    layer.feed_forward = make_feed_forward(i);
    needs.push_back(layer.mixer->state());
  }
  final_connection_ =
      make_connection({.before = kFinalNorm},
                      {.norm = kFinalHyperNorm, .down = kFinalHyperDown, .up = kFinalHyperUp});
  for (std::size_t i = 0; i < spec_.layers.size(); ++i) {
    if (!spec_.layers[i].embedding) continue;
    layers_[i].embedding =
        std::make_unique<NgramEmbedding>(*spec_.layers[i].embedding, spec_.streams(),
                                         spec_.hidden_size, spec_.rms_norm_eps, i, needs.size());
    needs.push_back(layers_[i].embedding->state());
  }
  state_layout_ = StateLayout(needs);
}

std::unique_ptr<Connection> Network::make_connection(const NormConnection::Tensors& norm,
                                                     const HyperConnection::Tensors& hyper) const {
  if (!spec_.hyper_connection) {
    return std::make_unique<NormConnection>(norm, spec_.hidden_size, spec_.rms_norm_eps);
  }
  return std::make_unique<HyperConnection>(hyper, *spec_.hyper_connection, spec_.hidden_size,
                                           spec_.rms_norm_eps);
}

std::unique_ptr<Mixer> Network::make_mixer(std::size_t layer) {
  struct Maker {
    std::unique_ptr<Mixer> operator()(const AttentionSpec& spec) const {
      return std::make_unique<Attention>(spec, network.kv_precision_, network.spec_.hidden_size,
                                         network.spec_.rms_norm_eps, layer,
                                         network.rope_index(spec.rope), network.attention_rows_);
    }
    std::unique_ptr<Mixer> operator()(const LatentAttentionSpec& spec) const {
      return std::make_unique<LatentAttention>(
          spec, network.kv_precision_, network.spec_.hidden_size, layer,
          network.rope_index(spec.rope), network.attention_rows_, network.row_indices_);
    }
    std::unique_ptr<Mixer> operator()(const DeltaNetSpec& spec) const {
      return std::make_unique<GatedDeltaNet>(spec, network.spec_.hidden_size,
                                             network.spec_.rms_norm_eps, layer);
    }
    Network& network;
    std::size_t layer;
  };
  return std::visit(Maker{*this, layer}, spec_.layers[layer].mixer);
}

std::unique_ptr<FeedForward> Network::make_feed_forward(std::size_t layer) {
  struct Maker {
    std::unique_ptr<FeedForward> operator()(const DenseMlpSpec& spec) const {
      return std::make_unique<DenseMlp>(spec, network.spec_.hidden_size);
    }
    std::unique_ptr<FeedForward> operator()(const MoeSpec& spec) const {
      return std::make_unique<MoeBlock>(spec, network.spec_.hidden_size, network.spec_.rms_norm_eps,
                                        LayerId{static_cast<std::uint32_t>(layer)},
                                        network.moe_books_);
    }
    Network& network;
    std::size_t layer;
  };
  return std::visit(Maker{*this, layer}, spec_.layers[layer].feed_forward);
}

std::size_t Network::rope_index(const RopeSpec& rope) {
  const auto at = std::ranges::find(ropes_, rope);
  if (at == ropes_.end()) {
    ropes_.push_back(rope);
    return ropes_.size() - 1;
  }
  return static_cast<std::size_t>(at - ropes_.begin());
}

Status Network::declare(const TensorTable& table, WeightSource& source) {
  const auto whole = [&](TensorId id) {
    return TensorRef{.id = id, .name = table.name(id), .stored = table.row(id).stored};
  };
  const std::size_t hidden = spec_.hidden_size;
  FM_RETURN_IF_ERROR(
      source.matrix(whole(TensorId::kEmbedTokens), {spec_.vocab_size, hidden}, &embed_tokens_));
  LayerTensors of_no_layer(table, 0, source);
  FM_RETURN_IF_ERROR(final_connection_->declare(of_no_layer));
  if (!spec_.tie_word_embeddings) {
    FM_RETURN_IF_ERROR(
        source.matrix(whole(TensorId::kLmHead), {spec_.vocab_size, hidden}, &lm_head_));
  }
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    Layer& layer = layers_[i];
    LayerTensors tensors(table, i, source);
    if (layer.embedding != nullptr) FM_RETURN_IF_ERROR(layer.embedding->declare(tensors));
    FM_RETURN_IF_ERROR(layer.mixer_connection->declare(tensors));
    FM_RETURN_IF_ERROR(layer.feed_forward_connection->declare(tensors));
    if (spec_.layers[i].has_scale) {
      FM_RETURN_IF_ERROR(tensors.vector(TensorId::kLayerScale, 1, &layer.scale));
    }
    FM_RETURN_IF_ERROR(layer.mixer->declare(tensors));
    FM_RETURN_IF_ERROR(layer.feed_forward->declare(tensors));
  }
  return Status();
}

Status Network::finish() {
  if (spec_.tie_word_embeddings) lm_head_ = embed_tokens_;
  for (Layer& layer : layers_) {
    layer.mixer->finish();
    if (layer.embedding != nullptr) FM_RETURN_IF_ERROR(layer.embedding->check_loaded());
  }
  return Status();
}

std::uint64_t Network::derived_bytes() const {
  std::uint64_t bytes = 0;
  for (const Layer& layer : layers_) bytes += layer.mixer->derived_bytes();
  return bytes;
}

void Network::set_expert_layouts(std::span<const ExpertLayout> layouts) {
  FM_CHECK(layouts.size() == layers_.size());
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    if (spec_.layers[i].moe() == nullptr) continue;
    static_cast<MoeBlock&>(*layers_[i].feed_forward).set_layout(layouts[i]);
  }
}

std::size_t Network::carried_size() const {
  std::size_t size = final_connection_->carried_size();
  for (const Layer& layer : layers_) {
    size = std::max({size, layer.mixer_connection->carried_size(),
                     layer.feed_forward_connection->carried_size()});
  }
  return size;
}

ScratchSize Network::scratch_size(std::size_t rows) const {
  ScratchSize size = final_connection_->scratch_size(rows);
  for (const Layer& layer : layers_) {
    if (layer.embedding != nullptr) size.cover(layer.embedding->scratch_size(rows));
    size.cover(layer.mixer_connection->scratch_size(rows));
    size.cover(layer.feed_forward_connection->scratch_size(rows));
    size.cover(layer.mixer->scratch_size(rows));
    size.cover(layer.feed_forward->scratch_size(rows));
  }
  return size;
}

}  // namespace flashmoe
