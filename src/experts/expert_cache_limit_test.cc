// ExpertCache::set_slot_limit: fewer slots while the cache is in use, and more again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "base/memory_info.h"
#include "experts/expert_cache.h"
#include "experts/policies/residency_policies.h"
#include "experts/testing/expert_files.h"
#include "experts/testing/expert_ids.h"
#include "experts/testing/held_read_queue.h"

namespace flashmoe {
namespace {

using testing::HasSubstr;

// Two layers of eight experts with one segment each; reads are held back.
class ExpertCacheLimitTest : public testing::TestWithParam<std::string_view> {
 protected:
  void make(std::size_t slot_count) {
    auto held =
        std::make_unique<HeldReadQueue>(make_read_queue({.backend = IoBackend::kPread}).value());
    queue_ = held.get();
    cache_ = ExpertCache::create(store_, make_residency_policy(GetParam(), store_.expert_counts()),
                                 std::move(held), {.budget_bytes = slot_count * store_.slot_size()})
                 .value();
  }
  std::vector<ExpertLease> acquire(std::uint32_t layer, std::initializer_list<int> experts) {
    std::vector<ExpertLease> leases(experts.size());
    status_ = cache_->acquire(step_++, LayerId{layer}, ids(experts), leases);
    return leases;
  }
  void load(std::uint32_t layer, std::initializer_list<int> experts) {
    const std::vector<ExpertLease> leases = acquire(layer, experts);
    ASSERT_TRUE(status_.ok()) << status_.message();
    queue_->let_end(leases.size());
    for (std::size_t i = 0; i < leases.size(); ++i) {
      const Result<ExpertView> view = leases[i].wait();
      ASSERT_TRUE(view.ok());
      ASSERT_TRUE(files_.matches(store_, {LayerId{layer}, ids(experts)[i]}, *view));
    }
  }
  bool resident(std::uint32_t layer, int expert) const {
    return cache_->is_resident({LayerId{layer}, ids({expert})[0]});
  }

