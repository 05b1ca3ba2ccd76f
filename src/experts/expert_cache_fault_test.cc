// Reads that fail end one acquire, with an error that says which, and nothing else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "experts/expert_cache.h"
#include "experts/policies/lru.h"
#include "experts/testing/expert_files.h"
#include "experts/testing/expert_ids.h"
#include "io/testing/faulty_read_queue.h"

namespace flashmoe {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
using testing::StartsWith;

class ExpertCacheFault : public testing::Test {
 protected:
  void make(std::size_t slot_count, FaultScript script,
            std::size_t experts_at_once = std::numeric_limits<std::size_t>::max()) {
    auto inner = make_read_queue({.backend = IoBackend::kPread, .depth = 2});
    ASSERT_TRUE(inner.ok());
    auto cache = ExpertCache::create(
        store_, make_lru_policy(store_.expert_counts()),
        std::make_unique<FaultyReadQueue>(std::move(*inner), std::move(script)),
        {.budget_bytes = slot_count * store_.slot_size(), .experts_at_once = experts_at_once});
    ASSERT_TRUE(cache.ok());
    cache_ = std::move(*cache);
  }

  // Leases and reads `routed`: the first failure, if there is one.
  Status read(LayerId layer, const std::vector<ExpertId>& routed) {
    std::vector<ExpertLease> leases(routed.size());
    FM_RETURN_IF_ERROR(cache_->acquire(step_++, layer, routed, leases));
    Status first;
    for (std::size_t i = 0; i < routed.size(); ++i) {
      const Result<ExpertView> view = leases[i].wait();
      EXPECT_TRUE(leases[i].ready());
      if (view.ok()) {
        EXPECT_TRUE(files_.matches(store_, {layer, routed[i]}, *view));
        continue;
      }
      EXPECT_FALSE(cache_->is_resident({layer, routed[i]}));
      EXPECT_THAT(view.status().message(),
                  StartsWith(fmt::format("expert store: layer {} expert {}: ", layer.value,
                                         routed[i].value)));
      if (first.ok()) first = view.status();
    }
    return first;
  }

