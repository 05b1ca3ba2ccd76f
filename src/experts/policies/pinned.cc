#include "experts/policies/pinned.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "experts/policies/forwarding_policy.h"

namespace flashmoe {
namespace {

/// Of another set those outside a fixed one.
class Outside final : public EvictableSet {
 public:
  Outside(const EvictableSet& all, const FixedSet& set) : all_(all), set_(set) {}
  bool contains(ExpertKey key) const override { return !set_.contains(key) && all_.contains(key); }

 private:
  const EvictableSet& all_;
  const FixedSet& set_;
};

class PinnedPolicy final : public ForwardingPolicy {
 public:
  PinnedPolicy(std::unique_ptr<ResidencyPolicy> inner, std::shared_ptr<const FixedSet> set)
      : ForwardingPolicy(std::move(inner)), set_(std::move(set)) {}

  void on_loaded(ExpertKey key, LoadCause cause) override {
    ForwardingPolicy::on_loaded(key, cause);
    residents_.insert(key);
    if (!set_->contains(key)) outsiders_.insert(key);
  }

  void on_dropped(ExpertKey key) override {
    ForwardingPolicy::on_dropped(key);
    residents_.erase(key);
    outsiders_.erase(key);
  }

  ExpertKey choose_victim(LayerId layer, const EvictableSet& evictable) override {
    if (set_->empty()) return ForwardingPolicy::choose_victim(layer, evictable);
    update();
    const bool has_outsider =
        std::ranges::any_of(outsiders_, [&](ExpertKey key) { return evictable.contains(key); });
    if (!has_outsider) return ForwardingPolicy::choose_victim(layer, evictable);
    return ForwardingPolicy::choose_victim(layer, Outside(evictable, *set_));
  }

  std::vector<ExpertId> ranked_residents(LayerId layer) const override {
    std::vector<ExpertId> ids = ForwardingPolicy::ranked_residents(layer);
    std::stable_partition(ids.begin(), ids.end(), [&](ExpertId id) {
      return set_->contains({layer, id});
    });
    return ids;
  }

 private:
  /// Brings outsiders_ up to date with the set.
  void update() {
    if (version_ == set_->version()) return;
    version_ = set_->version();
    outsiders_.clear();
    std::ranges::copy_if(residents_, std::inserter(outsiders_, outsiders_.end()),
                         [this](ExpertKey key) { return !set_->contains(key); });
  }

  const std::shared_ptr<const FixedSet> set_;
  std::set<ExpertKey> residents_;
  std::set<ExpertKey> outsiders_;  // of residents_, those outside the set of version_
  std::uint64_t version_ = 0;
};

}  // namespace

std::unique_ptr<ResidencyPolicy> make_pinned_policy(std::unique_ptr<ResidencyPolicy> inner,
                                                    std::shared_ptr<const FixedSet> set) {
  return std::make_unique<PinnedPolicy>(std::move(inner), std::move(set));
}

}  // namespace flashmoe
