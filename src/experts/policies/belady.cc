#include "experts/policies/belady.h"

#include <cstdint>
#include <limits>
#include <set>
#include <utility>
#include <vector>

#include "base/check.h"

namespace flashmoe {
namespace {

constexpr std::size_t kNever = std::numeric_limits<std::size_t>::max();

class BeladyPolicy final : public ResidencyPolicy {
 public:
  BeladyPolicy(const RoutingTrace& trace, std::size_t begin, std::size_t end)
      : layer_count_(trace.layer_count()), begin_(begin) {
    for (std::size_t l = 0; l < layer_count_; ++l) {
      std::vector<Expert>& experts = layers_.emplace_back(trace.num_experts()[l]);
      for (std::size_t t = begin; t < end; ++t) {
        for (const ExpertId id : trace.routed(l, t)) experts[id.value].uses.push_back(t);
      }
    }
  }

  void set_slots(const LayerSlots& /*slots*/) override {}

  void on_routed(std::uint64_t step, LayerId layer, std::span<const ExpertId> routed,
                 const RowCounts& /*rows*/) override {
    const std::size_t token = begin_ + step;
    for (const ExpertId id : routed) {
      Expert& expert = at({layer, id});
      const bool was_resident = residents_.erase({next_use(layer, expert), {layer, id}}) > 0;
      while (expert.used < expert.uses.size() && expert.uses[expert.used] <= token) ++expert.used;
      if (was_resident) residents_.insert({next_use(layer, expert), {layer, id}});
    }
  }

  void on_loaded(ExpertKey key, LoadCause /*cause*/) override {
    FM_CHECK(residents_.insert({next_use(key.layer, at(key)), key}).second);
  }

  void on_dropped(ExpertKey key) override {
    FM_CHECK(residents_.erase({next_use(key.layer, at(key)), key}) == 1);
  }

  ExpertKey choose_victim(LayerId /*layer*/, const EvictableSet& evictable) override {
    auto latest = residents_.rbegin();
    while (latest != residents_.rend() && !evictable.contains(latest->second)) ++latest;
    FM_CHECK(latest != residents_.rend());
    return latest->second;
  }

  std::vector<ExpertId> ranked_residents(LayerId layer) const override {
    std::vector<ExpertId> ids;
    for (const auto& [use, key] : residents_) {
      if (key.layer == layer) ids.push_back(key.expert);
    }
    return ids;
  }

 private:
  struct Expert {
    std::vector<std::size_t> uses;  // tokens
    std::size_t used = 0;           // how many of them have come
  };

  Expert& at(ExpertKey key) { return layers_[key.layer.value][key.expert.value]; }

  // Tokens pass layer by layer, so uses of one token follow each other too.
  std::size_t next_use(LayerId layer, const Expert& expert) const {
    if (expert.used == expert.uses.size()) return kNever;
    return expert.uses[expert.used] * layer_count_ + layer.value;
  }

  std::size_t layer_count_;
  std::size_t begin_;
  std::vector<std::vector<Expert>> layers_;
  std::set<std::pair<std::size_t, ExpertKey>> residents_;  // by next use
};

}  // namespace

std::unique_ptr<ResidencyPolicy> make_belady_policy(const RoutingTrace& trace, std::size_t begin,
                                                    std::size_t end) {
  return std::make_unique<BeladyPolicy>(trace, begin, end);
}

}  // namespace flashmoe
