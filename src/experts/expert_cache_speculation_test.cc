// Reads on a guess of what a lease will ask for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <utility>
#include <vector>

#include "experts/testing/held_cache.h"

namespace flashmoe {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

class ExpertCacheSpeculation : public HeldCache {
 protected:
  /// Makes `experts` resident, the first one the last to leave.
  void load(std::initializer_list<int> experts) {
    queue_->let_end(experts.size());
    for (const ExpertLease& lease : acquire(experts)) ASSERT_TRUE(lease.wait().ok());
  }
  std::size_t speculate(std::initializer_list<int> wanted, std::initializer_list<int> kept = {}) {
    return cache_->speculate(kLayer, ids(wanted), ids(kept)).value();
  }
  std::vector<std::size_t> missing(std::initializer_list<int> experts) const {
    std::vector<std::size_t> places;
    cache_->find_missing(kLayer, ids(experts), places);
    return places;
  }
  ExpertCacheStatistics statistics() const { return cache_->statistics(); }
};

TEST_F(ExpertCacheSpeculation, BeginsReadsWithoutWaiting) {
  make(8);
  load({2});
  EXPECT_EQ(speculate({5, 2, 6}), 2u);
  EXPECT_EQ(queue_->in_flight_count(), 2u);
  EXPECT_THAT(missing({5, 6, 7, 2}), ElementsAre(2)) << "what is being read is not missing";
  EXPECT_EQ(speculate({6, 5}), 0u);
  EXPECT_EQ(statistics().speculative_read_count, 2u);
  queue_->let_end(HeldReadQueue::kAll);
}

TEST_F(ExpertCacheSpeculation, AGuessThatComesTrueIsOneHit) {
  make(8);
  EXPECT_EQ(speculate({5, 6}), 2u);
  {
    const std::vector<ExpertLease> leases = acquire({5, 1});  // 5 still on its way
    EXPECT_EQ(queue_->batch_count(), 2u);
    queue_->let_end(HeldReadQueue::kAll);
    EXPECT_TRUE(shows(leases[0], 5) && shows(leases[1], 1));
  }
  EXPECT_EQ(statistics().hit_count, 1u);
  EXPECT_EQ(statistics().miss_count, 1u);
  EXPECT_EQ(statistics().speculative_hit_count, 1u);
  acquire({5, 6});  // 6 has arrived; 5 is a resident like others now
  EXPECT_EQ(statistics().speculative_hit_count, 2u);
  acquire({5, 6});
  EXPECT_EQ(statistics().speculative_hit_count, 2u);
  EXPECT_EQ(statistics().prefetch_count, 0u);
}

TEST_F(ExpertCacheSpeculation, EvictsByThePolicyButNobodyWhoIsKept) {
  make(3);
  load({3, 2, 1});  // 1 would leave first, then 2
  EXPECT_EQ(speculate({5}, {5, 1}), 1u);
  EXPECT_THAT(missing({1, 2, 3, 5}), ElementsAre(1));
  queue_->let_end(HeldReadQueue::kAll);
}

TEST_F(ExpertCacheSpeculation, AGuessThatDoesNotComeTrueLeavesFirst) {
  make(3);
  load({1, 2});
  queue_->let_end(HeldReadQueue::kAll);
  EXPECT_EQ(speculate({5}), 1u);
  acquire({2, 1});
  acquire({3});
  EXPECT_THAT(missing({1, 2, 3, 5}), ElementsAre(3));
}

TEST_F(ExpertCacheSpeculation, TakesNoSlotThatIsLeasedOrBeingReadInto) {
  make(3);
  queue_->let_end(2);
  const std::vector<ExpertLease> leases = acquire({1, 2});
  EXPECT_TRUE(shows(leases[0], 1) && shows(leases[1], 2));
  EXPECT_EQ(speculate({5, 6}), 1u);
  EXPECT_EQ(speculate({7}), 0u);
  EXPECT_THAT(missing({1, 2, 5}), ElementsAre());
  queue_->let_end(HeldReadQueue::kAll);
}

TEST_F(ExpertCacheSpeculation, LooksFirstWhatHasArrived) {
  make(2);
  EXPECT_EQ(speculate({5, 6}), 2u);
  EXPECT_EQ(speculate({7}), 0u);
  queue_->let_end(1);  // 5 or 6, and nobody asks for it
  EXPECT_EQ(speculate({7}), 1u);
  EXPECT_THAT(missing({5, 6}), SizeIs(1));
  queue_->let_end(HeldReadQueue::kAll);
}

TEST_F(ExpertCacheSpeculation, GivesUpItsSlotsToLeases) {
  make(2);
  EXPECT_EQ(speculate({5, 6}), 2u);
  queue_->let_end(HeldReadQueue::kAll);
  const std::vector<ExpertLease> leases = acquire({0, 1});
  EXPECT_TRUE(shows(leases[0], 0) && shows(leases[1], 1));
  EXPECT_EQ(statistics().speculative_hit_count, 0u);
}

TEST_F(ExpertCacheSpeculation, BeginsNothingWhileAThreadWaitsInTheQueue) {
  make(8);
  const std::vector<ExpertLease> leases = acquire({0});
  std::thread waiter([&] { EXPECT_TRUE(shows(leases[0], 0)); });
  queue_->wait_for_waiter();
  EXPECT_EQ(speculate({5}), 0u);
  queue_->let_end(HeldReadQueue::kAll);
  waiter.join();
  EXPECT_EQ(speculate({5}), 1u);
}

TEST_F(ExpertCacheSpeculation, KeepsPrefetchesBack) {
  make(8);
  EXPECT_EQ(speculate({5}), 1u);
  const std::vector<ExpertKey> wanted = {{kLayer, ids({1})[0]}};
  EXPECT_EQ(cache_->prefetch(wanted)->done_count, 0u);
  queue_->let_end(HeldReadQueue::kAll);
  while (cache_->prefetch(wanted)->done_count == 0) {
  }
  EXPECT_EQ(cache_->prefetch({})->is_full, false);
}

TEST_F(ExpertCacheSpeculation, TimesReadsThatWereWaitedFor) {
  make(8);
  {
    const std::vector<ExpertLease> leases = acquire({0, 1});
    queue_->let_end(2);
    EXPECT_TRUE(shows(leases[0], 0) && shows(leases[1], 1));
  }
  EXPECT_EQ(statistics().timed_read_count, 2u);
  EXPECT_GT(statistics().timed_reading_seconds, 0);
  EXPECT_EQ(speculate({5}), 1u);
  queue_->let_end(HeldReadQueue::kAll);
  while (!acquire({5})[0].ready()) {
  }
  EXPECT_EQ(statistics().timed_read_count, 2u) << "it may have ended long before";
  EXPECT_GT(statistics().reading_seconds, statistics().timed_reading_seconds);
}

}  // namespace
}  // namespace flashmoe
