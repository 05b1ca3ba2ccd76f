#include "model/rope.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/portable_math.h"

namespace flashmoe {
namespace {

constexpr double kPi = 3.14159265358979323846;

double scaled(const LinearRope& scaling, double frequency) { return frequency / scaling.factor; }

double scaled(const Llama3Rope& scaling, double frequency) {
  const double wavelength = 2 * kPi / frequency;
  const double rotations = scaling.original_max_position / wavelength;
  if (rotations > scaling.high_freq_factor) return frequency;
  if (rotations < scaling.low_freq_factor) return frequency / scaling.factor;
  const double smooth =
      (rotations - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1 - smooth) * frequency / scaling.factor + smooth * frequency;
}

/// The pairs between which YaRN blends: those that rotate beta_fast and beta_slow times within the
/// original context.
struct YarnBounds {
  double low = 0;
  double high = 0;
};

YarnBounds yarn_bounds(const YarnRope& scaling, const RopeSpec& rope) {
  const auto dim = static_cast<double>(rope.rotary_dim);
  const auto pair_of = [&](double rotations) {
    return dim * portable::log(scaling.original_max_position / (rotations * 2 * kPi)) /
           (2 * portable::log(rope.theta));
  };
  YarnBounds bounds = {pair_of(scaling.beta_fast), pair_of(scaling.beta_slow)};
  if (scaling.truncate) bounds = {std::floor(bounds.low), std::ceil(bounds.high)};
  bounds.low = std::max(bounds.low, 0.0);
  bounds.high = std::min(bounds.high, dim - 1);
  if (bounds.low == bounds.high) bounds.high += 0.001;
  return bounds;
}

}  // namespace

void deinterleave_pairs(const float* from, std::size_t size, float* to) {
  FM_DCHECK(size <= kRotaryDimMax);
  std::array<float, kRotaryDimMax> sorted;
  for (std::size_t i = 0; i < size / 2; ++i) {
    sorted[i] = from[2 * i];
    sorted[size / 2 + i] = from[2 * i + 1];
  }
  std::memcpy(to, sorted.data(), size * sizeof(float));
}

std::vector<float> inverse_frequencies(const RopeSpec& rope) {
  std::vector<float> inv_freq(rope.rotary_dim / 2);
  const auto* const yarn = std::get_if<YarnRope>(&rope.scaling);
  const YarnBounds bounds = yarn != nullptr ? yarn_bounds(*yarn, rope) : YarnBounds();
  for (std::size_t j = 0; j < inv_freq.size(); ++j) {
    const double exponent = -2.0 * static_cast<double>(j) / static_cast<double>(rope.rotary_dim);
    double frequency = portable::pow(rope.theta, exponent);
    if (yarn != nullptr) {
      const double along = (static_cast<double>(j) - bounds.low) / (bounds.high - bounds.low);
      const double ramp = std::clamp(along, 0.0, 1.0);
      frequency = frequency * (1 - ramp) + frequency / yarn->factor * ramp;
    } else if (const auto* linear = std::get_if<LinearRope>(&rope.scaling)) {
      frequency = scaled(*linear, frequency);
    } else if (const auto* llama3 = std::get_if<Llama3Rope>(&rope.scaling)) {
      frequency = scaled(*llama3, frequency);
    } else if (const auto* part = std::get_if<ProportionalRope>(&rope.scaling)) {
      frequency = j < part->rotated_pairs ? frequency / part->factor : 0;
    } else if (const auto* divided = std::get_if<DividedRope>(&rope.scaling)) {
      frequency /= divided->divisors[j];
    }
    inv_freq[j] = static_cast<float>(frequency);
  }
  return inv_freq;
}

}  // namespace flashmoe
