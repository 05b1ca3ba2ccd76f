#ifndef FLASHMOE_EXPERTS_SPECULATION_CONTROLLER_H_
#define FLASHMOE_EXPERTS_SPECULATION_CONTROLLER_H_

#include <cstddef>
#include <span>
#include <vector>

#include "experts/expert_id.h"

namespace flashmoe {

/// What became of the guesses for one layer in one pass.
struct SpeculationOutcome {
  /// Of the guesses that were not in memory, the likeliest first: the place of each among all
  /// guesses, and whether the router wanted it (not 0).
  std::span<const std::size_t> ranks;
  std::span<const unsigned char> wanted;  // size ranks.size()
  std::size_t read_count = 0;             // so many of them, the first ones, were read
  std::size_t miss_count = 0;             // experts that had to be read when the router had spoken
  double guess_seconds = 0;               // what guessing took
  double ahead_seconds = 0;    // from the guess to the router's word: the disk had nothing else
  double compute_seconds = 0;  // of the layer's experts, behind which reads hide
};

/// Decides which guessed experts are worth reading before the router has spoken, from what it
/// measures: how often guesses of each rank come true in each layer, how long reads take and how
/// much time there is for them.
///
/// With `t` the time of a read and `a` the time ahead, the share f = a / t - j, at most 1, of the
/// j-th read is done when the router speaks. Wanted, it saves f t; not wanted, it costs the rest
/// while others wait, (1 - f) t, and an expert has left for it, which may have to come back: e t.
/// So it pays if p f > (1 - p) (1 - f + e): where there is time for the whole read it need not be
/// likely, and no read is begun that could not run on idle bandwidth at all.
///
/// A layer whose passes gained less than its guesses took pauses, longer each time, and then tries
/// again. Pure bookkeeping: no I/O, clock or threads. Not thread-safe.
class SpeculationController {
 public:
  /// Guesses have ranks 0 to rank_count - 1.
  SpeculationController(std::size_t layer_count, std::size_t rank_count);

  /// Whether to guess for `layer` in this pass. Call once a pass.
  bool should_guess(LayerId layer);

  /// How many guesses that are not in memory to read, from the first: `ranks` as in
  /// SpeculationOutcome.
  std::size_t choose(LayerId layer, std::span<const std::size_t> ranks) const;

  /// A pass in which should_guess(layer) was true has ended.
  void learn(LayerId layer, const SpeculationOutcome& outcome);

  /// The disk took `seconds` for `count` experts asked for together.
  void on_reads_timed(std::size_t count, double seconds);

 private:
  struct Precision {
    double wanted = 1;  // one of two, before anything is known
    double seen = 2;
  };
  struct Layer {
    std::vector<Precision> precisions;  // by rank
    double ahead_seconds = 0;           // 0: not known yet
    double gain_seconds = 0;            // of this trial so far, less what guesses took
    std::size_t trial_passes = 0;
    std::size_t pause_length = 0;  // of the last pause
    std::size_t pause_left = 0;
  };

  double gain(const SpeculationOutcome& outcome) const;

  std::vector<Layer> layers_;
  double read_seconds_ = 0;  // of one expert; 0: not known yet
};

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_SPECULATION_CONTROLLER_H_
