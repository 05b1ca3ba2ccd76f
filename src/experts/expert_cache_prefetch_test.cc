// Experts that are read before anybody asks for them: in free slots or those of others, and after
// what somebody waits for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <utility>
#include <vector>

#include "experts/testing/held_cache.h"

namespace flashmoe {
namespace {

class ExpertCachePrefetch : public HeldCache {
 protected:
  PrefetchProgress prefetch(std::initializer_list<int> experts) {
    const Result<PrefetchProgress> progress = cache_->prefetch(keys(experts));
    EXPECT_TRUE(progress.ok()) << progress.status().message();
    return progress.ok() ? *progress : PrefetchProgress();
  }
  bool resident(int expert) const { return cache_->is_resident(keys({expert})[0]); }
};

TEST_F(ExpertCachePrefetch, HasAFewInFlightAndGoesOnAsTheyArrive) {
  make(8);
  PrefetchProgress progress = prefetch({4, 1, 6});
  EXPECT_EQ(progress.done_count, 2u);
  EXPECT_EQ(progress.reading_count, 2u);
  EXPECT_EQ(queue_->in_flight_count(), 2u);
  EXPECT_EQ(prefetch({6}).done_count, 0u);
  queue_->let_end(1);
  EXPECT_EQ(prefetch({6}).done_count, 1u);
  EXPECT_EQ(queue_->in_flight_count(), 2u);
  queue_->let_end(HeldReadQueue::kAll);
  while (prefetch({}).reading_count > 0) {
  }
  EXPECT_TRUE(resident(4) && resident(1) && resident(6));
  const ExpertCacheStatistics statistics = cache_->statistics();
  EXPECT_EQ(statistics.prefetch_count, 3u);
  EXPECT_EQ(statistics.hit_count + statistics.miss_count, 0u);
  EXPECT_EQ(statistics.bytes_wanted, 3 * 20000u);
}

TEST_F(ExpertCachePrefetch, PassesOverWhatIsHere) {
  make(8);
  queue_->let_end(HeldReadQueue::kAll);
  for (const ExpertLease& lease : acquire({2, 5})) ASSERT_TRUE(lease.wait().ok());
  const std::size_t batch_count = queue_->batch_count();
  EXPECT_EQ(prefetch({5, 2}).done_count, 2u);
  EXPECT_EQ(queue_->batch_count(), batch_count);
}

TEST_F(ExpertCachePrefetch, EvictsNobody) {
  make(3);
  queue_->let_end(HeldReadQueue::kAll);
  for (const ExpertLease& lease : acquire({0, 1})) ASSERT_TRUE(lease.wait().ok());
  const PrefetchProgress progress = prefetch({5, 6});
  EXPECT_EQ(progress.done_count, 1u);
  EXPECT_TRUE(progress.is_full);
  EXPECT_TRUE(resident(0) && resident(1));
  EXPECT_EQ(cache_->statistics().eviction_count, 0u);
}

TEST_F(ExpertCachePrefetch, MakesRoomWhereItMayButNotWithWhoIsKept) {
  make(3);
  queue_->let_end(HeldReadQueue::kAll);
  for (const int expert : {0, 1, 2}) ASSERT_TRUE(acquire({expert})[0].wait().ok());
  const std::vector<ExpertKey> wanted = keys({0, 5, 6});
  // By LRU 0 would be the first to leave.
  PrefetchProgress progress = cache_->prefetch(wanted, wanted).value();
  EXPECT_EQ(progress.done_count, 3u);
  while (prefetch({}).reading_count > 0) {
  }
  EXPECT_TRUE(resident(0) && resident(5) && resident(6));
  const std::vector<ExpertKey> more = keys({0, 5, 6, 7});
  progress = cache_->prefetch(more, more).value();
  EXPECT_EQ(progress.done_count, 3u);
  EXPECT_TRUE(progress.is_full);
}

TEST_F(ExpertCachePrefetch, LeavesLeasedExpertsWhereTheyAre) {
  make(2);
  queue_->let_end(HeldReadQueue::kAll);
  const std::vector<ExpertLease> leases = acquire({0, 1});
  for (const ExpertLease& lease : leases) ASSERT_TRUE(lease.wait().ok());
  const PrefetchProgress progress = cache_->prefetch(keys({5}), keys({5})).value();
  EXPECT_TRUE(progress.is_full);
  EXPECT_TRUE(shows(leases[0], 0) && shows(leases[1], 1));
}

TEST_F(ExpertCachePrefetch, BeginsNothingWhileSomebodyWaitsForTheDisk) {
  make(8);
  {
    const std::vector<ExpertLease> leases = acquire({0});
    EXPECT_EQ(prefetch({5}).done_count, 0u);
    std::thread waiter([&] { EXPECT_TRUE(shows(leases[0], 0)); });
    queue_->wait_for_waiter();
    EXPECT_EQ(prefetch({5}).done_count, 0u);  // and returns, though the disk does not move
    queue_->let_end(1);
    waiter.join();
    EXPECT_EQ(prefetch({5}).done_count, 1u);  // a lease on a resident waits for nothing
  }
  queue_->let_end(HeldReadQueue::kAll);
}

TEST_F(ExpertCachePrefetch, MissesDoNotWaitForIt) {
  make(8);
  prefetch({5, 6});
  const std::vector<ExpertLease> leases = acquire({0, 1});
  EXPECT_EQ(queue_->in_flight_count(), 4u);
  queue_->let_end(HeldReadQueue::kAll);
  EXPECT_TRUE(shows(leases[0], 0) && shows(leases[1], 1));
}

TEST_F(ExpertCachePrefetch, AnExpertBeingReadIsLeasedAsAHit) {
  make(8);
  prefetch({5});
  const std::vector<ExpertLease> leases = acquire({5});
  EXPECT_EQ(queue_->batch_count(), 1u);
  EXPECT_EQ(cache_->statistics().hit_count, 1u);
  EXPECT_FALSE(leases[0].ready());
  EXPECT_EQ(prefetch({6}).done_count, 0u);  // somebody waits for 5 now
  queue_->let_end(1);
  EXPECT_TRUE(shows(leases[0], 5));
  EXPECT_EQ(prefetch({}).reading_count, 0u);
  EXPECT_EQ(cache_->statistics().prefetch_count, 1u);
}

TEST_F(ExpertCachePrefetch, GivesUpItsSlotsAsSoonAsTheyArrive) {
  make(2);
  prefetch({5, 6});
  queue_->let_end(1);
  const std::vector<ExpertLease> leases = acquire({0});  // 5 or 6 had to arrive, and go
  EXPECT_FALSE(resident(5) || resident(6));
  queue_->let_end(2);
  EXPECT_TRUE(shows(leases[0], 0));
}

TEST_F(ExpertCachePrefetch, TheResidentSetHasItInThePolicysOrder) {
  make(4);
  queue_->let_end(HeldReadQueue::kAll);
  prefetch({5});
  acquire({3, 2});
  EXPECT_EQ(cache_->resident_set(), (ResidentSet{.layers = {{{3}, {2}, {5}}}}));
}

}  // namespace
}  // namespace flashmoe
