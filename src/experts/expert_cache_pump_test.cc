// Reads that wait in the queue go on while whoever leases them does something else.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <thread>
#include <utility>
#include <vector>

#include "experts/expert_cache.h"
#include "experts/policies/lru.h"
#include "experts/testing/expert_files.h"

namespace flashmoe {
namespace {

/// A ReadQueue that shows the device one read at a time, and the next one when it is polled.
class OneByOneQueue final : public ReadQueue {
 public:
  explicit OneByOneQueue(std::unique_ptr<ReadQueue> inner) : inner_(std::move(inner)) {}

  Status submit(std::span<const ReadRequest> requests) override {
    waiting_.insert(waiting_.end(), requests.begin(), requests.end());
    return pass_on();
  }
  std::size_t poll(std::span<ReadCompletion> completions, bool wait) override {
    const std::size_t count = inner_->poll(completions, wait);
    EXPECT_TRUE(pass_on().ok());
    return count;
  }
  std::size_t in_flight_count() const override {
    return waiting_.size() + inner_->in_flight_count();
  }
  bool needs_poll() const override { return !waiting_.empty(); }
  ReadStatistics statistics() const override { return inner_->statistics(); }
  IoBackend backend() const override { return inner_->backend(); }

  /// Reads that the device has seen. Any thread may ask.
  std::size_t passed_on_count() const { return passed_on_count_; }

 private:
  Status pass_on() {
    if (waiting_.empty() || inner_->in_flight_count() > 0) return Status();
    const ReadRequest next = waiting_.front();
    waiting_.pop_front();
    ++passed_on_count_;
    return inner_->submit({&next, 1});
  }

  std::unique_ptr<ReadQueue> inner_;
  std::deque<ReadRequest> waiting_;
  std::atomic<std::size_t> passed_on_count_ = 0;
};

TEST(ExpertCachePump, ReadsGoOnWhileNobodyAsksForThem) {
  constexpr LayerId kLayer{0};
  const std::vector<ExpertFiles::LayerShape> shapes = {
      {.expert_count = 8, .segment_sizes = {20000}}};
  const ExpertFiles files(shapes, 7);
  const ExpertStore store = files.open_store();
  auto queue =
      std::make_unique<OneByOneQueue>(make_read_queue({.backend = IoBackend::kPread}).value());
  const OneByOneQueue& shown = *queue;
  const std::unique_ptr<ExpertCache> cache =
      ExpertCache::create(store, make_lru_policy(store.expert_counts()), std::move(queue),
                          {.budget_bytes = 8 * store.slot_size()})
          .value();
  const std::vector<ExpertId> ids = {{3}, {0}, {7}, {5}};
  for (std::uint64_t step = 0; step < 2; ++step) {
    std::vector<ExpertLease> leases(4);
    const std::span<const ExpertId> wanted = std::span(ids).subspan(0, step == 0 ? 2 : 4);
    ASSERT_TRUE(cache->acquire(step, kLayer, wanted, std::span(leases).first(wanted.size())).ok());
    while (shown.passed_on_count() < wanted.size()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const Result<ExpertView> view = leases[i].wait();
      ASSERT_TRUE(view.ok());
      EXPECT_TRUE(files.matches(store, {kLayer, wanted[i]}, *view));
    }
  }
}

}  // namespace
}  // namespace flashmoe
