#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/portable_math.h"

namespace flashmoe {
namespace {

Status check_range(const char* name, double value, double min, double max) {
  if (value >= min && value <= max) return Status();  // false for NaN
  return error(StatusCode::kInvalidArgument, "{} is {}; choose a value from {} to {}", name, value,
               min, max);
}

}  // namespace

Status check_logits(std::span<const float> logits, std::size_t position) {
  // Counted rather than searched for: a loop without a way out runs in vectors.
  std::size_t bad_count = 0;
  for (const float logit : logits) {
    bad_count += std::fabs(logit) <= std::numeric_limits<float>::max() ? 0 : 1;
  }
  if (bad_count == 0) return Status();
  return error(
      StatusCode::kCorrupt,
      "after {} tokens {} of {} logits are infinite or no numbers; the model's weights are "
      "damaged: download them again",
      position, bad_count, logits.size());
}

Result<Sampler> Sampler::create(const SamplingOptions& options) {
  FM_RETURN_IF_ERROR(check_range("temperature", options.temperature, 0, 100));
  FM_RETURN_IF_ERROR(check_range("top-p", options.top_p, 0, 1));
  FM_RETURN_IF_ERROR(check_range("min-p", options.min_p, 0, 1));
  FM_RETURN_IF_ERROR(check_range("repeat-penalty", options.repeat_penalty, 0.01, 100));
  FM_RETURN_IF_ERROR(check_range("presence-penalty", options.presence_penalty, -2, 2));
  FM_RETURN_IF_ERROR(check_range("frequency-penalty", options.frequency_penalty, -2, 2));
  for (const auto& [id, bias] : options.logit_bias) {
    FM_RETURN_IF_ERROR(check_range("logit-bias", bias, -100, 100));
    if (id < 0) return error(StatusCode::kInvalidArgument, "logit-bias: {} is no token id", id);
  }
  return Sampler(options);
}

void Sampler::accept(std::int32_t id) {
  if (options_.repeat_window == 0) return;
  if (recent_.size() == options_.repeat_window) {
    const auto oldest = recent_counts_.find(recent_.front());
    if (--oldest->second == 0) recent_counts_.erase(oldest);
    recent_.pop_front();
  }
  recent_.push_back(id);
  ++recent_counts_[id];
}

void Sampler::accept_generated(std::int32_t id) {
  accept(id);
  if (options_.presence_penalty != 0 || options_.frequency_penalty != 0) ++generated_[id];
}

void Sampler::apply_bias() {
  for (const auto& [id, bias] : options_.logit_bias) {
    if (static_cast<std::size_t>(id) >= candidates_.size()) continue;
    candidates_[static_cast<std::size_t>(id)].logit += static_cast<float>(bias);
  }
}

/// As OpenAI defines them: of tokens generated so far, once each and by their number.
void Sampler::apply_count_penalties() {
  for (const auto& [id, count] : generated_) {
    candidates_[static_cast<std::size_t>(id)].logit -= static_cast<float>(
        options_.presence_penalty + options_.frequency_penalty * static_cast<double>(count));
  }
}

/// Keskar et al. 2019 (arXiv 1909.05858), once per distinct token.
void Sampler::apply_repeat_penalty() {
  const auto penalty = static_cast<float>(options_.repeat_penalty);
  for (const auto& [id, count] : recent_counts_) {
    if (static_cast<std::size_t>(id) >= candidates_.size()) continue;
    float& logit = candidates_[static_cast<std::size_t>(id)].logit;
    logit = logit > 0 ? logit / penalty : logit * penalty;
  }
}

/// The candidate of this rank, sorting no more than it must: most draws end within the first few.
const Sampler::Candidate& Sampler::likeliest(std::size_t rank) {
  if (rank >= sorted_count_) {
    const std::size_t wanted = std::max({rank + 1, std::size_t{64}, 8 * sorted_count_});
    const std::size_t count = std::min(wanted, candidates_.size());
    const auto begin = candidates_.begin() + static_cast<std::ptrdiff_t>(sorted_count_);
    const auto end = candidates_.begin() + static_cast<std::ptrdiff_t>(count);
    std::partial_sort(begin, end, candidates_.end(), [](const Candidate& a, const Candidate& b) {
      return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
    });
    sorted_count_ = count;
  }
  return candidates_[rank];
}

/// Uniform in [0, 1). SplitMix64 (Steele et al. 2014): the same numbers everywhere, which <random>
/// does not promise.
double Sampler::next_uniform() {
  random_state_ += 0x9e3779b97f4a7c15u;
  std::uint64_t z = random_state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  z ^= z >> 31;
  return static_cast<double>(z >> 11) * 0x1p-53;
}

std::int32_t Sampler::sample(std::span<const float> logits) {
  load(logits);
  return draw();
}

Result<std::int32_t> Sampler::sample(std::span<const float> logits, TokenConstraint& constraint) {
  const std::int32_t id = sample(logits);
  if (constraint.allows(id)) return id;
  load(logits);
  std::erase_if(candidates_,
                [&](const Candidate& candidate) { return !constraint.allows(candidate.id); });
  if (candidates_.empty()) {
    return error(StatusCode::kInvalidArgument,
                 "the output cannot be completed in the form that was asked for");
  }
  return draw();
}

/// The candidates with their penalties, in the order of ids.
void Sampler::load(std::span<const float> logits) {
  FM_CHECK(!logits.empty());
  candidates_.resize(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    // A NaN compares with nothing: treat it as never chosen.
    const float logit = std::isnan(logits[i]) ? -INFINITY : logits[i];
    candidates_[i] = {logit, static_cast<std::int32_t>(i)};
  }
  apply_bias();
  if (options_.repeat_penalty != 1) apply_repeat_penalty();
  apply_count_penalties();
}

std::int32_t Sampler::draw() {
  sorted_count_ = 0;
  const float largest = likeliest(0).logit;
  if (options_.temperature == 0 || !std::isfinite(largest)) return likeliest(0).id;

  if (options_.top_k != 0 && options_.top_k < candidates_.size()) {
    likeliest(options_.top_k - 1);
    candidates_.resize(options_.top_k);
    sorted_count_ = options_.top_k;
  }
  double total = 0;
  for (const Candidate& candidate : candidates_) total += probability(candidate, largest);
  double kept_total = 0;
  const std::size_t kept = kept_count(largest, total, &kept_total);

  double draw = next_uniform() * kept_total;
  for (std::size_t i = 0; i < kept; ++i) {
    draw -= probability(likeliest(i), largest);
    if (draw < 0) return likeliest(i).id;
  }
  return likeliest(kept - 1).id;
}

/// Proportional to the candidate's probability; 1 for the likeliest.
double Sampler::probability(const Candidate& candidate, float largest) const {
  return portable::exp((static_cast<double>(candidate.logit) - largest) / options_.temperature);
}

/// How many of the likeliest candidates top-p and min-p keep, at least one, and the sum of their
/// probabilities.
std::size_t Sampler::kept_count(float largest, double total, double* kept_total) {
  if (options_.top_p >= 1 && options_.min_p <= 0) {
    *kept_total = total;
    return candidates_.size();
  }
  *kept_total = 0;
  std::size_t kept = 0;
  while (kept < candidates_.size()) {
    const double p = probability(likeliest(kept), largest);
    if (kept > 0 && (*kept_total >= options_.top_p * total || p < options_.min_p)) break;
    *kept_total += p;
    ++kept;
  }
  return kept;
}

}  // namespace flashmoe
