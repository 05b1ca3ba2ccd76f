#include "model/speculative_reader.h"

#include <algorithm>

#include "base/check.h"

namespace flashmoe {
SpeculativeReader::SpeculativeReader(const ModelConfig& config, const ModelWeights& weights,
                                     ExpertCache& experts)
    : config_(config),
      weights_(weights),
      experts_(experts),
      controller_(config.layers.size(), config.moe.num_experts_per_tok),
      is_listed_(config.moe.num_experts) {}

void SpeculativeReader::guess(Ops& ops, Workspace& workspace, LayerId layer,
                              MatrixView<const float> x) {
  FM_CHECK(x.rows <= kRowsMax);
  guessed_ = controller_.should_guess(layer);
  if (!guessed_) return;
  layer_ = layer;
  watch_ = Stopwatch();
  const LayerWeights& weights = weights_.layers[layer.value];
  const std::size_t k = config_.moe.num_experts_per_tok;
  const MatrixView<float> normed = workspace.normed.slice(0, x.rows);
  const MatrixView<float> logits = workspace.router_logits.slice(0, x.rows);
  ops.rms_norm(x, weights.post_attention_layernorm.data(), config_.rms_norm_eps, normed);
  ops.prepare(normed, workspace.normed_activations);
  const LinearTask task = {
      .weight = weights.router, .x = &workspace.normed_activations, .y = logits};
  ops.linear({&task, 1});
  ids_.resize(x.rows * k);
  router_weights_.resize(x.rows * k);
  ops.route_top_k(logits, k, config_.moe.norm_topk_prob, ids_, router_weights_);
  collect_guesses(x.rows);

  experts_.find_missing(layer, guesses_, missing_);
  missing_experts_.clear();
  missing_ranks_.clear();
  for (const std::size_t place : missing_) {
    missing_experts_.push_back(guesses_[place]);
    missing_ranks_.push_back(guess_ranks_[place]);
  }
  outcome_ = {.ranks = missing_ranks_};
  const std::size_t count = controller_.choose(layer, missing_ranks_);
  if (count > 0) {
    const Result<std::size_t> begun =
        experts_.speculate(layer, std::span(missing_experts_).first(count), guesses_);
    // What cannot be read now will be asked for by the layer itself, which then says why.
    outcome_.read_count = begun.ok() ? *begun : 0;
  }
  outcome_.guess_seconds = watch_.lap();
}

/// The rows' picks, all first ones before all second ones, each expert once.
void SpeculativeReader::collect_guesses(std::size_t rows) {
  const std::size_t k = config_.moe.num_experts_per_tok;
  guesses_.clear();
  guess_ranks_.clear();
  for (std::size_t rank = 0; rank < k; ++rank) {
    for (std::size_t r = 0; r < rows; ++r) {
      const std::uint16_t id = ids_[r * k + rank];
      if (is_listed_[id] != 0) continue;
      is_listed_[id] = 1;
      guesses_.push_back(ExpertId{id});
      guess_ranks_.push_back(rank);
    }
  }
  for (const ExpertId id : guesses_) is_listed_[id.value] = 0;
}

void SpeculativeReader::on_routed(std::span<const std::uint16_t> ids) {
  if (!guessed_) return;
  outcome_.ahead_seconds = watch_.lap();
  wanted_.clear();
  for (const ExpertId id : missing_experts_) {
    wanted_.push_back(std::ranges::find(ids, id.value) != ids.end() ? 1 : 0);
  }
  outcome_.wanted = wanted_;
  before_ = experts_.statistics();
}

void SpeculativeReader::end(const OverlapMeter& overlap) {
  if (!guessed_) return;
  guessed_ = false;
  const ExpertCacheStatistics now = experts_.statistics();
  controller_.on_reads_timed(now.timed_read_count - before_.timed_read_count,
                             now.timed_reading_seconds - before_.timed_reading_seconds);
  outcome_.miss_count = now.miss_count - before_.miss_count;
  outcome_.compute_seconds = overlap.computing_seconds();
  controller_.learn(layer_, outcome_);
}

}  // namespace flashmoe
