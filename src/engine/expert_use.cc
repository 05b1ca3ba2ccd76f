#include "engine/expert_use.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace flashmoe {
namespace {

/// A use weighs 2^(tokens since the origin / half-life): beyond so many half-lives the origin
/// moves, long before floats end.
constexpr double kHalfLivesMax = 64;

float half_lives_power(double tokens) {
  return static_cast<float>(std::exp2(tokens / ExpertUse::kHalfLifeTokens));
}

}  // namespace

ExpertUse::ExpertUse(std::span<const std::size_t> expert_counts) {
  std::size_t total = 0;
  for (const std::size_t count : expert_counts) {
    first_.push_back(total);
    total += count;
  }
  first_.push_back(total);
  counts_.resize(total);
}

float ExpertUse::weight(std::size_t position) {
  // A sequence that is computed again from an earlier position counts as if it had gone on.
  const double since = position > origin_ ? static_cast<double>(position - origin_) : 0;
  if (since <= kHalfLivesMax * kHalfLifeTokens) return half_lives_power(since);
  const float fade = half_lives_power(-since);
  for (float& count : counts_) count *= fade;
  origin_ = position;
  return 1;
}

void ExpertUse::add(LayerId layer, std::size_t position, std::size_t tokens,
                    std::span<const std::uint16_t> ids) {
  if (tokens == 0) return;
  FM_CHECK(layer.value + 1 < first_.size() && ids.size() % tokens == 0);
  const std::size_t k = ids.size() / tokens;
  const std::size_t begin = first_[layer.value];
  const std::size_t size = first_[layer.value + 1] - begin;
  for (std::size_t t = 0; t < tokens; ++t) {
    const float one = weight(position + t);
    for (const std::uint16_t id : ids.subspan(t * k, k)) {
      if (id < size) counts_[begin + id] += one;  // others are nobody
    }
  }
}

std::vector<ExpertKey> ExpertUse::most_used(std::size_t count) const {
  struct Used {
    float uses;
    ExpertKey key;
  };
  std::vector<Used> used;
  for (std::uint32_t l = 0; l + 1 < first_.size(); ++l) {
    for (std::size_t i = first_[l]; i < first_[l + 1]; ++i) {
      if (counts_[i] <= 0) continue;
      used.push_back({counts_[i], {LayerId{l}, {static_cast<std::uint16_t>(i - first_[l])}}});
    }
  }
  count = std::min(count, used.size());
  std::partial_sort(used.begin(), used.begin() + static_cast<std::ptrdiff_t>(count), used.end(),
                    [](const Used& a, const Used& b) {
                      return a.uses != b.uses ? a.uses > b.uses : a.key < b.key;
                    });
  std::vector<ExpertKey> keys;
  for (std::size_t i = 0; i < count; ++i) keys.push_back(used[i].key);
  return keys;
}

std::vector<float> ExpertUse::counts_at(std::size_t position) const {
  const double since = static_cast<double>(position) - static_cast<double>(origin_);
  const float fade = half_lives_power(-since);
  std::vector<float> counts = counts_;
  for (float& count : counts) count *= fade;
  return counts;
}

bool ExpertUse::restore(std::span<const float> counts, std::size_t position) {
  const bool is_plausible = std::ranges::all_of(counts, [](float count) {
    return count >= 0 && count <= std::numeric_limits<float>::max() / 2;
  });
  if (counts.size() != counts_.size() || !is_plausible) return false;
  counts_.assign(counts.begin(), counts.end());
  origin_ = position;
  return true;
}

}  // namespace flashmoe
