#include "experts/policies/lazy.h"

#include <utility>

#include "experts/policies/lru.h"

namespace flashmoe {
namespace {

/// LRU for what has to be decided while leases last.
class LazyPolicy final : public ResidencyPolicy {
 public:
  explicit LazyPolicy(std::unique_ptr<ResidencyPolicy> lru) : lru_(std::move(lru)) {}

  void set_slot_count(std::size_t slot_count) override { lru_->set_slot_count(slot_count); }
  void on_routed(std::uint64_t step, LayerId layer, std::span<const ExpertId> routed) override {
    lru_->on_routed(step, layer, routed);
  }
  void on_loaded(ExpertKey key, LoadCause cause) override { lru_->on_loaded(key, cause); }
  void on_dropped(ExpertKey key) override { lru_->on_dropped(key); }
  ExpertKey choose_victim(LayerId layer, const EvictableSet& evictable) override {
    return lru_->choose_victim(layer, evictable);
  }
  bool keeps_unleased() const override { return false; }
  std::vector<ExpertId> ranked_residents(LayerId layer) const override {
    return lru_->ranked_residents(layer);
  }

 private:
  const std::unique_ptr<ResidencyPolicy> lru_;
};

}  // namespace

std::unique_ptr<ResidencyPolicy> make_lazy_policy(std::span<const std::size_t> expert_counts) {
  return std::make_unique<LazyPolicy>(make_lru_policy(expert_counts));
}

}  // namespace flashmoe
