#include "experts/speculation_controller.h"

#include <algorithm>

#include "base/check.h"

namespace flashmoe {
namespace {

// Passes after which a layer's gains are weighed against its costs.
constexpr std::size_t kTrialPasses = 32;

// Passes that a layer then pauses if it lost, doubled each time it loses again.
constexpr std::size_t kPauseMin = 64;
constexpr std::size_t kPauseMax = 4096;

// What is left of an observation's weight after the next one.
constexpr double kPrecisionMemory = 63.0 / 64;
constexpr double kTimeMemory = 7.0 / 8;

void average(double& mean, double value) {
  mean = mean == 0 ? value : kTimeMemory * mean + (1 - kTimeMemory) * value;
}

}  // namespace

SpeculationController::SpeculationController(std::size_t layer_count, std::size_t rank_count)
    : layers_(layer_count) {
  for (Layer& layer : layers_) layer.precisions.resize(rank_count);
}

bool SpeculationController::should_guess(LayerId layer) {
  std::size_t& left = layers_[layer.value].pause_left;
  if (left == 0) return true;
  --left;
  return false;
}

std::size_t SpeculationController::choose(LayerId layer, std::span<const std::size_t> ranks) const {
  const Layer& l = layers_[layer.value];
  if (read_seconds_ == 0) return 0;
  std::size_t count = 0;
  for (const std::size_t rank : ranks) {
    const Precision& precision = l.precisions[rank];
    const double share = l.ahead_seconds / read_seconds_ - static_cast<double>(count);
    if (share <= 0 || precision.wanted / precision.seen + std::min(share, 1.0) <= 1) break;
    ++count;
  }
  return count;
}

/// How much longer the layer's experts would have taken without the reads.
double SpeculationController::gain(const SpeculationOutcome& outcome) const {
  std::size_t used = 0;
  for (std::size_t i = 0; i < outcome.read_count; ++i) used += outcome.wanted[i] != 0 ? 1 : 0;
  const double missed = static_cast<double>(outcome.miss_count) * read_seconds_;
  const double left =
      static_cast<double>(outcome.read_count) * read_seconds_ -
      std::min(outcome.ahead_seconds, static_cast<double>(outcome.read_count) * read_seconds_);
  const double without = missed + static_cast<double>(used) * read_seconds_;
  return std::max(outcome.compute_seconds, without) -
         std::max(outcome.compute_seconds, missed + left);
}

void SpeculationController::learn(LayerId layer, const SpeculationOutcome& outcome) {
  FM_CHECK(outcome.ranks.size() == outcome.wanted.size());
  FM_CHECK(outcome.read_count <= outcome.ranks.size());
  Layer& l = layers_[layer.value];
  for (std::size_t i = 0; i < outcome.ranks.size(); ++i) {
    Precision& precision = l.precisions[outcome.ranks[i]];
    precision.wanted = kPrecisionMemory * precision.wanted + (outcome.wanted[i] != 0 ? 1.0 : 0.0);
    precision.seen = kPrecisionMemory * precision.seen + 1;
  }
  average(l.ahead_seconds, outcome.ahead_seconds);
  l.gain_seconds += gain(outcome) - outcome.guess_seconds;
  if (++l.trial_passes < kTrialPasses) return;
  if (l.gain_seconds > 0) {
    l.pause_length = 0;
  } else {
    l.pause_length = std::clamp(2 * l.pause_length, kPauseMin, kPauseMax);
    l.pause_left = l.pause_length;
  }
  l.gain_seconds = 0;
  l.trial_passes = 0;
}

void SpeculationController::on_reads_timed(std::size_t count, double seconds) {
  if (count > 0) average(read_seconds_, seconds / static_cast<double>(count));
}

}  // namespace flashmoe
