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

// Reads that a guess in vain brings about, as somebody left for it: 0.16 to 0.33 in simulations
// (speculation_simulation_test.cc).
constexpr double kEvictionCost = 0.25;

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
    const double p = l.precisions[rank].wanted / l.precisions[rank].seen;
    const double f = std::min(1.0, l.ahead_seconds / read_seconds_ - static_cast<double>(count));
    if (f <= 0 || p * f <= (1 - p) * (1 - f + kEvictionCost)) break;
    ++count;
  }
  return count;
}

/// How much longer the layer's experts would have taken without the reads.
double SpeculationController::gain(const SpeculationOutcome& outcome) const {
  std::size_t used = 0;
  for (std::size_t i = 0; i < outcome.read_count; ++i) used += outcome.wanted[i] != 0 ? 1 : 0;
  const auto reads = [this](std::size_t count) {
    return static_cast<double>(count) * read_seconds_;
  };
  const double left = std::max(0.0, reads(outcome.read_count) - outcome.ahead_seconds);
  const double with = reads(outcome.miss_count) + left;
  const double without = reads(outcome.miss_count + used);
  return std::max(outcome.compute_seconds, without) - std::max(outcome.compute_seconds, with) -
         kEvictionCost * reads(outcome.read_count - used);
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