  ExpertFiles files_{ExpertFiles::mixed_shapes(), 3};
  ExpertStore store_ = files_.open_store();
  std::unique_ptr<ExpertCache> cache_;
  std::uint64_t step_ = 0;
};

TEST_F(ExpertCacheFault, EachReadFailsOnceAndTheNextAcquireSucceeds) {
  constexpr std::size_t kReadCount = 15;  // three experts of layer 0, five segments each
  for (const auto kind : {ReadFault::Kind::kIoError, ReadFault::Kind::kEndOfFile}) {
    for (std::uint64_t i = 0; i < kReadCount; ++i) {
      SCOPED_TRACE(testing::Message() << "read " << i);
      make(3, fail_request(i, kind));
      const Status status = read(LayerId{0}, ids({4, 9, 1}));
      EXPECT_EQ(status.code(),
                kind == ReadFault::Kind::kIoError ? StatusCode::kIo : StatusCode::kCorrupt);
      EXPECT_THAT(status.message(), HasSubstr(files_.paths()[0].string()));
      EXPECT_EQ(cache_->resident_count(LayerId{0}), 2u);
      EXPECT_TRUE(read(LayerId{0}, ids({4, 9, 1})).ok());
      EXPECT_EQ(cache_->statistics().miss_count, 4u);
      EXPECT_EQ(cache_->statistics().bytes_wanted, 3 * store_.expert_size(LayerId{0}));
      EXPECT_TRUE(read(LayerId{3}, ids({0, 1, 2})).ok());  // every slot can still be had
    }
  }
}

TEST_F(ExpertCacheFault, ARefusedBatchFailsTheAcquireAndLeavesTheSlotsFree) {
  make(3, fail_request(5, ReadFault::Kind::kRefused));
  ASSERT_TRUE(read(LayerId{0}, ids({2})).ok());
  std::vector<ExpertLease> leases(3);
  const Status status = cache_->acquire(1, LayerId{0}, ids({7, 2, 5}), leases);
  EXPECT_EQ(status.code(), StatusCode::kIo);
  EXPECT_THAT(status.message(), StartsWith("expert store: layer 0: "));
  EXPECT_TRUE(cache_->is_resident({LayerId{0}, ExpertId{2}}));
  EXPECT_EQ(cache_->statistics().hit_count + cache_->statistics().miss_count, 1u);
  EXPECT_TRUE(read(LayerId{0}, ids({7, 2, 5})).ok());
  EXPECT_TRUE(read(LayerId{3}, ids({0, 1, 2})).ok());
}

TEST_F(ExpertCacheFault, AFailedExchangeKeepsWhoCameAndCanBeRepeated) {
  for (const auto kind :
       {ReadFault::Kind::kIoError, ReadFault::Kind::kEndOfFile, ReadFault::Kind::kRefused}) {
    // Of the second newcomer, after the ten reads of 4 and 9.
    make(2, fail_request(17, kind));
    ASSERT_TRUE(read(LayerId{0}, ids({4, 9})).ok());
    const ExpertSwap swaps[] = {{ExpertId{4}, ExpertId{1}}, {ExpertId{9}, ExpertId{2}}};
    const Status status = cache_->exchange(LayerId{0}, swaps);
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(status.message(), StartsWith("expert store: layer 0"));
    EXPECT_EQ(cache_->is_resident({LayerId{0}, ExpertId{1}}), kind != ReadFault::Kind::kRefused);
    EXPECT_FALSE(cache_->is_resident({LayerId{0}, ExpertId{2}}));
    EXPECT_TRUE(cache_->exchange(LayerId{0}, swaps).ok());
    EXPECT_TRUE(read(LayerId{0}, ids({1, 2})).ok());
    EXPECT_EQ(cache_->statistics().hit_count, 2u);
    EXPECT_TRUE(read(LayerId{3}, ids({0, 1})).ok());  // every slot can still be had
  }
}

TEST_F(ExpertCacheFault, AGuessThatFailsLeavesItsSlotFreeAndIsReadAgainWhenItComesTrue) {
  for (const auto kind : {ReadFault::Kind::kIoError, ReadFault::Kind::kEndOfFile}) {
    make(3, fail_request(7, kind));  // one of the second's five
    ASSERT_EQ(cache_->speculate(LayerId{0}, ids({4, 9}), {}).value(), 2u);
    while (!cache_->is_resident({LayerId{0}, ExpertId{4}}) ||
           cache_->used_slot_count() > cache_->resident_count(LayerId{0})) {
      ASSERT_TRUE(cache_->prefetch({}).ok());  // looks what has arrived
    }
    EXPECT_FALSE(cache_->is_resident({LayerId{0}, ExpertId{9}}));
    EXPECT_TRUE(read(LayerId{0}, ids({4, 9, 1})).ok());
    EXPECT_EQ(cache_->statistics().speculative_hit_count, 1u);
    EXPECT_TRUE(read(LayerId{3}, ids({0, 1, 2})).ok());  // every slot can still be had
  }
}

TEST_F(ExpertCacheFault, ARefusedGuessIsAnErrorThatChangesNothing) {
  make(3, fail_request(0, ReadFault::Kind::kRefused));
  const Status status = cache_->speculate(LayerId{0}, ids({4, 9}), ids({4, 1})).status();
  EXPECT_EQ(status.code(), StatusCode::kIo);
  EXPECT_THAT(status.message(), StartsWith("expert store: layer 0: "));
  EXPECT_EQ(cache_->used_slot_count(), 0u);
  EXPECT_EQ(cache_->statistics().speculative_read_count, 0u);
  EXPECT_TRUE(read(LayerId{0}, ids({4, 9, 1})).ok());
}

TEST_F(ExpertCacheFault, APrefetchThatFailsLeavesItsSlotFreeAndIsNobodysError) {
  const std::vector<ExpertKey> wanted = {{LayerId{0}, ExpertId{4}}, {LayerId{0}, ExpertId{9}}};
  for (const auto kind : {ReadFault::Kind::kIoError, ReadFault::Kind::kEndOfFile}) {
    make(3, fail_request(7, kind));  // one of the second's five
    ASSERT_EQ(cache_->prefetch(wanted).value().done_count, 2u);
    while (cache_->prefetch({}).value().reading_count > 0) {
    }
    EXPECT_TRUE(cache_->is_resident(wanted[0]));
    EXPECT_FALSE(cache_->is_resident(wanted[1]));
    EXPECT_EQ(cache_->statistics().prefetch_count, 1u);
    EXPECT_TRUE(read(LayerId{0}, ids({9, 4, 1})).ok());
    EXPECT_TRUE(read(LayerId{3}, ids({0, 1, 2})).ok());  // every slot can still be had
  }
}

TEST_F(ExpertCacheFault, ARefusedPrefetchChangesNothing) {
  make(3, fail_request(2, ReadFault::Kind::kRefused));
  const std::vector<ExpertKey> wanted = {{LayerId{0}, ExpertId{4}}, {LayerId{0}, ExpertId{9}}};
  const Status status = cache_->prefetch(wanted).status();
  EXPECT_EQ(status.code(), StatusCode::kIo);
  EXPECT_THAT(status.message(), StartsWith("expert store: prefetch: "));
  EXPECT_EQ(cache_->resident_set().layers[0].size(), 0u);
  EXPECT_EQ(cache_->prefetch({}).value().reading_count, 0u);
  EXPECT_TRUE(read(LayerId{0}, ids({9, 4, 1})).ok());
  EXPECT_TRUE(read(LayerId{3}, ids({0, 1, 2})).ok());
}

TEST_F(ExpertCacheFault, EveryWaiterLearnsOfTheFailure) {
  // Late, so that the second lease finds the read still on its way.
  make(3, [](std::uint64_t index, const ReadRequest&) {
    return index == 1 ? ReadFault{.kind = ReadFault::Kind::kIoError, .delay_poll_count = 1000}
                      : ReadFault{};
  });
  std::vector<ExpertLease> first(1), second(1);
  ASSERT_TRUE(cache_->acquire(0, LayerId{0}, ids({6}), first).ok());
  ASSERT_TRUE(cache_->acquire(0, LayerId{0}, ids({6}), second).ok());
  EXPECT_EQ(first[0].wait().status().code(), StatusCode::kIo);
  EXPECT_EQ(second[0].wait().status().message(), first[0].wait().status().message());
  // The failed slot belongs to its leases until they end; the expert is read again into another.
  EXPECT_TRUE(read(LayerId{0}, ids({6, 7})).ok());
  std::vector<ExpertLease> third(3);
  EXPECT_EQ(cache_->acquire(1, LayerId{0}, ids({1, 2, 3}), third).code(), StatusCode::kOutOfBudget);
  first.clear();
  second.clear();
  EXPECT_TRUE(read(LayerId{0}, ids({1, 2, 3})).ok());
}

TEST_F(ExpertCacheFault, AFailureThatNobodyWaitsForIsForgotten) {
  make(3, fail_request(0, ReadFault::Kind::kIoError));
  {
    std::vector<ExpertLease> abandoned(3);
    ASSERT_TRUE(cache_->acquire(0, LayerId{0}, ids({6, 7, 8}), abandoned).ok());
  }
  EXPECT_TRUE(read(LayerId{3}, ids({0, 1, 2})).ok());
  EXPECT_TRUE(read(LayerId{0}, ids({6, 7, 8})).ok());
}

TEST_F(ExpertCacheFault, AFileCutShortIsAnErrorThatNamesItAndTheCacheLives) {
  make(3, {});
  const ExpertSegment& segment = store_.segments({LayerId{1}, ExpertId{7}})[0];
  files_.file(1).truncate(segment.offset + 1);
  const Status status = read(LayerId{1}, ids({7}));
  EXPECT_EQ(status.code(), StatusCode::kCorrupt);
  EXPECT_THAT(status.message(), HasSubstr(files_.paths()[1].string()));
  EXPECT_TRUE(read(LayerId{1}, ids({0, 1})).ok());
}

TEST_F(ExpertCacheFault, SurvivesARandomTraceOfFailuresAndLateAnswers) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const FaultScript script =
        seeded_faults({.seed = seed, .failure_rate = 0.03, .delay_poll_count_max = 3});
    // Slots of one size, then of several.
    if (seed <= 3) make(9, script);
    if (seed > 3) make(20, script, /*experts_at_once=*/8);
    ASSERT_EQ(cache_->slot_plan().classes().size(), seed <= 3 ? 1u : 4u);
    std::mt19937_64 random(seed);
    std::vector<ExpertLease> leases(4);  // kept while the next acquire runs, never all waited for
    std::size_t failure_count = 0;
    for (int i = 0; i < 600; ++i) {
      const LayerId layer{std::vector<std::uint32_t>{0, 1, 3, 4}[random() % 4]};
      std::vector<ExpertId> all(store_.expert_count(layer));
      for (std::uint16_t e = 0; e < all.size(); ++e) all[e] = ExpertId{e};
      std::ranges::shuffle(all, random);
      all.resize(4);
      if (random() % 2 == 0) {
        if (!read(layer, all).ok()) ++failure_count;
      } else {
        ASSERT_TRUE(cache_->acquire(step_++, layer, all, leases).ok());
      }
    }
    EXPECT_GT(failure_count, 10u);
    leases.clear();
    for (const std::uint32_t l : {0u, 1u, 3u, 4u}) {
      ASSERT_LE(cache_->resident_count(LayerId{l}), cache_->slot_limit(LayerId{l}));
    }
    const ExpertCacheStatistics statistics = cache_->statistics();
    EXPECT_GT(statistics.hit_count, 0u);
    EXPECT_LT(statistics.bytes_wanted, cache_->read_statistics().bytes_wanted);
    // No slot was lost: all that a layer can use can be leased at once, if not at the first
    // attempt.
    for (const LayerId layer : {LayerId{3}, LayerId{0}}) {
      std::vector<ExpertId> all(std::min(cache_->slot_limit(layer), store_.expert_count(layer)));
      for (std::uint16_t e = 0; e < all.size(); ++e) all[e] = ExpertId{e};
      bool ok = false;
      for (int attempt = 0; attempt < 20 && !ok; ++attempt) ok = read(layer, all).ok();
      EXPECT_TRUE(ok);
    }
  }
}

}  // namespace
}  // namespace flashmoe
