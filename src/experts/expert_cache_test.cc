#include "experts/expert_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/units.h"
#include "experts/policies/forwarding_policy.h"
#include "experts/policies/lru.h"
#include "experts/testing/expert_files.h"
#include "experts/testing/expert_ids.h"
#include "experts/testing/held_read_queue.h"

namespace flashmoe {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Passes everything on to LRU and writes down what the cache said.
class RecordingPolicy final : public ForwardingPolicy {
 public:
  RecordingPolicy(std::span<const std::size_t> counts, std::vector<std::string>& calls)
      : ForwardingPolicy(make_lru_policy(counts)), calls_(calls) {}
  void set_slots(const LayerSlots& slots) override {
    calls_.push_back(fmt::format("{} slots", fmt::join(slots.counts, " and ")));
    ForwardingPolicy::set_slots(slots);
  }
  void on_routed(std::uint64_t step, LayerId layer, std::span<const ExpertId> routed,
                 const RowCounts& rows) override {
    calls_.push_back(fmt::format("step {}: {} of layer {}", step, routed.size(), layer.value));
    ForwardingPolicy::on_routed(step, layer, routed, rows);
  }
  void on_loaded(ExpertKey key, LoadCause cause) override {
    calls_.push_back(fmt::format("loaded {}/{}", key.layer.value, key.expert.value));
    ForwardingPolicy::on_loaded(key, cause);
  }
  void on_dropped(ExpertKey key) override {
    calls_.push_back(fmt::format("dropped {}/{}", key.layer.value, key.expert.value));
    ForwardingPolicy::on_dropped(key);
  }

 private:
  std::vector<std::string>& calls_;
};

// One layer of eight experts with one segment each, so one read per expert; reads are held back.
class ExpertCacheTest : public testing::Test {
 protected:
  void make(std::size_t slot_count) {
    auto inner = make_read_queue({.backend = IoBackend::kPread});
    ASSERT_TRUE(inner.ok());
    auto held = std::make_unique<HeldReadQueue>(std::move(*inner));
    queue_ = held.get();
    auto cache = ExpertCache::create(
        store_, std::make_unique<RecordingPolicy>(store_.expert_counts(), calls_), std::move(held),
        {.budget_bytes = slot_count * store_.slot_size()});
    ASSERT_TRUE(cache.ok()) << cache.status().message();
    cache_ = std::move(*cache);
  }

  Status acquire(std::initializer_list<int> experts, std::vector<ExpertLease>& leases) {
    leases.resize(experts.size());
    return cache_->acquire(step_++, LayerId{0}, ids(experts), leases);
  }
  std::vector<ExpertLease> acquire(std::initializer_list<int> experts) {
    std::vector<ExpertLease> leases;
    const Status status = acquire(experts, leases);
    EXPECT_TRUE(status.ok()) << status.message();
    return leases;
  }
  // Leaves `experts` resident and idle.
  void load(std::initializer_list<int> experts) {
    const std::vector<ExpertLease> leases = acquire(experts);
    queue_->let_end(leases.size());
    for (const ExpertLease& lease : leases) ASSERT_TRUE(lease.wait().ok());
  }
  bool resident(int expert) const { return cache_->is_resident({LayerId{0}, ids({expert})[0]}); }
  bool shows(const ExpertLease& lease, int expert) {
    const Result<ExpertView> view = lease.wait();
    return view.ok() && files_.matches(store_, {LayerId{0}, ids({expert})[0]}, *view);
  }

