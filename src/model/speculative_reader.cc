#include "model/speculative_reader.h"

#include <algorithm>
#include <iterator>

namespace flashmoe {
namespace {

// Rows of a step that are ranked as the router ranks them; more are a chunk.
constexpr std::size_t kStepRowsMax = 8;

// Rows of a chunk that the router is asked about: enough to find nearly all experts that the chunk
// will use, and nothing beside what the chunk computes.
constexpr std::size_t kSampleRowsMax = 256;

// Rows of the sample that agree, from which a guess has rank 0, 1, 2; one row alone: 3.
constexpr std::size_t kVotesMin[] = {8, 4, 2};
constexpr std::size_t kVoteRankCount = std::size(kVotesMin) + 1;

/// Evenly spread rows of `x`, at most kSampleRowsMax.
MatrixView<const float> sample(MatrixView<const float> x) {
  const std::size_t every = (x.rows + kSampleRowsMax - 1) / kSampleRowsMax;
  return {x.data, (x.rows + every - 1) / every, x.cols, x.stride * every};
}

}  // namespace

SpeculativeReader::SpeculativeReader(const Network& network, ExpertCache& experts)
    : network_(network),
      spec_(network.spec().moe().router),
      experts_(experts),
      step_controller_(network.layers().size(), spec_.num_experts_per_tok),
      chunk_controller_(1, kVoteRankCount) {}

void SpeculativeReader::guess(Ops& ops, Workspace& workspace, LayerId layer,
                              MatrixView<const float> x) {
  const bool is_chunk = x.rows > kStepRowsMax;
  controller_ = is_chunk ? &chunk_controller_ : &step_controller_;
  controller_layer_ = is_chunk ? LayerId{0} : layer;
  guessed_ = controller_->should_guess(controller_layer_);
  if (!guessed_) return;
  watch_ = Stopwatch();
  if (is_chunk) {
    ask_router(ops, workspace, layer, sample(x));
    rank_by_votes(layer);
  } else {
    ask_router(ops, workspace, layer, x);
    rank_by_router(x.rows);
  }

  experts_.find_missing(layer, guesses_, missing_);
  missing_experts_.clear();
  missing_ranks_.clear();
  for (const std::size_t place : missing_) {
    missing_experts_.push_back(guesses_[place]);
    missing_ranks_.push_back(guess_ranks_[place]);
  }
  outcome_ = {.ranks = missing_ranks_};
  const std::size_t count = controller_->choose(controller_layer_, missing_ranks_);
  if (count > 0) {
    const Result<std::size_t> begun =
        experts_.speculate(layer, std::span(missing_experts_).first(count), guesses_);
    // What cannot be read now will be asked for by the layer itself, which then says why.
    outcome_.read_count = begun.ok() ? *begun : 0;
  }
  outcome_.guess_seconds = watch_.lap();
}

/// The picks of the layer's router on x, as if it were what the mixer will leave, to ids_.
void SpeculativeReader::ask_router(Ops& ops, Workspace& workspace, LayerId layer,
                                   MatrixView<const float> x) {
  const Network::Layer& of = network_.layers()[layer.value];
  const Router& router = *of.feed_forward->router();
  const MatrixView<float> normed = workspace.normed.slice(0, x.rows);
  const std::span<const float> own = router.input_norm();
  if (own.empty()) {
    Scratch scratch = workspace.scratch();
    of.feed_forward_connection->take(ops, scratch, x, normed, workspace.carried.slice(0, x.rows));
  } else {
    ops.rms_norm(x, own.data(), network_.spec().rms_norm_eps, normed);
  }
  const MatrixView<float> logits = workspace.scratch().matrix(x.rows, spec_.num_experts);
  ops.prepare(normed, workspace.normed_activations);
  const LinearTask task = router.logits_task(workspace.normed_activations, logits);
  ops.linear({&task, 1});
  router.add_bias(ops, logits);
  ids_.resize(x.rows * spec_.num_experts_per_tok);
  router_weights_.resize(ids_.size());
  router.choose(ops, logits, ids_, router_weights_);
}

/// The rows' picks, all first ones before all second ones, each expert once.
void SpeculativeReader::rank_by_router(std::size_t rows) {
  const std::size_t k = spec_.num_experts_per_tok;
  votes_.assign(spec_.num_experts, 0);
  guesses_.clear();
  guess_ranks_.clear();
  for (std::size_t rank = 0; rank < k; ++rank) {
    for (std::size_t r = 0; r < rows; ++r) {
      const std::uint16_t id = ids_[r * k + rank];
      if (votes_[id]++ > 0) continue;
      guesses_.push_back(ExpertId{id});
      guess_ranks_.push_back(rank);
    }
  }
}

/// The rows' picks, those of most rows first. Of more than there are slots for at once, those that
/// the layer will ask for first: it takes them by id, half the slots at a time (MoeBlock).
void SpeculativeReader::rank_by_votes(LayerId layer) {
  votes_.assign(spec_.num_experts, 0);
  for (const std::uint16_t id : ids_) ++votes_[id];
  guesses_.clear();
  for (std::size_t id = 0; id < votes_.size(); ++id) {
    if (votes_[id] > 0) guesses_.push_back(ExpertId{static_cast<std::uint16_t>(id)});
  }
  const std::size_t slots = experts_.slot_limit(layer);
  if (guesses_.size() > slots) guesses_.resize(slots / 2);
  const auto rank_of = [this](ExpertId id) {
    const auto* const least = std::ranges::find_if(
        kVotesMin, [votes = votes_[id.value]](std::size_t min) { return votes >= min; });
    return static_cast<std::size_t>(least - std::begin(kVotesMin));
  };
  std::ranges::stable_sort(guesses_, {}, rank_of);
  guess_ranks_.clear();
  for (const ExpertId id : guesses_) guess_ranks_.push_back(rank_of(id));
}

void SpeculativeReader::on_routed(std::span<const std::uint16_t> ids) {
  if (!guessed_) return;
  outcome_.ahead_seconds = watch_.lap();
  is_wanted_.assign(spec_.num_experts, 0);
  for (const std::uint16_t id : ids) is_wanted_[id] = 1;
  wanted_.clear();
  for (const ExpertId id : missing_experts_) wanted_.push_back(is_wanted_[id.value]);
  outcome_.wanted = wanted_;
  before_ = experts_.statistics();
}

void SpeculativeReader::end(const OverlapMeter& overlap) {
  if (!guessed_) return;
  guessed_ = false;
  const ExpertCacheStatistics now = experts_.statistics();
  if (controller_ == &chunk_controller_) {
    // Seldom does a thread wait for the last of a chunk's reads; there are so many that it makes
    // little difference when their end is noticed.
    controller_->on_reads_timed(now.read_count - before_.read_count,
                                now.reading_seconds - before_.reading_seconds);
  } else {
    controller_->on_reads_timed(now.timed_read_count - before_.timed_read_count,
                                now.timed_reading_seconds - before_.timed_reading_seconds);
  }
  outcome_.miss_count = now.miss_count - before_.miss_count;
  outcome_.compute_seconds = overlap.computing_seconds();
  controller_->learn(controller_layer_, outcome_);
}

}  // namespace flashmoe
