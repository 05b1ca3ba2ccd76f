#include "experts/trace_generator.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numeric>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "base/portable_math.h"

namespace flashmoe {
namespace {

// Shares of routed experts by how recently they were routed before: among the last token's, the
// latest eighth of the layer's experts, the latest quarter, all. Published: 45 % again by the next
// token, and LRU's hit rates with 64 and 128 slots of 512.
constexpr std::array<double, 4> kWithin = {0.45, 0.67, 0.81, 1.0};

// Popularity of the expert of rank r: (r + kFlatTop)^-kSkew. Chosen for the published 384 experts
// that a layer touches in 300 tokens; decayed frequency is then half a point ahead of LRU with 128
// slots, as is published too. Flatter, recency would be all there is to know.
constexpr double kFlatTop = 24;
constexpr double kSkew = 1.0;

// After a change of subject: how many of the experts used by the first so many tokens are not among
// the 192 of 512 that the old subject used most, as published.
struct Arrivals {
  double tokens;
  double experts;
};
constexpr std::array<Arrivals, 6> kArrivals = {
    {{0, 0}, {5, 26}, {10, 34}, {20, 42}, {30, 48}, {50, 58}}};

double arrived_after(double tokens) {
  for (std::size_t i = 1; i < kArrivals.size(); ++i) {
    const Arrivals& a = kArrivals[i - 1];
    const Arrivals& b = kArrivals[i];
    if (tokens <= b.tokens) {
      return a.experts + (b.experts - a.experts) * (tokens - a.tokens) / (b.tokens - a.tokens);
    }
  }
  return kArrivals.back().experts;
}

/// The same draws with every C++ library, which std's distributions do not promise.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  double unit() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }
  std::size_t below(std::size_t n) {
    return std::min(n - 1, static_cast<std::size_t>(unit() * static_cast<double>(n)));
  }
  void shuffle(std::span<std::uint16_t> values) {
    for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[below(i)]);
  }

 private:
  std::mt19937_64 engine_;
};

/// The router of one layer.
class LayerGenerator {
 public:
  LayerGenerator(const TraceGeneratorOptions& options, std::uint64_t seed)
      : k_(options.experts_per_token),
        random_(seed),
        latest_(options.num_experts),
        taken_(options.num_experts) {
    std::iota(latest_.begin(), latest_.end(), std::uint16_t{0});
    random_.shuffle(latest_);
    draw_popularity();
  }

  std::vector<std::uint16_t> uniform() {
    picks_.clear();
    while (picks_.size() < k_) {
      const auto id = static_cast<std::uint16_t>(random_.below(latest_.size()));
      if (taken_[id]) continue;
      taken_[id] = true;
      picks_.push_back(id);
    }
    for (const std::uint16_t id : picks_) taken_[id] = false;
    return picks_;
  }

  void change_subject() {
    const std::size_t known = latest_.size() * 192 / 512;
    std::vector<std::uint16_t> order(latest_.size());
    std::iota(order.begin(), order.end(), std::uint16_t{0});
    std::ranges::stable_sort(order, std::greater(), [&](std::uint16_t id) { return uses_[id]; });
    foreign_.assign(latest_.size(), false);
    for (const std::uint16_t id : std::span(order).subspan(known)) foreign_[id] = true;
    tokens_since_switch_ = 0;
    arrived_ = 0;
    draw_popularity();
  }

  std::vector<std::uint16_t> next() {
    picks_.clear();
    let_foreign_arrive();
    while (picks_.size() < k_) {
      // A group whose experts are all taken gives way to the next; the last is never empty.
      const double where = random_.unit();
      std::size_t group = 0;
      while (where >= kWithin[group]) ++group;
      while (!pick(group_begin(group), group_begin(group + 1), /*foreign=*/false)) {
        group = (group + 1) % kWithin.size();
      }
    }
    // What was routed is the latest, the most wanted first.
    std::erase_if(latest_, [&](std::uint16_t id) { return taken_[id]; });
    latest_.insert(latest_.begin(), picks_.begin(), picks_.end());
    for (const std::uint16_t id : picks_) {
      taken_[id] = false;
      ++uses_[id];
    }
    return picks_;
  }

 private:
  std::size_t group_begin(std::size_t group) const {
    const std::array<std::size_t, 5> begins = {0, k_, latest_.size() / 8, latest_.size() / 4,
                                               latest_.size()};
    return begins[group];
  }