  static constexpr std::uint64_t kExpertSize = std::uint64_t{1} << 20;
  const std::vector<ExpertFiles::LayerShape> shapes_ = {
      {.expert_count = 8, .segment_sizes = {kExpertSize}},
      {.expert_count = 8, .segment_sizes = {kExpertSize}}};
  ExpertFiles files_{shapes_, 7};
  ExpertStore store_ = files_.open_store();
  HeldReadQueue* queue_ = nullptr;
  std::unique_ptr<ExpertCache> cache_;
  Status status_;
  std::uint64_t step_ = 0;
};

TEST_P(ExpertCacheLimitTest, EmptySlotsGoBeforeExperts) {
  make(8);
  load(0, {0, 1, 2});
  EXPECT_EQ(cache_->used_slot_count(), 3u);
  EXPECT_EQ(cache_->set_slot_limit(3), 3u);
  EXPECT_EQ(cache_->slot_limit(), 3u);
  EXPECT_EQ(cache_->slot_count(), 8u);
  EXPECT_EQ(cache_->used_slot_count(), 3u);
  EXPECT_EQ(cache_->resident_count(LayerId{0}), 3u);
  EXPECT_EQ(cache_->statistics().eviction_count, 0u);
  load(0, {3});
  EXPECT_EQ(cache_->resident_count(LayerId{0}), 3u) << "an empty slot above the limit was used";
  EXPECT_EQ(cache_->statistics().eviction_count, 1u);
  EXPECT_EQ(cache_->statistics().limit_eviction_count, 0u);
}

TEST_P(ExpertCacheLimitTest, TheColdestOfTheFullestLayerLeaves) {
  make(8);
  for (const int expert : {4, 2, 7, 1, 0}) load(0, {expert});
  for (const int expert : {3, 5, 6}) load(1, {expert});
  EXPECT_EQ(cache_->set_slot_limit(5), 5u);
  for (const int expert : {1, 0}) EXPECT_TRUE(resident(0, expert)) << expert;
  for (const int expert : {3, 5, 6}) EXPECT_TRUE(resident(1, expert)) << expert;
  EXPECT_EQ(cache_->statistics().limit_eviction_count, 3u);
  EXPECT_EQ(cache_->statistics().eviction_count, 3u);
}

TEST_P(ExpertCacheLimitTest, LeasedExpertsAndReadsInFlightStay) {
  make(4);
  load(0, {0, 1});
  std::vector<ExpertLease> kept = acquire(0, {1});
  { const std::vector<ExpertLease> nobody_waits_for = acquire(1, {6}); }
  EXPECT_EQ(cache_->set_slot_limit(1), 2u);
  EXPECT_EQ(cache_->slot_limit(), 2u);
  EXPECT_FALSE(resident(0, 0));
  EXPECT_TRUE(resident(0, 1));
  load(1, {6});
  EXPECT_EQ(cache_->set_slot_limit(1), 1u);
  EXPECT_FALSE(resident(1, 6));
  EXPECT_TRUE(files_.matches(store_, {LayerId{0}, ExpertId{1}}, kept[0].wait().value()));
}

TEST_P(ExpertCacheLimitTest, TooFewSlotsAreAnErrorThatNamesThoseThereAre) {
  make(8);
  cache_->set_slot_limit(3);
  acquire(0, {0, 1, 2, 3});
  EXPECT_EQ(status_.code(), StatusCode::kOutOfBudget);
  EXPECT_THAT(status_.message(), HasSubstr("of 3 slots"));
  EXPECT_THAT(status_.message(), HasSubstr("short of memory"));
  cache_->set_slot_limit(8);
  load(0, {0, 1, 2, 3});
}

TEST_P(ExpertCacheLimitTest, SlotsTakenBackAreUsedAgain) {
  make(8);
  load(0, {0, 1, 2, 3, 4, 5, 6, 7});
  cache_->set_slot_limit(2);
  load(1, {0, 1});
  EXPECT_EQ(cache_->set_slot_limit(6), 6u);
  load(1, {0, 1, 2, 3, 4, 5});
  EXPECT_EQ(cache_->resident_count(LayerId{1}), 6u);
  EXPECT_EQ(cache_->set_slot_limit(8), 8u);
  load(0, {0, 1});
  EXPECT_EQ(cache_->used_slot_count(), 8u);
}

TEST_P(ExpertCacheLimitTest, TheMemoryOfSlotsAboveTheLimitGoesBack) {
  make(16);
  for (const std::uint32_t layer : {0u, 1u}) load(layer, {0, 1, 2, 3, 4, 5, 6, 7});
  const std::uint64_t full = read_process_memory().rss_bytes;
  // All but one: each huge page is then free as a whole, but for the last expert's.
  ASSERT_EQ(cache_->set_slot_limit(1), 1u);
  constexpr std::uint64_t kSlack = 4 * kExpertSize;
  EXPECT_LE(read_process_memory().rss_bytes + 15 * kExpertSize, full + kSlack);
}

// Any sequence of limits, with leases held and reads in flight: never more slots in use than the
// limit that was returned, and every expert shows the file's bytes.
TEST_P(ExpertCacheLimitTest, HoldsWhileTheLimitMovesAtRandom) {
  constexpr std::uint64_t kSeed = 20261127;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::mt19937_64 random(kSeed);
  make(12);
  queue_->let_end(HeldReadQueue::kAll);
  struct Held {
    ExpertKey key;
    ExpertLease lease;
  };
  std::vector<Held> held;
  for (int i = 0; i < 500; ++i) {
    if (random() % 3 == 0) {
      const std::size_t wanted = 1 + random() % 12;
      const std::size_t limit = cache_->set_slot_limit(wanted);
      ASSERT_GE(limit, wanted);
      ASSERT_EQ(limit, cache_->slot_limit());
    }
    const ExpertKey key{LayerId{static_cast<std::uint32_t>(random() % 2)},
                        ExpertId{static_cast<std::uint16_t>(random() % 8)}};
    ExpertLease lease;
    if (cache_->acquire(step_++, key.layer, {&key.expert, 1}, {&lease, 1}).ok()) {
      held.push_back({key, std::move(lease)});
    } else {
      ASSERT_GE(held.size(), cache_->slot_limit());
    }
    ASSERT_LE(cache_->used_slot_count(), cache_->slot_limit());
    if (!held.empty() && random() % 2 == 0) {
      const Held& some = held[random() % held.size()];
      ASSERT_TRUE(files_.matches(store_, some.key, some.lease.wait().value()));
    }
    while (held.size() > random() % 6) {
      held.erase(held.begin() + static_cast<std::ptrdiff_t>(random() % held.size()));
    }
  }
  EXPECT_GT(cache_->statistics().limit_eviction_count, 0u);
}

// Layers 0 and 1 take slots of 1 MiB and more, layer 2 of 2.
class ExpertCacheSizesTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kMib = std::uint64_t{1} << 20;

  void make(std::uint64_t budget_bytes) {
    cache_ = ExpertCache::create(store_, make_residency_policy("lfu", store_.expert_counts()),
                                 make_read_queue({.backend = IoBackend::kPread}).value(),
                                 {.budget_bytes = budget_bytes, .experts_at_once = 2})
                 .value();
  }
  std::vector<ExpertLease> load(std::uint32_t layer, std::initializer_list<int> experts) {
    std::vector<ExpertLease> leases(experts.size());
    const Status status = cache_->acquire(step_++, LayerId{layer}, ids(experts), leases);
    EXPECT_TRUE(status.ok()) << status.message();
    for (std::size_t i = 0; i < leases.size(); ++i) {
      EXPECT_TRUE(files_.matches(store_, {{layer}, ids(experts)[i]}, leases[i].wait().value()));
    }
    return leases;
  }
  std::uint64_t small() const { return store_.slot_size({0}); }
  std::uint64_t large() const { return store_.slot_size({2}); }

