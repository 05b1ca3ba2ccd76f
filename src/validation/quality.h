#ifndef FLASHMOE_VALIDATION_QUALITY_H_
#define FLASHMOE_VALIDATION_QUALITY_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace flashmoe {

/// How far one distribution over the next token is from the exact model's.
struct TokenQuality {
  double divergence = 0;  // KL(exact || other), in nats
  bool agrees = false;    // the same token is likeliest
};

/// Both of the same size, finite. Computed in double.
TokenQuality compare_logits(std::span<const float> exact, std::span<const float> other);

/// -log of the probability of `id`, in nats.
double negative_log_likelihood(std::span<const float> logits, std::int32_t id);

/// Means over tokens.
struct Quality {
  double divergence = 0;
  double agreement = 0;  // share of tokens
  std::size_t token_count = 0;
};
Quality mean_quality(std::span<const TokenQuality> tokens);

/// Different runs of `n` tokens over all such runs: 1 repeats nothing; 1 for fewer than n tokens.
double distinct_share(std::span<const std::int32_t> ids, std::size_t n);

/// Which characters a text in a language consists of.
enum class Script : std::uint8_t { kLatin, kHan, kJapanese };

/// Of the letters of valid UTF-8, the share that belongs to the script; kana count for kJapanese
/// alone, Han characters for both. 0 without letters.
double script_share(std::string_view text, Script script);

/// A line fitted to values at 0, 1, 2, ...: its slope, and the half-width of the slope's 95 %
/// confidence interval (Student's t; 0 for fewer than three values).
struct Slope {
  double per_step = 0;
  double half_width = 0;
};
Slope fit_slope(std::span<const double> values);

/// Pearson's correlation, 0 where one does not vary. Of the same size.
double correlation(std::span<const double> a, std::span<const double> b);

double median(std::vector<double> values);

}  // namespace flashmoe

#endif  // FLASHMOE_VALIDATION_QUALITY_H_
