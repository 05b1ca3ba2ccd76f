// Whatever the trace, the budget and the backend: never more residents than slots, leases keep
// their bytes, the bytes are the file's, and the counts add up.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <numeric>
#include <random>
#include <vector>

#include "experts/expert_cache.h"
#include "experts/policies/lru.h"
#include "experts/slot_plan.h"
#include "experts/testing/expert_files.h"

namespace flashmoe {
namespace {

constexpr std::size_t kTopK = 4;

// Draws kTopK distinct experts of a layer, some much more often than others.
std::vector<ExpertId> draw_routed(std::mt19937_64& random, std::size_t expert_count) {
  std::vector<ExpertId> routed;
  while (routed.size() < kTopK) {
    const std::size_t a = random() % expert_count, b = random() % expert_count;
    const ExpertId id{static_cast<std::uint16_t>(std::min(a, b))};
    if (std::ranges::find(routed, id) == routed.end()) routed.push_back(id);
  }
  return routed;
}

struct Held {
  ExpertKey key;
  ExpertLease lease;
};

struct CacheCase {
  IoBackend backend;
  std::size_t slot_count;
};

class ExpertCacheProperty : public testing::TestWithParam<CacheCase> {};

TEST_P(ExpertCacheProperty, HoldsOnRandomTraces) {
  const std::uint64_t seed = 20250 + GetParam().slot_count;
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  const ExpertFiles files(ExpertFiles::mixed_shapes(), seed);
  const ExpertStore store = files.open_store();
  auto queue = make_read_queue({.backend = GetParam().backend, .depth = 4});
  if (!queue.ok()) GTEST_SKIP() << queue.status().message();
  auto created = ExpertCache::create(
      store, make_lru_policy(store.expert_counts()), std::move(*queue),
      {.budget_bytes = GetParam().slot_count * store.slot_size() + store.slot_size() - 1});
  ASSERT_TRUE(created.ok()) << created.status().message();
  ExpertCache& cache = **created;
  const std::vector<std::size_t> counts = store.expert_counts();
  const std::size_t expert_count = std::accumulate(counts.begin(), counts.end(), std::size_t{0});
  const std::size_t slot_count = std::min(GetParam().slot_count, expert_count);
  ASSERT_EQ(cache.slot_count(), slot_count);

  std::mt19937_64 random(seed);
  std::deque<Held> held;  // leases of several acquires, some never waited for
  std::uint64_t lease_count = 0, refused_count = 0;
  for (std::uint64_t step = 0; step < 200; ++step) {
    for (std::uint32_t l = 0; l < counts.size(); ++l) {
      if (counts[l] == 0) continue;
      const LayerId layer{l};
      const std::vector<ExpertId> routed = draw_routed(random, counts[l]);
      std::vector<ExpertLease> leases(kTopK);
      const std::size_t held_max = slot_count - kTopK;
      while (held.size() > held_max) held.pop_front();
      const Status status = cache.acquire(step, layer, routed, leases);
      ASSERT_TRUE(status.ok()) << status.message();
      lease_count += kTopK;
      // A guess for some layer, true or not; whoever is named is kept.
      const LayerId guessed{static_cast<std::uint32_t>(random() % counts.size())};
      if (counts[guessed.value] > 0) {
        const std::vector<ExpertId> guesses = draw_routed(random, counts[guessed.value]);
        ASSERT_TRUE(cache.speculate(guessed, std::span(guesses).first(2), guesses).ok());
      }
      for (std::size_t k = 0; k < kTopK; ++k) {
        held.push_back({{layer, routed[k]}, std::move(leases[k])});
      }
      // More than there are slots: refused, and nothing changes.
      if (counts[l] > slot_count) {
        std::vector<ExpertId> all(counts[l]);
        for (std::uint16_t e = 0; e < counts[l]; ++e) all[e] = ExpertId{e};
        std::vector<ExpertLease> none(counts[l]);
        ASSERT_EQ(cache.acquire(step, layer, all, none).code(), StatusCode::kOutOfBudget);
        ++refused_count;
      }
      // Look at a random half of what is held, in random order.
      std::vector<std::size_t> order(held.size());
      std::iota(order.begin(), order.end(), std::size_t{0});
      std::ranges::shuffle(order, random);
      for (const std::size_t i : std::span(order).first(order.size() / 2)) {
        const Result<ExpertView> view = held[i].lease.wait();
        ASSERT_TRUE(view.ok()) << view.status().message();
        ASSERT_TRUE(held[i].lease.ready());
        ASSERT_TRUE(cache.is_resident(held[i].key));
        ASSERT_TRUE(files.matches(store, held[i].key, *view));
      }
      for (std::size_t drop = random() % (kTopK + 2); drop > 0 && !held.empty(); --drop) {
        held.erase(held.begin() + static_cast<std::ptrdiff_t>(random() % held.size()));
      }
      std::size_t resident_count = 0;
      for (std::uint32_t m = 0; m < counts.size(); ++m) resident_count += cache.resident_count({m});
      ASSERT_LE(resident_count, slot_count);
    }
  }
  EXPECT_EQ(refused_count > 0, slot_count < 16);

  // Bring everything in flight home, so that the byte counts are complete.
  std::uint64_t resident_bytes = 0;
  held.clear();
  for (std::uint32_t l = 0; l < counts.size(); ++l) {
    for (std::uint16_t e = 0; e < counts[l]; ++e) {
      std::vector<ExpertLease> lease(1);
      ASSERT_TRUE(cache.acquire(200, {l}, std::vector{ExpertId{e}}, lease).ok());
      ASSERT_TRUE(lease[0].wait().ok());
      ++lease_count;
      resident_bytes += store.expert_size({l});
    }
  }
  const ExpertCacheStatistics statistics = cache.statistics();
  EXPECT_EQ(statistics.hit_count + statistics.miss_count, lease_count);
  EXPECT_GE(statistics.bytes_wanted, resident_bytes);
  EXPECT_EQ(statistics.bytes_wanted, cache.read_statistics().bytes_wanted);
  EXPECT_GE(cache.read_statistics().bytes_read, cache.read_statistics().bytes_wanted);
  EXPECT_EQ(statistics.speculative_read_count > 0, slot_count > kTopK);  // else all are leased
  EXPECT_LE(statistics.speculative_hit_count, statistics.speculative_read_count);
  const std::uint64_t read_count = statistics.miss_count + statistics.speculative_read_count;
  if (slot_count == expert_count) {
    EXPECT_EQ(read_count, expert_count);
    EXPECT_EQ(statistics.eviction_count, 0u);
    EXPECT_EQ(statistics.bytes_wanted, resident_bytes);
  } else {
    EXPECT_EQ(statistics.eviction_count, read_count - slot_count);
  }
}

// Slots of several sizes, while the limit moves: never more memory in use than the limit that was
// returned, whatever is leased, guessed, prefetched or exchanged, and every expert shows the file's
// bytes.
TEST(ExpertCacheSizes, HoldWhileEverythingMovesAtRandom) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    const ExpertFiles files(ExpertFiles::mixed_shapes(), seed);
    const ExpertStore store = files.open_store();
    const std::vector<std::size_t> counts = store.expert_counts();
    const SlotClasses classes = slot_classes(store);
    const std::uint64_t all_bytes = classes.resident_size();
    const auto cache =
        ExpertCache::create(store, make_lru_policy(counts),
                            make_read_queue({.backend = IoBackend::kPread, .depth = 4}).value(),
                            {.budget_bytes = all_bytes / 2 + random() % (all_bytes / 2 + 1),
                             .experts_at_once = kTopK})
            .value();
    const SlotPlan& plan = cache->slot_plan();
    ASSERT_EQ(plan.classes().size(), 4u);
    ASSERT_LE(plan.byte_size(), all_bytes);
    const std::uint64_t least_bytes = plan.offset(plan.slots_for(kTopK));
    std::deque<Held> held;
    const auto release_for = [&](LayerId layer) {
      // A choice has to fit beside what is leased in slots of its size.
      const std::size_t room = cache->slot_limit(layer) - kTopK;
      const auto is_alike = [&](const Held& h) {
        return plan.class_of(h.key.layer) == plan.class_of(layer);
      };
      while (static_cast<std::size_t>(std::ranges::count_if(held, is_alike)) > room) {
        held.erase(std::ranges::find_if(held, is_alike));
      }
    };
    for (std::uint64_t step = 0; step < 400; ++step) {
      if (random() % 4 == 0) {
        const std::uint64_t wanted = least_bytes + random() % (plan.byte_size() - least_bytes + 1);
        const std::uint64_t limit = cache->set_byte_limit(wanted);
        ASSERT_EQ(limit, cache->byte_limit());
        if (held.empty() && limit > wanted) {
          ASSERT_GT(cache->used_bytes(), least_bytes);  // reads in flight stay
        }
      }
      LayerId layer;
      do {
        layer = {static_cast<std::uint32_t>(random() % counts.size())};
      } while (counts[layer.value] == 0);
      release_for(layer);
      const std::vector<ExpertId> chosen = draw_routed(random, counts[layer.value]);
      switch (random() % 4) {
        case 0:
          ASSERT_TRUE(cache->speculate(layer, std::span(chosen).first(2), chosen).ok());
          break;
        case 1: {
          std::vector<ExpertKey> wanted;
          for (const ExpertId id : chosen) wanted.push_back({layer, id});
          for (std::uint32_t l = 0; l < counts.size(); ++l) {
            if (counts[l] > 0) wanted.push_back({{l}, ExpertId{0}});
          }
          ASSERT_TRUE(
              cache->prefetch(wanted, random() % 2 == 0 ? wanted : decltype(wanted)()).ok());
          break;
        }
        case 2:
          ASSERT_TRUE(cache->exchange(layer, std::vector<ExpertSwap>{{chosen[0], chosen[1]}}).ok());
          ASSERT_TRUE(cache->is_resident({layer, chosen[1]}));
          break;
        default: {
          std::vector<ExpertLease> leases(kTopK);
          const Status status = cache->acquire(step, layer, chosen, leases);
          ASSERT_TRUE(status.ok()) << status.message();
          for (std::size_t k = 0; k < kTopK; ++k) {
            held.push_back({{layer, chosen[k]}, std::move(leases[k])});
          }
        }
      }
      ASSERT_LE(cache->used_bytes(), cache->byte_limit());
      const LayerSlots limits = cache->slot_limits();
      std::vector<std::size_t> residents(limits.counts.size());
      for (std::uint32_t l = 0; l < counts.size(); ++l) {
        residents[limits.class_of({l})] += cache->resident_count({l});
      }
      for (std::size_t c = 0; c < residents.size(); ++c) ASSERT_LE(residents[c], limits.counts[c]);
      while (held.size() > random() % 12) {
        const std::size_t i = random() % held.size();
        const Result<ExpertView> view = held[i].lease.wait();
        ASSERT_TRUE(view.ok()) << view.status().message();
        ASSERT_TRUE(files.matches(store, held[i].key, *view));
        held.erase(held.begin() + static_cast<std::ptrdiff_t>(i));
      }
    }
    held.clear();
    // All that was withheld comes back: nothing is lost to moving.
    cache->set_byte_limit(plan.byte_size());
    for (std::uint32_t l = 0; l < counts.size(); ++l) {
      for (std::uint16_t e = 0; e < counts[l]; ++e) {
        std::vector<ExpertLease> lease(1);
        ASSERT_TRUE(cache->acquire(400, {l}, std::vector{ExpertId{e}}, lease).ok());
        ASSERT_TRUE(files.matches(store, {{l}, {e}}, lease[0].wait().value()));
      }
    }
    EXPECT_EQ(cache->used_bytes(), plan.byte_size());
    EXPECT_GT(cache->statistics().limit_eviction_count, 0u);
  }
}

// 48 experts: from the least that works to all of them, and a budget for more.
INSTANTIATE_TEST_SUITE_P(
    Budgets, ExpertCacheProperty,
    testing::Values(CacheCase{IoBackend::kPread, 4}, CacheCase{IoBackend::kPread, 7},
                    CacheCase{IoBackend::kPread, 20}, CacheCase{IoBackend::kPread, 48},
                    CacheCase{IoBackend::kPread, 100}, CacheCase{IoBackend::kIoUring, 4},
                    CacheCase{IoBackend::kIoUring, 20}, CacheCase{IoBackend::kIoUring, 48}),
    [](const auto& info) {
      return std::string(to_string(info.param.backend)) + "_" +
             std::to_string(info.param.slot_count);
    });

}  // namespace
}  // namespace flashmoe
