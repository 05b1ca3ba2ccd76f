#include "experts/expert_prefetcher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <thread>
#include <utility>

#include "experts/policies/lfu.h"
#include "experts/testing/expert_files.h"
#include "io/testing/faulty_read_queue.h"

namespace flashmoe {
namespace {

class ExpertPrefetcherTest : public testing::TestWithParam<IoBackend> {
 protected:
  void SetUp() override {
    if (!make_read_queue({.backend = GetParam()}).ok()) GTEST_SKIP() << "not available here";
    for (std::uint32_t l = 0; l < store_.layer_count(); ++l) {
      for (std::uint16_t e = 0; e < store_.expert_count({l}); ++e) all_.push_back({{l}, {e}});
    }
  }
  void make(std::size_t slot_count, FaultScript script = {}) {
    auto queue = std::make_unique<FaultyReadQueue>(make_read_queue({.backend = GetParam()}).value(),
                                                   std::move(script));
    cache_ = ExpertCache::create(store_, make_lfu_policy(store_.expert_counts()), std::move(queue),
                                 {.budget_bytes = slot_count * store_.slot_size()})
                 .value();
  }
  std::size_t resident_count() const {
    std::size_t count = 0;
    for (const ExpertKey key : all_) count += cache_->is_resident(key) ? 1 : 0;
    return count;
  }

  const ExpertFiles files_{ExpertFiles::mixed_shapes(), 13};
  const ExpertStore store_ = files_.open_store();
  std::vector<ExpertKey> all_;
  std::unique_ptr<ExpertCache> cache_;
};

TEST_P(ExpertPrefetcherTest, ReadsEverythingThatFits) {
  for (const std::size_t slot_count : {std::size_t{5}, all_.size()}) {
    make(slot_count);
    const ExpertPrefetcher prefetcher(*cache_, all_);
    while (resident_count() < slot_count) std::this_thread::yield();
    EXPECT_EQ(cache_->statistics().prefetch_count, slot_count);
  }
}

TEST_P(ExpertPrefetcherTest, TakesTheRoomOfWhoIsNotWanted) {
  make(5);
  {
    const ExpertPrefetcher first(*cache_, {all_.end() - 5, all_.end()});
    while (resident_count() < 5) std::this_thread::yield();
  }
  const std::vector<ExpertKey> wanted(all_.begin(), all_.begin() + 4);
  const ExpertPrefetcher prefetcher(*cache_, wanted, ExpertPrefetcher::Room::kOfOthers);
  const auto is_here = [this](ExpertKey key) { return cache_->is_resident(key); };
  while (!std::ranges::all_of(wanted, is_here)) std::this_thread::yield();
}

TEST_P(ExpertPrefetcherTest, CanBeStoppedAtAnyTime) {
  for (int i = 0; i < 20; ++i) {
    make(all_.size());
    const ExpertPrefetcher prefetcher(*cache_, all_);
    for (int j = 0; j < i; ++j) std::this_thread::yield();
  }
}

TEST_P(ExpertPrefetcherTest, FailuresHarmNobody) {
  constexpr std::uint64_t kSeed = 3;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  for (const auto room : {ExpertPrefetcher::Room::kFreeSlots, ExpertPrefetcher::Room::kOfOthers}) {
    const bool is_tight = room == ExpertPrefetcher::Room::kOfOthers;
    make(is_tight ? all_.size() / 2 : all_.size(),
         seeded_faults({.seed = kSeed, .failure_rate = 0.2}));
    const ExpertPrefetcher prefetcher(*cache_, {all_.begin(), all_.begin() + 4}, room);
    std::mt19937_64 random(kSeed);
    std::vector<ExpertLease> lease(1);
    for (std::uint64_t step = 0; step < 200; ++step) {
      const ExpertKey key = all_[random() % all_.size()];
      ASSERT_TRUE(cache_->acquire(step, key.layer, {&key.expert, 1}, lease).ok());
      const Result<ExpertView> view = lease[0].wait();
      EXPECT_TRUE(!view.ok() || files_.matches(store_, key, *view));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, ExpertPrefetcherTest,
                         testing::Values(IoBackend::kIoUring, IoBackend::kPread),
                         [](const auto& info) { return std::string(to_string(info.param)); });

}  // namespace
}  // namespace flashmoe
