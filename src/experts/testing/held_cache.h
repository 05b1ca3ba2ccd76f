#ifndef FLASHMOE_EXPERTS_TESTING_HELD_CACHE_H_
#define FLASHMOE_EXPERTS_TESTING_HELD_CACHE_H_

#include <gtest/gtest.h>

#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

#include "experts/expert_cache.h"
#include "experts/policies/lru.h"
#include "experts/testing/expert_files.h"
#include "experts/testing/expert_ids.h"
#include "experts/testing/held_read_queue.h"

namespace flashmoe {

/// A cache with LRU over one layer of eight experts with one read each; reads are held back.
class HeldCache : public testing::Test {
 protected:
  static constexpr LayerId kLayer{0};

  static std::vector<ExpertKey> keys(std::initializer_list<int> experts) {
    std::vector<ExpertKey> result;
    for (const ExpertId id : ids(experts)) result.push_back({kLayer, id});
    return result;
  }

  void make(std::size_t slot_count) {
    auto inner = make_read_queue({.backend = IoBackend::kPread});
    ASSERT_TRUE(inner.ok());
    auto held = std::make_unique<HeldReadQueue>(std::move(*inner));
    queue_ = held.get();
    auto cache =
        ExpertCache::create(store_, make_lru_policy(store_.expert_counts()), std::move(held),
                            {.budget_bytes = slot_count * store_.slot_size()});
    ASSERT_TRUE(cache.ok()) << cache.status().message();
    cache_ = std::move(*cache);
  }
  std::vector<ExpertLease> acquire(std::initializer_list<int> experts) {
    std::vector<ExpertLease> leases(experts.size());
    const Status status = cache_->acquire(step_++, kLayer, ids(experts), leases);
    EXPECT_TRUE(status.ok()) << status.message();
    return leases;
  }
  bool shows(const ExpertLease& lease, int expert) {
    const Result<ExpertView> view = lease.wait();
    return view.ok() && files_.matches(store_, keys({expert})[0], *view);
  }

  const std::vector<ExpertFiles::LayerShape> shapes_ = {
      {.expert_count = 8, .segment_sizes = {20000}}};
  ExpertFiles files_{shapes_, 7};
  ExpertStore store_ = files_.open_store();
  HeldReadQueue* queue_ = nullptr;
  std::unique_ptr<ExpertCache> cache_;
  std::uint64_t step_ = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_TESTING_HELD_CACHE_H_
