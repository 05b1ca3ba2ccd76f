// The whole way from the kernel's files to the cache's slots, in a made-up file system.
#include "engine/pressure_watch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "base/testing/repository.h"
#include "base/testing/temporary_folder.h"
#include "engine/model_files.h"
#include "experts/policies/residency_policies.h"
#include "experts/testing/expert_files.h"

namespace flashmoe {
namespace {

using std::chrono::seconds;

class PressureWatchTest : public testing::Test {
 protected:
  PressureWatchTest() {
    root_.write("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 20 kB\n");
    write_stalls(123456);
    cache_ = ExpertCache::create(
                 files_->store(),
                 make_residency_policy(kDefaultResidencyPolicy, files_->store().expert_counts()),
                 make_read_queue({}).value(), {.budget_bytes = 64 * files_->store().slot_size()})
                 .value();
  }

  void write_stalls(std::uint64_t total_us) const {
    root_.write("proc/pressure/memory",
                fmt::format("some avg10=0.00 avg60=0.00 avg300=0.00 total={}\n", total_us));
  }
  void load(std::uint16_t count) {
    for (std::uint16_t e = 0; e < count; ++e) {
      const ExpertId expert{e};
      ExpertLease lease;
      ASSERT_TRUE(cache_->acquire(e, LayerId{0}, {&expert, 1}, {&lease, 1}).ok());
      ASSERT_TRUE(lease.wait().ok());
    }
  }

  const TemporaryFolder root_;
  const std::unique_ptr<ModelFiles> files_ =
      ModelFiles::open(source_folder() / "models" / "sprout-89m-4bit").value();
  std::unique_ptr<ExpertCache> cache_;
  CacheGovernor::TimePoint now_;
};

TEST_F(PressureWatchTest, ShrinksTheCacheUnderPressureAndGrowsItAfterwards) {
  load(16);
  PressureWatch watch(MemoryPressureProbe(root_.path()), *cache_, 4);
  watch.look(now_);
  EXPECT_EQ(cache_->slot_limit(), 64u);
  write_stalls(123456 + 900'000);
  watch.look(now_ + seconds(1));
  EXPECT_EQ(cache_->slot_limit(), 64u) << "too early to tell";
  watch.look(now_ + seconds(2));
  EXPECT_EQ(cache_->slot_limit(), 16u - 64u / 8);
  EXPECT_EQ(cache_->resident_count(LayerId{0}), 8u);
  EXPECT_EQ(watch.shrink_count(), 1u);
  EXPECT_EQ(watch.growth_count(), 0u);
  for (int i = 3; i <= 12; ++i) watch.look(now_ + seconds(i));
  EXPECT_EQ(cache_->slot_limit(), 8u + 64u / 16);
  EXPECT_EQ(watch.shrink_count(), 1u);
  EXPECT_EQ(watch.growth_count(), 1u);
}

TEST_F(PressureWatchTest, AChangeThatLeasesPreventIsNone) {
  const std::vector<ExpertId> experts = {ExpertId{0}, ExpertId{1}, ExpertId{2}, ExpertId{3}};
  std::vector<ExpertLease> leases(4);
  ASSERT_TRUE(cache_->acquire(0, LayerId{0}, experts, leases).ok());
  cache_->set_slot_limit(4);
  PressureWatch watch(MemoryPressureProbe(root_.path()), *cache_, 2);
  watch.look(now_);
  write_stalls(123456 + 900'000);
  watch.look(now_ + seconds(2));
  EXPECT_EQ(cache_->slot_limit(), 4u);
  EXPECT_EQ(watch.shrink_count(), 0u);
}

// A cache with slots of two sizes: what goes and comes back is counted in bytes.
TEST(PressureWatch, CountsTheBytesOfSlotsOfEverySize) {
  const TemporaryFolder root;
  root.write("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 20 kB\n");
  const auto write_stalls = [&](int total_us) {
    root.write("proc/pressure/memory",
               fmt::format("some avg10=0.00 avg60=0.00 avg300=0.00 total={}\n", total_us));
  };
  write_stalls(1000);
  const std::vector<ExpertFiles::LayerShape> shapes = {
      {.expert_count = 16, .segment_sizes = {64 * 1024}},
      {.expert_count = 16, .segment_sizes = {32 * 1024}}};
  const ExpertFiles files(shapes, 1);
  const ExpertStore store = files.open_store();
  const std::uint64_t large = store.slot_size({0});
  const std::uint64_t small = store.slot_size({1});
  const std::uint64_t planned = 16 * (large + small);
  const auto cache = ExpertCache::create(store, make_residency_policy("lru", store.expert_counts()),
                                         make_read_queue({}).value(),
                                         {.budget_bytes = planned, .experts_at_once = 2})
                         .value();
  for (std::uint16_t e = 0; e < 16; ++e) {
    for (const std::uint32_t layer : {0u, 1u}) {
      const ExpertId expert{e};
      ExpertLease lease;
      ASSERT_TRUE(cache->acquire(e, LayerId{layer}, {&expert, 1}, {&lease, 1}).ok());
      ASSERT_TRUE(lease.wait().ok());
    }
  }
  ASSERT_EQ(cache->used_bytes(), planned);
  PressureWatch watch(MemoryPressureProbe(root.path()), *cache, 2);
  CacheGovernor::TimePoint now;
  watch.look(now);
  int stalled_us = 1000;
  for (std::uint64_t before = planned; before > 2 * (large + small);) {
    write_stalls(stalled_us += 1'900'000);
    watch.look(now += seconds(2));
    const std::uint64_t after = cache->used_bytes();
    EXPECT_LE(after, std::max(before - planned / 8, 2 * (large + small)));
    EXPECT_LE(before - after, planned / 8 + large);
    ASSERT_LT(after, before);
    before = after;
  }
  EXPECT_EQ(cache->resident_count(LayerId{0}), 2u) << "a token's experts of either layer stay";
  EXPECT_EQ(cache->resident_count(LayerId{1}), 2u);
  for (int i = 0; i < 200; ++i) watch.look(now += seconds(1));
  EXPECT_EQ(cache->byte_limit(), planned);
}

}  // namespace
}  // namespace flashmoe