  const std::vector<ExpertFiles::LayerShape> shapes_ = {
      {.expert_count = 8, .segment_sizes = {20000}}};
  ExpertFiles files_{shapes_, 7};
  ExpertStore store_ = files_.open_store();
  std::vector<std::string> calls_;
  HeldReadQueue* queue_ = nullptr;
  std::unique_ptr<ExpertCache> cache_;
  std::uint64_t step_ = 0;
};

TEST_F(ExpertCacheTest, LeasesHitsAtOnceAndReadsAllMissesInOneBatch) {
  make(6);
  load({1, 4});
  const std::size_t batch_count = queue_->batch_count();
  const std::vector<ExpertLease> leases = acquire({4, 0, 1, 2});
  EXPECT_EQ(queue_->batch_count(), batch_count + 1);
  EXPECT_TRUE(leases[0].ready());
  EXPECT_TRUE(shows(leases[0], 4));
  EXPECT_TRUE(leases[2].ready());
  EXPECT_FALSE(leases[1].ready());
  queue_->let_end(2);
  EXPECT_TRUE(shows(leases[3], 2));
  EXPECT_TRUE(shows(leases[1], 0));
  EXPECT_EQ(cache_->resident_count(LayerId{0}), 4u);
  const ExpertCacheStatistics statistics = cache_->statistics();
  EXPECT_EQ(statistics.hit_count, 2u);
  EXPECT_EQ(statistics.miss_count, 4u);
  EXPECT_EQ(statistics.bytes_wanted, 4 * 20000u);
  EXPECT_GT(statistics.wait_seconds, 0);
}

TEST_F(ExpertCacheTest, WaitsForWhicheverArrivesFirst) {
  make(6);
  load({3});
  const std::vector<ExpertLease> leases = acquire({0, 1, 2, 3});
  const std::size_t with_resident[] = {0, 3};
  cache_->wait_any(leases, with_resident);  // does not wait, or it would for ever
  queue_->let_end(1);
  const std::size_t pending[] = {0, 1, 2};
  cache_->wait_any(leases, pending);
  EXPECT_EQ(leases[0].ready() + leases[1].ready() + leases[2].ready(), 1);
  queue_->let_end(2);
}

TEST_F(ExpertCacheTest, CountsFromTheStartWhatItsQueueHasReadBefore) {
  auto queue = make_read_queue({.backend = IoBackend::kPread});
  ASSERT_TRUE(queue.ok());
  std::vector<std::byte> bytes(100);
  const ReadRequest request{
      .file = &store_.file(0), .destination = bytes.data(), .size = bytes.size()};
  ASSERT_TRUE((*queue)->submit({&request, 1}).ok());
  ReadCompletion completion;
  ASSERT_EQ((*queue)->poll({&completion, 1}, /*wait=*/true), 1u);
  const auto cache = ExpertCache::create(store_, make_lru_policy(store_.expert_counts()),
                                         std::move(*queue), {.budget_bytes = store_.slot_size()});
  ASSERT_TRUE(cache.ok());
  EXPECT_EQ((*cache)->read_statistics().bytes_wanted, 100u);
}

TEST_F(ExpertCacheTest, SubmitsNothingForHits) {
  make(4);
  load({0, 1, 2});
  const std::size_t batch_count = queue_->batch_count();
  acquire({2, 0, 1});
  EXPECT_EQ(queue_->batch_count(), batch_count);
}

TEST_F(ExpertCacheTest, SharesAnExpertThatIsBeingRead) {
  make(4);
  const std::vector<ExpertLease> first = acquire({3});
  const std::vector<ExpertLease> second = acquire({3});
  EXPECT_EQ(queue_->batch_count(), 1u);
  EXPECT_EQ(cache_->statistics().hit_count, 1u);
  queue_->let_end(1);
  EXPECT_TRUE(shows(second[0], 3));
  EXPECT_TRUE(shows(first[0], 3));
}

TEST_F(ExpertCacheTest, KeepsALeasedExpertWhateverIsRouted) {
  make(3);
  load({6});
  queue_->let_end(HeldReadQueue::kAll);
  const std::vector<ExpertLease> kept = acquire({6});
  for (int i = 0; i < 20; ++i) {
    const std::vector<ExpertLease> leases = acquire({i % 5, (i + 1) % 5});
    ASSERT_TRUE(shows(leases[0], i % 5));
    ASSERT_TRUE(shows(leases[1], (i + 1) % 5));
  }
  EXPECT_TRUE(resident(6));
  EXPECT_TRUE(shows(kept[0], 6));
}

TEST_F(ExpertCacheTest, RefusesMoreThanTheSlotsHoldAndChangesNothing) {
  make(3);
  load({0, 1, 2});
  const std::vector<ExpertLease> kept = acquire({0, 1});
  calls_.clear();
  std::vector<ExpertLease> leases;
  const Status status = acquire({2, 5}, leases);
  EXPECT_EQ(status.code(), StatusCode::kOutOfBudget);
  EXPECT_THAT(status.message(), HasSubstr("layer 0 needs 2 experts at once"));
  EXPECT_THAT(status.message(), HasSubstr("--memory"));
  EXPECT_TRUE(resident(2));
  EXPECT_THAT(calls_, ElementsAre());
  EXPECT_TRUE(acquire({2}, leases).ok());
}

TEST_F(ExpertCacheTest, RefusesABudgetThatHoldsNoExpert) {
  auto queue = make_read_queue({.backend = IoBackend::kPread});
  ASSERT_TRUE(queue.ok());
  const auto cache =
      ExpertCache::create(store_, make_lru_policy(store_.expert_counts()), std::move(*queue),
                          {.budget_bytes = store_.slot_size() - 1});
  EXPECT_EQ(cache.status().code(), StatusCode::kOutOfBudget);
  EXPECT_THAT(cache.status().message(), HasSubstr("one takes " + format_size(store_.slot_size())));
}

TEST_F(ExpertCacheTest, ReleasesWhatTheLeasesHeldBefore) {
  make(2);
  queue_->let_end(HeldReadQueue::kAll);
  std::vector<ExpertLease> leases;
  for (int i = 0; i < 6; i += 2) {
    ASSERT_TRUE(acquire({i, i + 1}, leases).ok());
    ASSERT_TRUE(shows(leases[1], i + 1));
    ASSERT_TRUE(shows(leases[0], i));
  }
}

TEST_F(ExpertCacheTest, WaitsForSlotsWhenAllIdleOnesAreBeingRead) {
  make(2);
  acquire({0, 1});  // released at once, still being read
  queue_->let_end(1);
  const std::vector<ExpertLease> leases = acquire({2});  // 0 or 1 had to arrive, and go
  EXPECT_FALSE(resident(0) || resident(1));
  queue_->let_end(2);
  EXPECT_TRUE(shows(leases[0], 2));
}

TEST_F(ExpertCacheTest, TellsThePolicyWhatHappensInOrder) {
  make(2);
  queue_->let_end(HeldReadQueue::kAll);
  load({7, 3});
  acquire({5, 7});
  EXPECT_THAT(calls_, ElementsAre("2 slots", "step 0: 2 of layer 0", "loaded 0/7", "loaded 0/3",
                                  "step 1: 2 of layer 0", "dropped 0/3", "loaded 0/5"));
}

TEST_F(ExpertCacheTest, HitsDoNotWaitForAnotherThreadsDisk) {
  make(4);
  load({0});
  std::thread waiter([this] {
    const std::vector<ExpertLease> leases = acquire({1});
    EXPECT_TRUE(shows(leases[0], 1));
  });
  queue_->wait_for_waiter();
  // The disk does not move: all of this must be possible now.
  {
    const std::vector<ExpertLease> leases = acquire({0});
    EXPECT_TRUE(shows(leases[0], 0));
  }
  EXPECT_EQ(cache_->resident_count(LayerId{0}), 1u);
  queue_->let_end(HeldReadQueue::kAll);
  waiter.join();
}

}  // namespace
}  // namespace flashmoe
