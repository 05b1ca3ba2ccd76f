#ifndef FLASHMOE_MODEL_SPECULATIVE_READER_H_
#define FLASHMOE_MODEL_SPECULATIVE_READER_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/stopwatch.h"
#include "experts/expert_cache.h"
#include "experts/speculation_controller.h"
#include "model/network.h"
#include "model/overlap_meter.h"
#include "model/workspace.h"

namespace flashmoe {

/// Begins to read a layer's experts while its mixer runs, when the disk has nothing else to do: its
/// router is asked for a guess on the residual stream as the layer before left it. Only what is in
/// memory depends on it; the layer computes with what its router says in its turn.
///
/// In steps of a few rows guesses are ranked as the router ranks them, and each layer learns on its
/// own. In larger ones, chunks of a prompt, a sample of the rows is asked, guesses are ranked by
/// how many of them agree, and what one layer teaches holds for the next.
///
/// Per layer and pass: guess(), on_routed(), end(); the last two also where nothing was guessed.
/// One thread at a time.
class SpeculativeReader {
 public:
  /// References must outlive the reader.
  SpeculativeReader(const Network& network, ExpertCache& experts);

  /// Guesses for `layer`, which must be a MoE layer, unless that does not pay. x: [rows, hidden],
  /// its input. Overwrites the workspace's normed, normed_activations and scratch memory.
  void guess(Ops& ops, Workspace& workspace, LayerId layer, MatrixView<const float> x);

  /// The router of the layer has spoken. ids: [rows, k].
  void on_routed(std::span<const std::uint16_t> ids);

  /// The layer's experts have been computed.
  void end(const OverlapMeter& overlap);

  /// The pass failed: nothing is learned from its last guess.
  void abandon() { guessed_ = false; }

 private:
  void ask_router(Ops& ops, Workspace& workspace, LayerId layer, MatrixView<const float> x);
  void rank_by_router(std::size_t rows);
  void rank_by_votes(LayerId layer);

  const Network& network_;
  const RouterSpec& spec_;  // of any MoE layer: they are alike
  ExpertCache& experts_;
  SpeculationController step_controller_;   // of few rows
  SpeculationController chunk_controller_;  // of many: one layer for all

  bool guessed_ = false;                         // there is a guess, whose outcome is not known yet
  SpeculationController* controller_ = nullptr;  // of the last guess, and its layer's name there
  LayerId controller_layer_;
  Stopwatch watch_;  // since the guess began, then since it ended
  SpeculationOutcome outcome_;
  ExpertCacheStatistics before_;  // the experts of the layer were asked for

  // Reused from pass to pass.
  std::vector<std::uint16_t> ids_;         // [rows, k], of the guess
  std::vector<float> router_weights_;      // [rows, k], of no use
  std::vector<std::size_t> votes_;         // [num_experts], rows that picked it
  std::vector<unsigned char> is_wanted_;   // [num_experts]
  std::vector<ExpertId> guesses_;          // distinct, the likeliest first
  std::vector<std::size_t> guess_ranks_;   // of guesses_: the best place in a row
  std::vector<std::size_t> missing_;       // places in guesses_
  std::vector<ExpertId> missing_experts_;  // of missing_, like the next two
  std::vector<std::size_t> missing_ranks_;
  std::vector<unsigned char> wanted_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_SPECULATIVE_READER_H_
