// Several threads on one cache: for ThreadSanitizer, and for liveness everywhere.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "experts/expert_cache.h"
#include "experts/policies/lru.h"
#include "experts/testing/expert_files.h"
#include "io/testing/faulty_read_queue.h"

namespace flashmoe {
namespace {

constexpr std::size_t kThreadTopK = 3;
constexpr std::size_t kThreadCount = 4;

struct Counts {
  std::atomic<std::size_t> leases = 0;
  std::atomic<std::size_t> failures = 0;
};

void run_thread(const ExpertFiles& files, const ExpertStore& store, ExpertCache& cache,
                std::uint64_t seed, Counts& counts) {
  std::mt19937_64 random(seed);
  std::vector<ExpertLease> leases(kThreadTopK);
  for (std::uint64_t step = 0; step < 300; ++step) {
    const LayerId layer{random() % 2 == 0 ? 0u : 3u};
    std::vector<ExpertId> routed(store.expert_count(layer));
    for (std::uint16_t e = 0; e < routed.size(); ++e) routed[e] = ExpertId{e};
    std::ranges::shuffle(routed, random);
    routed.resize(kThreadTopK);
    // Every thread holds kThreadTopK at most, and there are slots for all of them.
    if (random() % 4 == 0) {
      ASSERT_TRUE(cache.speculate(layer, std::span(routed).first(2), routed).ok());
    }
    const Status status = cache.acquire(step, layer, routed, leases);
    ASSERT_TRUE(status.ok()) << status.message();
    counts.leases += kThreadTopK;
    if (random() % 8 == 0) continue;  // leaves without waiting
    for (std::size_t k = 0; k < kThreadTopK; ++k) {
      (void)leases[k].ready();
      const Result<ExpertView> view = leases[k].wait();
      if (!view.ok()) {
        ++counts.failures;
        continue;
      }
      ASSERT_TRUE(files.matches(store, {layer, routed[k]}, *view));
    }
  }
}

class ExpertCacheThreads : public testing::TestWithParam<std::tuple<std::size_t, double>> {};

TEST_P(ExpertCacheThreads, SeeTheFilesBytesAndAllGetDone) {
  const auto [slot_count, failure_rate] = GetParam();
  const ExpertFiles files(ExpertFiles::mixed_shapes(), 11);
  const ExpertStore store = files.open_store();
  auto inner = make_read_queue({.backend = IoBackend::kPread, .depth = 4});
  ASSERT_TRUE(inner.ok());
  auto created = ExpertCache::create(
      store, make_lru_policy(store.expert_counts()),
      std::make_unique<FaultyReadQueue>(
          std::move(*inner),
          seeded_faults({.seed = 5, .failure_rate = failure_rate, .delay_poll_count_max = 2})),
      {.budget_bytes = slot_count * store.slot_size(),
       .experts_at_once = kThreadCount * kThreadTopK});
  ASSERT_TRUE(created.ok());
  Counts counts;
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreadCount; ++t) {
    threads.emplace_back([&, t] { run_thread(files, store, **created, t, counts); });
  }
  for (std::thread& thread : threads) thread.join();
  const ExpertCacheStatistics statistics = (*created)->statistics();
  EXPECT_EQ(statistics.hit_count + statistics.miss_count, counts.leases);
  EXPECT_EQ(counts.leases, kThreadCount * 300 * kThreadTopK);
  EXPECT_EQ(counts.failures > 0, failure_rate > 0);
}

// A thread that acquires again releases first what it holds: kThreadTopK slots a thread are enough.
// From 30 of the largest on they are of several sizes. With 48 slots little is read, so that only
// frequent faults are certain to happen.
INSTANTIATE_TEST_SUITE_P(Slots, ExpertCacheThreads,
                         testing::Combine(testing::Values(kThreadCount* kThreadTopK, 20, 30, 48),
                                          testing::Values(0.0, 0.2)));

}  // namespace
}  // namespace flashmoe