  const std::vector<ExpertFiles::LayerShape> shapes_ = {
      {.expert_count = 8, .segment_sizes = {kMib}},
      {.expert_count = 8, .segment_sizes = {kMib}},
      {.expert_count = 8, .segment_sizes = {2 * kMib}}};
  ExpertFiles files_{shapes_, 7};
  ExpertStore store_ = files_.open_store();
  std::unique_ptr<ExpertCache> cache_;
  std::uint64_t step_ = 0;
};

TEST_F(ExpertCacheSizesTest, AnExpertTakesASlotOfItsOwnSize) {
  make(4 * large() + 8 * small());
  EXPECT_EQ(cache_->slot_count(), 12u);
  EXPECT_EQ(cache_->slot_limit(LayerId{0}), 8u);
  EXPECT_EQ(cache_->slot_limit(LayerId{2}), 4u);
  load(2, {0, 1, 2, 3});
  load(0, {0, 1, 2, 3});
  EXPECT_EQ(cache_->used_bytes(), 4 * large() + 4 * small());
  load(2, {4});
  EXPECT_EQ(cache_->resident_count(LayerId{2}), 4u) << "no small slots make a large one";
  EXPECT_EQ(cache_->resident_count(LayerId{0}), 4u);
  load(1, {0, 1, 2, 3, 4});
  EXPECT_EQ(cache_->resident_count(LayerId{0}), 3u) << "layers of one size share";
  EXPECT_EQ(cache_->used_bytes(), cache_->byte_limit());
}

TEST_F(ExpertCacheSizesTest, ALimitLeavesWhatASmallerBudgetWouldHaveBought) {
  make(4 * large() + 8 * small());
  for (const std::uint32_t layer : {0u, 1u, 2u}) load(layer, {0, 1, 2, 3});
  const std::uint64_t full = read_process_memory().rss_bytes;
  EXPECT_EQ(cache_->set_byte_limit(2 * large() + 4 * small() + small() - 1),
            2 * large() + 4 * small());
  EXPECT_EQ(cache_->slot_limit(LayerId{2}), 2u);
  EXPECT_EQ(cache_->slot_limit(LayerId{1}), 4u);
  EXPECT_EQ(cache_->statistics().limit_eviction_count, 6u);
  EXPECT_LE(read_process_memory().rss_bytes + 2 * large() + 4 * small(), full + 3 * kMib);
  EXPECT_EQ(cache_->set_byte_limit(cache_->slot_plan().byte_size()), 4 * large() + 8 * small());
  for (const std::uint32_t layer : {0u, 1u, 2u}) load(layer, {0, 1, 2, 3});
  EXPECT_EQ(cache_->used_bytes(), cache_->byte_limit());
}

TEST_F(ExpertCacheSizesTest, LeasesOfOneSizeKeepNoSlotsOfAnother) {
  make(4 * large() + 8 * small());
  const std::vector<ExpertLease> kept = load(2, {0, 1, 2});
  load(0, {0, 1, 2, 3});
  const std::uint64_t reached = cache_->set_byte_limit(2 * large() + 4 * small());
  EXPECT_EQ(reached, 3 * large() + 4 * small());
  ExpertLease none;
  const std::vector<ExpertId> wanted = ids({4});
  const Status status = cache_->acquire(9, LayerId{2}, wanted, {&none, 1});
  EXPECT_EQ(status.code(), StatusCode::kOutOfBudget);
  EXPECT_THAT(status.message(), HasSubstr("of 3 slots"));
  EXPECT_THAT(status.message(), HasSubstr("short of memory"));
}

TEST_F(ExpertCacheSizesTest, PrefetchesFillWhatHasRoom) {
  make(2 * large() + 8 * small());
  std::vector<ExpertKey> wanted;
  for (const std::uint32_t layer : {2u, 0u, 1u}) {
    for (const ExpertId id : ids({0, 1, 2, 3, 4})) wanted.push_back({{layer}, id});
  }
  std::span<const ExpertKey> rest = wanted;
  for (;;) {
    const PrefetchProgress progress = cache_->prefetch(rest).value();
    rest = rest.subspan(progress.done_count);
    if ((rest.empty() || progress.is_full) && progress.reading_count == 0) break;
  }
  EXPECT_EQ(cache_->used_bytes(), cache_->byte_limit());
  EXPECT_EQ(cache_->resident_count(LayerId{2}), cache_->slot_limit(LayerId{2}));
  EXPECT_EQ(cache_->resident_count(LayerId{0}), 5u);
}

INSTANTIATE_TEST_SUITE_P(Policies, ExpertCacheLimitTest, testing::ValuesIn(kResidencyPolicies),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace flashmoe
