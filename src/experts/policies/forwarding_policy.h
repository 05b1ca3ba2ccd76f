#ifndef FLASHMOE_EXPERTS_POLICIES_FORWARDING_POLICY_H_
#define FLASHMOE_EXPERTS_POLICIES_FORWARDING_POLICY_H_

#include <memory>
#include <utility>

#include "experts/residency_policy.h"

namespace flashmoe {

/// Passes everything on to another policy: for those that listen, or differ, in a function or two.
class ForwardingPolicy : public ResidencyPolicy {
 public:
  explicit ForwardingPolicy(std::unique_ptr<ResidencyPolicy> inner) : inner_(std::move(inner)) {}
  void set_slots(const LayerSlots& slots) override { inner_->set_slots(slots); }
  void on_routed(std::uint64_t step, LayerId layer, std::span<const ExpertId> routed,
                 const RowCounts& rows) override {
    inner_->on_routed(step, layer, routed, rows);
  }
  void on_loaded(ExpertKey key, LoadCause cause) override { inner_->on_loaded(key, cause); }
  void on_dropped(ExpertKey key) override { inner_->on_dropped(key); }
  ExpertKey choose_victim(LayerId layer, const EvictableSet& evictable) override {
    return inner_->choose_victim(layer, evictable);
  }
  bool keeps_unleased() const override { return inner_->keeps_unleased(); }
  std::vector<ExpertId> ranked_residents(LayerId layer) const override {
    return inner_->ranked_residents(layer);
  }

 private:
  std::unique_ptr<ResidencyPolicy> inner_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_POLICIES_FORWARDING_POLICY_H_
