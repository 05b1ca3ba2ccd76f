#include "validation/quality.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/check.h"
#include "base/utf8.h"

namespace flashmoe {
namespace {

/// log of the sum of exp(logit).
double log_sum(std::span<const float> logits) {
  const double largest = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  return largest + std::log(sum);
}

bool is_han(char32_t c) {
  return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) ||
         (c >= 0x20000 && c <= 0x2ffff);
}
bool is_kana(char32_t c) { return c >= 0x3041 && c <= 0x30ff; }
bool is_latin(char32_t c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= 0xc0 && c <= 0x24f);
}

/// Two-sided 95 % quantiles of Student's t for 1 to 10 degrees of freedom.
constexpr double kStudent[] = {12.706, 4.303, 3.182, 2.776, 2.571,
                               2.447,  2.365, 2.306, 2.262, 2.228};

}  // namespace

TokenQuality compare_logits(std::span<const float> exact, std::span<const float> other) {
  FM_CHECK(exact.size() == other.size() && !exact.empty());
  const double exact_sum = log_sum(exact);
  const double other_sum = log_sum(other);
  TokenQuality quality;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    const double log_p = exact[i] - exact_sum;
    quality.divergence += std::exp(log_p) * (log_p - (other[i] - other_sum));
  }
  // Rounding may leave a little below 0.
  quality.divergence = std::max(0.0, quality.divergence);
  quality.agrees = std::ranges::max_element(exact) - exact.begin() ==
                   std::ranges::max_element(other) - other.begin();
  return quality;
}

double negative_log_likelihood(std::span<const float> logits, std::int32_t id) {
  return log_sum(logits) - logits[static_cast<std::size_t>(id)];
}

Quality mean_quality(std::span<const TokenQuality> tokens) {
  Quality mean{.token_count = tokens.size()};
  if (tokens.empty()) return mean;
  for (const TokenQuality& token : tokens) {
    mean.divergence += token.divergence;
    mean.agreement += token.agrees ? 1 : 0;
  }
  mean.divergence /= static_cast<double>(tokens.size());
  mean.agreement /= static_cast<double>(tokens.size());
  return mean;
}

double distinct_share(std::span<const std::int32_t> ids, std::size_t n) {
  FM_CHECK(n > 0);
  if (ids.size() < n) return 1;
  std::set<std::vector<std::int32_t>> runs;
  const std::size_t count = ids.size() - n + 1;
  for (std::size_t i = 0; i < count; ++i) {
    const std::span<const std::int32_t> run = ids.subspan(i, n);
    runs.emplace(run.begin(), run.end());
  }
  return static_cast<double>(runs.size()) / static_cast<double>(count);
}

double script_share(std::string_view text, Script script) {
  std::size_t letters = 0;
  std::size_t own = 0;
  for (std::size_t at = 0; at < text.size();) {
    const char32_t c = next_code_point(text, at);
    const bool han = is_han(c);
    const bool kana = is_kana(c);
    const bool latin = is_latin(c);
    if (!han && !kana && !latin) continue;
    ++letters;
    own += (script == Script::kLatin && latin) || (script == Script::kHan && han) ||
                   (script == Script::kJapanese && (han || kana))
               ? 1
               : 0;
  }
  return letters == 0 ? 0 : static_cast<double>(own) / static_cast<double>(letters);
}

Slope fit_slope(std::span<const double> values) {
  const auto n = static_cast<double>(values.size());
  Slope slope;
  if (values.size() < 2) return slope;
  const double mean_x = (n - 1) / 2;
  double mean_y = 0;
  for (const double value : values) mean_y += value / n;
  double sxx = 0;
  double sxy = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double dx = static_cast<double>(i) - mean_x;
    sxx += dx * dx;
    sxy += dx * (values[i] - mean_y);
  }
  slope.per_step = sxy / sxx;
  if (values.size() < 3) return slope;
  double residual = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double fitted = mean_y + slope.per_step * (static_cast<double>(i) - mean_x);
    residual += (values[i] - fitted) * (values[i] - fitted);
  }
  const std::size_t freedom = values.size() - 2;
  const double t = freedom <= std::size(kStudent) ? kStudent[freedom - 1] : 1.96;
  slope.half_width = t * std::sqrt(residual / static_cast<double>(freedom) / sxx);
  return slope;
}

double correlation(std::span<const double> a, std::span<const double> b) {
  FM_CHECK(a.size() == b.size());
  if (a.empty()) return 0;
  const auto n = static_cast<double>(a.size());
  double mean_a = 0;
  double mean_b = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    mean_a += a[i] / n;
    mean_b += b[i] / n;
  }
  double aa = 0;
  double bb = 0;
  double ab = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
    ab += (a[i] - mean_a) * (b[i] - mean_b);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace flashmoe
