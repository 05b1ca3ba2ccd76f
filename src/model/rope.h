#ifndef FLASHMOE_MODEL_ROPE_H_
#define FLASHMOE_MODEL_ROPE_H_

#include <cstddef>
#include <variant>
#include <vector>

namespace flashmoe {

// Ways to stretch a rotary embedding beyond the context it was trained with.
// Source: transformers modeling_rope_utils.py.

/// Every frequency divided by the factor.
struct LinearRope {
  double factor = 1;
  friend bool operator==(const LinearRope&, const LinearRope&) = default;
};

/// Long waves divided by the factor, short ones left alone, those between blended.
struct Llama3Rope {
  double factor = 1;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  double original_max_position = 8192;
  friend bool operator==(const Llama3Rope&, const Llama3Rope&) = default;
};

/// YaRN (arXiv 2309.00071): as above, blended along the pairs between two numbers of rotations.
struct YarnRope {
  double factor = 1;
  double beta_fast = 32;
  double beta_slow = 1;
  double original_max_position = 4096;
  bool truncate = true;  // the bounds of the blend are whole pairs
  friend bool operator==(const YarnRope&, const YarnRope&) = default;
};

/// The first pairs rotate by the frequencies that they would have if all did, divided by the
/// factor; the others stay as they are.
struct ProportionalRope {
  std::size_t rotated_pairs = 0;
  double factor = 1;
  friend bool operator==(const ProportionalRope&, const ProportionalRope&) = default;
};

/// Every frequency divided by a number of its own, [rotary_dim / 2].
struct DividedRope {
  std::vector<double> divisors;
  friend bool operator==(const DividedRope&, const DividedRope&) = default;
};

/// Rotary position embedding: the angle of pair j at a position is position * theta^(-2j /
/// rotary_dim), unless scaled.
struct RopeSpec {
  std::size_t rotary_dim = 0;  // the first elements of each head that rotate
  double theta = 0;
  std::variant<std::monostate, LinearRope, Llama3Rope, YarnRope, ProportionalRope, DividedRope>
      scaling;
  float attention_factor = 1;  // of cosines and sines
  /// The positions that all this holds for; 0: any. Beyond, sequences would rotate otherwise from
  /// their beginning on.
  std::size_t position_count = 0;

  friend bool operator==(const RopeSpec&, const RopeSpec&) = default;
};

/// What a position is multiplied with to give the angles of its pairs, [rotary_dim / 2]: computed
/// in double from +, -, x and / alone, rounded to float.
std::vector<float> inverse_frequencies(const RopeSpec& rope);

/// The most elements of a head that rotate.
inline constexpr std::size_t kRotaryDimMax = 4096;

/// Pairs (2i, 2i + 1) of `from` become pairs (i, i + half) of `to`, which may be `from`. `size`: at
/// most kRotaryDimMax.
void deinterleave_pairs(const float* from, std::size_t size, float* to);

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_ROPE_H_