  void draw_popularity() {
    std::vector<std::uint16_t> by_rank = latest_;
    random_.shuffle(by_rank);
    popularity_.resize(by_rank.size());
    for (std::size_t r = 0; r < by_rank.size(); ++r) {
      popularity_[by_rank[r]] = portable::pow(static_cast<double>(r) + kFlatTop, -kSkew);
    }
    uses_.assign(by_rank.size(), 0);
  }

  void let_foreign_arrive() {
    if (foreign_.empty()) return;
    ++tokens_since_switch_;
    const double scale = static_cast<double>(latest_.size()) / 512;
    const auto due = static_cast<std::size_t>(
        std::lround(arrived_after(static_cast<double>(tokens_since_switch_)) * scale));
    for (; arrived_ < due && picks_.size() < k_; ++arrived_) {
      if (!pick(0, latest_.size(), /*foreign=*/true)) break;
      foreign_[picks_.back()] = false;
    }
    if (static_cast<double>(tokens_since_switch_) >= kArrivals.back().tokens) foreign_.clear();
  }

  /// Takes one of the latest_[begin, end), by popularity. False if none is left.
  bool pick(std::size_t begin, std::size_t end, bool foreign) {
    const auto weight = [&](std::size_t i) {
      const std::uint16_t id = latest_[i];
      const bool is_foreign = !foreign_.empty() && foreign_[id];
      return taken_[id] || is_foreign != foreign ? 0 : popularity_[id];
    };
    double total = 0;
    for (std::size_t i = begin; i < end; ++i) total += weight(i);
    if (total == 0) return false;
    double rest = random_.unit() * total;
    std::size_t chosen = end;
    for (std::size_t i = begin; i < end && rest >= 0; ++i) {
      if (weight(i) == 0) continue;
      chosen = i;
      rest -= weight(i);
    }
    picks_.push_back(latest_[chosen]);
    taken_[latest_[chosen]] = true;
    return true;
  }

  std::size_t k_;
  Random random_;
  std::vector<std::uint16_t> latest_;  // every expert, the one routed last first
  std::vector<bool> taken_;            // by this token
  std::vector<double> popularity_;     // by expert, of this subject
  std::vector<std::size_t> uses_;      // by expert, since the subject began
  std::vector<std::uint16_t> picks_;   // of this token

  // Of the change of subject that is under way; empty: none is.
  std::vector<bool> foreign_;  // experts that have not come in yet
  std::size_t tokens_since_switch_ = 0;
  std::size_t arrived_ = 0;
};

Status check(const TraceGeneratorOptions& options) {
  const auto refuse = [](std::string_view what) {
    return error(StatusCode::kInvalidArgument, "cannot generate such a trace: {}", what);
  };
  if (options.layer_count == 0) return refuse("no layers");
  if (options.token_count == 0) return refuse("no tokens");
  if (options.experts_per_token == 0) return refuse("no experts for a token");
  if (options.num_experts > 65536) return refuse("a layer has at most 65536 experts");
  if (options.experts_per_token > options.num_experts) {
    return refuse("a token takes more experts than a layer has");
  }
  if (options.uniform && options.switch_every > 0) {
    return refuse("uniform routing has no subject to change");
  }
  if (!options.uniform && options.num_experts / 8 <= options.experts_per_token) {
    return refuse(
        "what is published holds for many experts: a token may take less than an eighth of a "
        "layer's; uniform routing has no such limit");
  }
  return Status();
}

}  // namespace

Result<RoutingTrace> generate_trace(const TraceGeneratorOptions& options) {
  FM_RETURN_IF_ERROR(check(options));
  RoutingTraceData data{.layer_count = options.layer_count,
                        .token_count = options.token_count,
                        .experts_per_token = options.experts_per_token,
                        .num_experts = std::vector(options.layer_count, options.num_experts),
                        .starts = {0}};
  std::mt19937_64 seeds(options.seed);
  for (std::size_t l = 0; l < options.layer_count; ++l) {
    LayerGenerator layer(options, seeds());
    for (std::size_t t = 0; t < options.token_count; ++t) {
      if (options.switch_every > 0 && t > 0 && t % options.switch_every == 0) {
        layer.change_subject();
        if (l == 0) data.switches.push_back(t);
      }
      for (const std::uint16_t id : options.uniform ? layer.uniform() : layer.next()) {
        data.ids.push_back(ExpertId{id});
      }
    }
  }
  return RoutingTrace::create(std::move(data));
}

}  // namespace flashmoe
