#ifndef FLASHMOE_ENGINE_SAMPLER_H_
#define FLASHMOE_ENGINE_SAMPLER_H_

#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <vector>

#include "base/result.h"
#include "flashmoe/scheduler.h"

namespace flashmoe {

/// Refuses logits from which no token can be picked: text from them would be wrong. `position`:
/// tokens before them. Errors: kCorrupt.
Status check_logits(std::span<const float> logits, std::size_t position);

/// Picks tokens from logits. A function of the logits, the options and the tokens it has accepted,
/// and so of the seed: the same on every machine. Not thread-safe.
///
/// Order: bias, repeat penalty, presence and frequency penalties, temperature, top-k, top-p,
/// min-p, draw. Ties go to the smaller id.
class Sampler {
 public:
  /// Errors: kInvalidArgument, naming the option, its value and its range.
  static Result<Sampler> create(const SamplingOptions& options);

  /// The next token for `logits` [vocab_size], which are not changed.
  std::int32_t sample(std::span<const float> logits);
  /// Likewise, of those that `constraint` allows: if the first draw is none of them, a second one
  /// is made among them alone, which together is a draw from their probabilities. Errors:
  /// kInvalidArgument if it allows none.
  Result<std::int32_t> sample(std::span<const float> logits, TokenConstraint& constraint);

  /// Tells the sampler that `id` is now part of the text, for the repeat penalty.
  void accept(std::int32_t id);
  /// Likewise, of a token that was generated, which the other penalties count.
  void accept_generated(std::int32_t id);

 private:
  struct Candidate {
    float logit = 0;
    std::int32_t id = 0;
  };

  explicit Sampler(const SamplingOptions& options)
      : options_(options), random_state_(options.seed) {}
  void load(std::span<const float> logits);
  std::int32_t draw();
  void apply_bias();
  void apply_repeat_penalty();
  void apply_count_penalties();
  const Candidate& likeliest(std::size_t rank);
  double probability(const Candidate& candidate, float largest) const;
  std::size_t kept_count(float largest, double total, double* kept_total);
  double next_uniform();

  SamplingOptions options_;
  std::uint64_t random_state_;
  std::deque<std::int32_t> recent_;  // the last repeat_window tokens, oldest first
  std::map<std::int32_t, std::size_t> recent_counts_;  // how often each is among them
  std::map<std::int32_t, std::size_t> generated_;      // how often each was
  std::vector<Candidate> candidates_;  // the first sorted_count_ in descending order
  std::size_t sorted_count_ = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_SAMPLER_H_
