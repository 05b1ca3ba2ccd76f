// What the figures say of the origin's claims.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "validation/lab.h"

namespace flashmoe {
namespace {

constexpr const char* kReproduced = "reproduced";
constexpr const char* kRefuted = "refuted";
constexpr const char* kNotTestable = "not testable here";
constexpr const char* kNotRun = "not testable here";

Claim not_run(const char* claim, int experiment) {
  return {claim, kNotRun, fmt::format("experiment {} was not run", experiment)};
}

Claim judge_fallback(const Figures& figures) {
  constexpr const char* kClaim = "0 % fallback in all tests";
  if (figures.fallback_by_capacity.empty()) return not_run(kClaim, 2);
  std::vector<std::string> parts;
  double least = 1;
  for (const auto& [of_512, rate] : figures.fallback_by_capacity) {
    parts.push_back(fmt::format("{:.1f} % at {}", 100 * rate, of_512));
    if (of_512 >= 160 && of_512 <= 256) least = std::min(least, rate);
  }
  return {kClaim, least > 0.001 ? kRefuted : kReproduced,
          fmt::format("counted from the first token, after a switch: {} of 512. The origin reset "
                      "its counter at every upgrade and delta.",
                      fmt::join(parts, ", "))};
}

Claim judge_coherence(const Figures& figures) {
  constexpr const char* kClaim = "Coherent only from 192 of 512 experts";
  if (figures.coherent_by_capacity.empty()) return not_run(kClaim, 2);
  std::vector<std::size_t> coherent;
  bool as_claimed = true;
  for (const auto& [of_512, is_coherent] : figures.coherent_by_capacity) {
    if (is_coherent) coherent.push_back(of_512);
    as_claimed &= is_coherent == (of_512 >= 192);
  }
  return {kClaim, as_claimed ? kReproduced : kRefuted,
          coherent.empty()
              ? std::string("by the threshold no capacity tried was coherent")
              : fmt::format("by the threshold coherent at {} of 512; its own sweep with the cache "
                            "limit at 0 has 160 and 176 coherent too",
                            fmt::join(coherent, ", "))};
}

/// The capacity, of 512, from which on the origin's machine was short of memory.
constexpr std::size_t kOriginCliff = 224;

/// "160 to 208 of 512 ran, 224 to 256 killed; exact ran": neighbours of one outcome together.
std::string outcomes(const std::vector<Figures::Pressure>& runs, bool heeds_limit) {
  std::vector<std::string> parts;
  std::string exact;
  const Figures::Pressure* first = nullptr;
  const Figures::Pressure* last = nullptr;
  const auto finish = [&] {
    if (first == nullptr) return;
    parts.push_back(first == last ? fmt::format("{} of 512 {}", first->of_512, first->outcome)
                                  : fmt::format("{} to {} of 512 {}", first->of_512, last->of_512,
                                                first->outcome));
  };
  for (const Figures::Pressure& run : runs) {
    if (run.heeds_limit != heeds_limit) continue;
    if (run.of_512 == 0) {
      exact = fmt::format("; exact {}", run.outcome);
      continue;
    }
    if (first == nullptr || run.outcome != first->outcome) {
      finish();
      first = &run;
    }
    last = &run;
  }
  finish();
  return fmt::format("{}{}", fmt::join(parts, ", "), exact);
}

Claim judge_memory_cliff(const Figures& figures) {
  constexpr const char* kClaim = "A memory cliff at 224 of 512 (20.4 of 32 GB)";
  if (figures.seconds_by_capacity.empty()) return not_run(kClaim, 2);
  std::vector<std::string> parts;
  for (const auto& [of_512, seconds] : figures.seconds_by_capacity) {
    if (of_512 >= 160 && of_512 <= 256)
      parts.push_back(fmt::format("{:.3g} s at {}", seconds, of_512));
  }
  const std::string free =
      fmt::format("with memory enough a switch takes {}", fmt::join(parts, ", "));
  if (figures.pressure.empty()) {
    return {kClaim, kNotTestable, free + "; no memory limit could be set to provoke it"};
  }
  // A cliff: what fits runs, and what doesn't is killed or takes twice as long for a token.
  double slowest_below = 0, slowest_above = 0;
  bool is_killed_below = false, is_killed_above = false;
  for (const Figures::Pressure& run : figures.pressure) {
    if (run.of_512 == 0 || run.heeds_limit) continue;
    const bool is_above = run.of_512 >= kOriginCliff;
    (is_above ? is_killed_above : is_killed_below) |= run.outcome == "killed";
    double& slowest = is_above ? slowest_above : slowest_below;
    if (run.tokens_per_second > 0) slowest = std::max(slowest, 1 / run.tokens_per_second);
  }
  const bool is_cliff = !is_killed_below && (is_killed_above || slowest_above > 2 * slowest_below);
  return {kClaim, is_cliff ? kReproduced : kRefuted,
          fmt::format("{}. Under a control group's limit that 208 of 512 just fit into: with a "
                      "budget for those, {}; with one for all experts, {}",
                      free, outcomes(figures.pressure, true), outcomes(figures.pressure, false))};
}

Claim judge_cycles(const Figures& figures) {
  constexpr const char* kClaim =
      "Degradation over five cycles (section 5: \"detected\", 1.5 times; its summary: none)";
  if (!figures.discovery_slope) return not_run(kClaim, 5);
  const Slope& slope = *figures.discovery_slope;
  const bool grows = slope.per_step - slope.half_width > 0;
  return {kClaim, grows ? kReproduced : kRefuted,
          fmt::format("discovery changes by {:+.3g} ms a cycle, 95 % interval {:+.3g} to {:+.3g}. "
                      "The origin's five values fit {:+.2g} s a cycle: its slowest was the second.",
                      1e3 * slope.per_step, 1e3 * (slope.per_step - slope.half_width),
                      1e3 * (slope.per_step + slope.half_width),
                      fit_slope(std::vector<double>{33.3, 48.8, 37.9, 34.3, 36.9}).per_step)};
}

Claim judge_depth(const Figures& figures) {
  constexpr const char* kClaim = "Ten discovery tokens suffice";
  const bool has_text = !figures.held_out_divergence_by_depth.empty();
  const auto& by_depth =
      has_text ? figures.held_out_divergence_by_depth : figures.divergence_by_depth;
  if (by_depth.size() < 2 || !by_depth.contains(10)) return not_run(kClaim, 6);
  const double at_10 = by_depth.at(10);
  const double at_most = by_depth.rbegin()->second;
  std::vector<std::string> parts;
  for (const auto& [depth, divergence] : by_depth) {
    parts.push_back(fmt::format("{:.3f} after {}", divergence, depth));
  }
  return {kClaim, at_most < 0.9 * at_10 ? kRefuted : kReproduced,
          fmt::format("KL on {}: {} tokens (refuted if the most takes off more than a tenth)",
                      has_text ? "held-out text" : "the answer", fmt::join(parts, ", "))};
}

Claim judge_predictive(const Figures& figures) {
  constexpr const char* kClaim = "Predictive output is right from its first token";
  if (!figures.predictive_first_tokens) return not_run(kClaim, 3);
  const Quality& first = *figures.predictive_first_tokens;
  return {kClaim, first.agreement < 0.99 ? kRefuted : kReproduced,
          fmt::format("over the first 30 tokens of {} prompts the likeliest token is the exact "
                      "model's in {:.1f} %, KL {:.3f} nats; the first token alone is exact here, "
                      "since the prompt was read exactly",
                      figures.prompts_judged, 100 * first.agreement, first.divergence)};
}

Claim judge_onset(const Figures& figures) {
  constexpr const char* kClaim =
      "The new subject sets in when the swaps are complete, whatever the KV cache";
  if (!figures.divergence_after_swaps) return not_run(kClaim, 4);
  const double during = *figures.divergence_during_swaps;
  const double old = *figures.divergence_after_swaps;
  const double fresh = *figures.divergence_after_recompute;
  // The old context must cost little beside what the swaps gained.
  const bool as_claimed = old < during && old <= 1.25 * fresh;
  return {kClaim, as_claimed ? kReproduced : kRefuted,
          fmt::format("KL {:.3f} nats until the swaps are made (token {}), {:.3f} afterwards with "
                      "the old context, {:.3f} with a recomputed one",
                      during, *figures.swaps_done, old, fresh)};
}

Claim judge_decline(const Figures& figures) {
  constexpr const char* kClaim = "The decline after about 300 tokens is due to the capacity";
  if (!figures.resident_distinct_late || !figures.predictive_distinct_late) {
    return not_run(kClaim, 9);
  }
  const double control = *figures.resident_distinct_late;
  const double predictive = *figures.predictive_distinct_late;
  return {kClaim, predictive < 0.8 * control ? kReproduced : kRefuted,
          fmt::format("distinct-3 of the last quarter: {:.1f} % with the fixed set, {:.1f} % for "
                      "the exact model on the same prompt (greedy, both): what the control does "
                      "too is not the capacity's doing",
                      100 * predictive, 100 * control)};
}

Claim judge_async(const Figures& figures) {
  constexpr const char* kClaim = "Async-delta beats a stale cache";
  if (!figures.stale_divergence || !figures.async_divergence) return not_run(kClaim, 7);
  return {kClaim, *figures.async_divergence < *figures.stale_divergence ? kReproduced : kRefuted,
          fmt::format("KL over four changes of subject: {:.3f} nats with async-delta, {:.3f} with "
                      "the stale set",
                      *figures.async_divergence, *figures.stale_divergence)};
}

Claim judge_drop(const Figures& figures) {
  constexpr const char* kClaim = "Dropping caches before a switch helps 1.2 to 2 times";
  if (figures.drop_ratios.empty()) return not_run(kClaim, 1);
  const double least = std::ranges::min(figures.drop_ratios);
  std::vector<std::string> parts;
  for (const double ratio : figures.drop_ratios) parts.push_back(fmt::format("{:.2f}", ratio));
  return {kClaim, least >= 1.2 ? kReproduced : kRefuted,
          fmt::format("time of a switch, kept over dropped: {} at 224 and 256 of 512",
                      fmt::join(parts, ", "))};
}

}  // namespace

std::vector<Claim> judge_claims(const Figures& figures) {
  return {judge_fallback(figures), judge_coherence(figures), judge_memory_cliff(figures),
          judge_cycles(figures),   judge_depth(figures),     judge_predictive(figures),
          judge_onset(figures),    judge_decline(figures),   judge_async(figures),
          judge_drop(figures)};
}

Table origin_arithmetic() {
  Table table{.columns = {{"what", "what"},
                          {"stated", "stated"},
                          {"recomputed", "recomputed"},
                          {"remark", "remark"}}};
  const auto add = [&](const char* what, const char* stated, std::string recomputed,
                       const char* remark) {
    table.rows.push_back({.cells = {text_cell(what), text_cell(stated),
                                    text_cell(std::move(recomputed)), text_cell(remark)}});
  };
  add("switch at 224, caches kept", "85.90 s",
      fmt::format("{:.2f} s", 53.92 + 13.55 + 0.039 + 18.31),
      "the sum of its parts, but for 0.1 s");
  add("switch at 240, caches kept", "153.8 s", fmt::format("{:.1f} s", 102.3 + 16.6 + 0.153 + 34.6),
      "the sum of its parts");
  add("predictive, mean of 12 prompts", "2.1 tokens/s",
      fmt::format("{:.1f} tokens/s",
                  (1.2 + 1.6 + 1.8 + 1.6 + 1.6 + 1.6 + 2.1 + 2.0 + 2.2 + 2.3 + 5.5 + 1.7) / 12),
      "");
  add("async-delta, mean of 11 prompts", "5.2 tokens/s",
      fmt::format("{:.2f} tokens/s",
                  (5.6 + 5.3 + 12.9 + 2.2 + 3.6 + 5.0 + 3.8 + 5.8 + 5.8 + 5.0 + 3.8) / 11),
      "the same-domain control included; without it 4.59");
  add("async-delta, coherent", "8 of 11", "7 of 11",
      "its table: 7 coherent, 3 mixed, 1 degraded, 1 crashed");
  add("swaps of an async switch", "7.5 s", "9.67 s",
      "the profile's own cumulative time at token 24");
  add("first token after an async switch", "< 1 s", fmt::format("{:.1f} s", 53.1 + 0.4),
      "with the 53.1 s of discovery that come before it");
  add("tokens 1-24 of the profile", "403 ms each", fmt::format("{:.0f} ms", 9670.0 / 24), "");
  add("tokens 25-80 of the profile", "78 ms each", fmt::format("{:.0f} ms", (14000.0 - 9670) / 56),
      "");
  add("1,000 tokens", "10.6 tokens/s",
      fmt::format("{:.1f}, {:.1f}, {:.1f}, {:.1f} tokens/s", 250 / 61.7, 250 / (72.7 - 61.7),
                  250 / (82.7 - 72.7), 250 / (94.1 - 82.7)),
      "by intervals of 250: the rates given are averages from the start, warm-up included");
  add("500 tokens", "6.9 tokens/s",
      fmt::format("{:.1f}, {:.1f}, {:.1f}, {:.1f} tokens/s", 125 / 55.5, 125 / (60.7 - 55.5),
                  125 / (66.2 - 60.7), 125 / (72.2 - 66.2)),
      "by intervals of 125");
  add("cold start at 192", "88.7 s", fmt::format("{:.1f} s", 1.8 + 0.0 + 0.2 + 75.0 + 11.7), "");
  add("cold start at 256", "90.9 s", fmt::format("{:.1f} s", 1.4 + 0.0 + 0.3 + 75.2 + 14.0), "");
  add("experts at 192", "16.3 GB", fmt::format("{:.1f} GB", 192 * 48 * 1.69e-3),
      "192 x 48 x 1.69 MB; its memory says 16.3, or 1.77 MB an expert");
  add("swaps of the river puzzle", "4173/4290", "1251 to 2766",
      "what every other switch needed: more than twice as many");
  return table;
}

}  // namespace flashmoe
