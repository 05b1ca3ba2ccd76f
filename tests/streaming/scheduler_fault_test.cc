// Reads that fail under a scheduler: a failure that passes is noticed by nobody, one that stays
// fails those that need it, and the scheduler lives.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/scheduler_impl.h"
#include "io/testing/faulty_read_queue.h"
#include "support/bare_model.h"

namespace flashmoe::testing {
namespace {

class EndListener : public GenerationListener {
 public:
  void on_prompt_token(const TokenLogprob& token, std::span<const TokenLogprob>) override {
    const std::lock_guard lock(mutex_);
    scores_.push_back(token.logprob);
  }
  void on_token(const GeneratedToken& token) override {
    const std::lock_guard lock(mutex_);
    ids_.push_back(token.id);
  }
  void on_end(const GenerationEnd& end) override {
    const std::lock_guard lock(mutex_);
    status_ = end.status;
    has_ended_ = true;
    ended_.notify_all();
  }
  const Status& wait() {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [this] { return has_ended_; });
    return status_;
  }
  const std::vector<std::int32_t>& ids() const { return ids_; }
  /// Of the prompt's tokens but the first.
  const std::vector<float>& scores() const { return scores_; }

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  std::vector<std::int32_t> ids_;
  std::vector<float> scores_;
  Status status_;
  bool has_ended_ = false;
};

/// The shipped model over a disk that does what `script` says, with few slots: every token reads.
class SchedulerOnABadDisk : public ::testing::Test {
 protected:
  static constexpr std::size_t kSequences = 3;

  /// `script` counts requests from when the model is loaded.
  void open(const FaultScript& script, std::uint64_t prefix_bytes) {
    scheduler_.reset();
    const auto loaded_at = std::make_shared<std::optional<std::uint64_t>>();
    const auto is_loaded = std::make_shared<std::atomic<bool>>(false);
    BareModel::Options options{.slot_count = 100, .rows_max = 32};
    options.queue = std::make_unique<FaultyReadQueue>(
        std::move(options.queue),
        [script, loaded_at, is_loaded](std::uint64_t index, const ReadRequest& request) {
          if (!*is_loaded || !script) return flashmoe::ReadFault{};
          if (!*loaded_at) *loaded_at = index;
          return script(index - **loaded_at, request);
        });
    model_ = std::make_unique<BareModel>(std::move(options));
    *is_loaded = true;
    SchedulerImpl::Parts parts;
    parts.resources = {.model = &model_->model(),
                       .experts = &model_->experts(),
                       .residency = &no_residency_,
                       .resident_set = &no_keeper_,
                       .context = 512};
    parts.places = kSequences;
    parts.prefix_cache_bytes = prefix_bytes;
    parts.expert_counts = model_->store().expert_counts();
    parts.cache = &model_->experts();
    model_->model().set_routing(&observers_, nullptr);
    parts.observers = &observers_;
    parts.statistics = [] { return EngineStatistics(); };
    scheduler_ = SchedulerImpl::create(std::move(parts), {}).value();
  }
  void TearDown() override { scheduler_.reset(); }

  std::vector<std::shared_ptr<EndListener>> submit_all() {
    std::vector<std::shared_ptr<EndListener>> listeners;
    for (std::size_t i = 0; i < kSequences; ++i) {
      GenerationRequest request{
          .max_tokens = 12 + i, .ignore_eos = true, .top_logprobs = 0, .scores_prompt = true};
      for (std::size_t t = 0; t < 40; ++t) {
        request.prompt.push_back(static_cast<std::int32_t>(100 + 37 * t + 1000 * i));
      }
      request.checkpoints = {30};
      listeners.push_back(std::make_shared<EndListener>());
      EXPECT_TRUE(scheduler_->submit(std::move(request), listeners.back()).ok());
    }
    return listeners;
  }

  const std::unique_ptr<ExpertResidency> no_residency_;
  const std::unique_ptr<ResidentSetKeeper> no_keeper_;
  RoutingObservers observers_;
  std::unique_ptr<BareModel> model_;
  std::unique_ptr<SchedulerImpl> scheduler_;
};

TEST_F(SchedulerOnABadDisk, NobodyNoticesAFailureThatPasses) {
  open({}, 0);
  std::vector<std::vector<std::int32_t>> expected;
  std::vector<std::vector<float>> expected_scores;
  for (const auto& listener : submit_all()) {
    ASSERT_TRUE(listener->wait().ok());
    expected.push_back(listener->ids());
    expected_scores.push_back(listener->scores());
    ASSERT_EQ(expected_scores.back().size(), 39u);
  }
  struct Case {
    std::uint64_t failing;
    flashmoe::ReadFault::Kind kind;
    std::uint64_t prefix_bytes;
  };
  // In a prompt, from the beginning; in decoding, from a checkpoint.
  for (const Case& at :
       {Case{5, flashmoe::ReadFault::Kind::kRefused, 0},
        Case{1500, flashmoe::ReadFault::Kind::kIoError, std::uint64_t{64} << 20}}) {
    open(fail_request(at.failing, at.kind), at.prefix_bytes);
    const auto listeners = submit_all();
    for (std::size_t i = 0; i < kSequences; ++i) {
      EXPECT_TRUE(listeners[i]->wait().ok()) << listeners[i]->wait().message();
      EXPECT_EQ(listeners[i]->ids(), expected[i]) << "request " << at.failing << " failed";
      EXPECT_EQ(listeners[i]->scores(), expected_scores[i]) << "each once, and the same";
    }
    EXPECT_EQ(scheduler_->statistics().failures, 0u);
  }
}

TEST_F(SchedulerOnABadDisk, AFailureThatStaysFailsWhoNeedsItAndItLives) {
  const auto is_broken = std::make_shared<std::atomic<bool>>(true);
  open(
      [is_broken](std::uint64_t index, const ReadRequest&) {
        return flashmoe::ReadFault{.kind = *is_broken && index > 300
                                               ? flashmoe::ReadFault::Kind::kIoError
                                               : flashmoe::ReadFault::Kind::kNone};
      },
      0);
  for (const auto& listener : submit_all()) {
    EXPECT_EQ(listener->wait().code(), StatusCode::kIo) << listener->wait().message();
  }
  *is_broken = false;
  for (const auto& listener : submit_all()) EXPECT_TRUE(listener->wait().ok());
}

}  // namespace
}  // namespace flashmoe::testing
