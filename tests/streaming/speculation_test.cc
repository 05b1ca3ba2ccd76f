// Reads on a guess change what is in memory, and no bit of what is computed.
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "engine/model_files.h"
#include "experts/policies/residency_policies.h"
#include "experts/testing/forwarding_policy.h"
#include "io/testing/faulty_read_queue.h"
#include "kernels/cpu/cpu_ops.h"
#include "model/model.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

constexpr std::size_t kChunkRows = 12;

/// The default policy, and a count of the guesses since a router last spoke.
class CountingPolicy final : public ForwardingPolicy {
 public:
  CountingPolicy(std::span<const std::size_t> counts, std::size_t& guess_count)
      : ForwardingPolicy(make_residency_policy(kDefaultResidencyPolicy, counts)),
        guess_count_(guess_count) {}
  void on_routed(std::uint64_t step, LayerId layer, std::span<const ExpertId> routed) override {
    guess_count_ = 0;
    ForwardingPolicy::on_routed(step, layer, routed);
  }
  void on_loaded(ExpertKey key, LoadCause cause) override {
    if (cause == LoadCause::kGuessed) ++guess_count_;
    ForwardingPolicy::on_loaded(key, cause);
  }

 private:
  std::size_t& guess_count_;
};

/// The shipped model without an engine around it, on a disk that has to be waited for.
class Speculation : public ::testing::Test {
 protected:
  /// Enough for what a step needs, but not for every expert that a layer needs in a chunk; and
  /// more.
  static constexpr std::size_t kFewSlots = 50;
  static constexpr std::size_t kSlots = 200;

  Speculation() { open(kSlots); }

  void open(std::size_t slot_count) {
    model_.reset();
    cache_.reset();
    ids_.clear();
    files_ = ModelFiles::open(sprout_folder()).value();
    ops_ = make_cpu_ops(threads_, {}).value();
    auto queue = std::make_unique<FaultyReadQueue>(
        make_read_queue({}).value(),
        [this, late = seeded_faults({.seed = 3, .delay_poll_count_max = 3})](
            std::uint64_t index, const ReadRequest& request) {
          // All of a batch or nothing: acquire takes 64 answers before it leases, and so hears of
          // the failures in time.
          const bool fails = fail_guesses_ && guess_count_ > 0 && guess_count_ * 9 <= 64;
          return fails ? ReadFault{.kind = ReadFault::Kind::kIoError} : late(index, request);
        });
    queue_ = queue.get();
    ModelFiles::DenseWeights dense = files_->load_dense(*queue, {}).value();
    buffer_ = std::move(dense.buffer);
    const ExpertStore& store = files_->store();
    cache_ = ExpertCache::create(
                 store, std::make_unique<CountingPolicy>(store.expert_counts(), guess_count_),
                 std::move(queue), {.budget_bytes = slot_count * store.slot_size()})
                 .value();
    model_ = Model::create(files_->config(), std::move(dense.weights), files_->layouts(), *ops_,
                           cache_.get(), /*rows_max=*/kChunkRows)
                 .value();
    const GoldenFile golden(sprout_folder() / "golden.safetensors");
    for (const char* domain : {"english", "python", "chinese"}) {
      ids_.push_back(golden.ints(std::string(domain) + ".input_ids"));
      ids_.back().resize(24);
    }
  }

  /// All logits of the first `sequences` texts, which advance together by `tokens` in each step.
  std::vector<float> read(std::size_t sequences, std::size_t tokens, bool speculation) {
    model_->set_speculation(speculation);
    std::vector<SequenceState> states;
    for (std::size_t s = 0; s < sequences; ++s) {
      states.push_back(SequenceState::create(model_->config()).value());
    }
    std::vector<float> all;
    for (std::size_t t = 0; t < ids_[0].size(); t += tokens) {
      std::vector<SequenceRows> batch;
      for (std::size_t s = 0; s < sequences; ++s) {
        batch.push_back({&states[s], {&ids_[s][t], tokens}, LogitsWanted::kAll});
      }
      const Status status =
          model_->forward(batch, {.on_logits = [&](std::size_t, MatrixView<const float> logits) {
                            for (std::size_t r = 0; r < logits.rows; ++r) {
                              all.insert(all.end(), logits.row(r), logits.row(r) + logits.cols);
                            }
                          }});
      EXPECT_TRUE(status.ok()) << status.message();
    }
    return all;
  }

  std::unique_ptr<ModelFiles> files_;
  ThreadPool threads_{2};
  std::unique_ptr<Ops> ops_;
  AlignedBuffer buffer_;
  bool fail_guesses_ = false;
  std::size_t guess_count_ = 0;  // since a router last spoke
  FaultyReadQueue* queue_ = nullptr;
  std::unique_ptr<ExpertCache> cache_;
  std::unique_ptr<Model> model_;
  std::vector<std::vector<std::int32_t>> ids_;
};

struct Shape {
  std::size_t slots;
  std::size_t sequences;
  std::size_t tokens;  // of each sequence in a step
};

TEST_F(Speculation, ChangesNoBitOfOneSequenceNorOfSeveralNorOfChunks) {
  for (const Shape& shape : {Shape{kSlots, 1, 1}, Shape{kSlots, 3, 1}, Shape{kSlots, 1, kChunkRows},
                             Shape{kFewSlots, 1, 1}, Shape{kFewSlots, 1, kChunkRows}}) {
    SCOPED_TRACE(::testing::Message() << shape.slots << " slots, " << shape.sequences << " x "
                                      << shape.tokens << " tokens");
    open(shape.slots);
    const ExpertCacheStatistics before = cache_->statistics();
    const std::vector<float> expected = read(shape.sequences, shape.tokens, false);
    const ExpertCacheStatistics without = cache_->statistics();
    EXPECT_EQ(without.speculative_read_count, before.speculative_read_count);
    const std::vector<float> got = read(shape.sequences, shape.tokens, true);
    const ExpertCacheStatistics with = cache_->statistics();
    EXPECT_GT(with.speculative_read_count, without.speculative_read_count);
    EXPECT_GT(with.speculative_hit_count, without.speculative_hit_count);
    ASSERT_EQ(got.size(), expected.size());
    EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0);
  }
}

TEST_F(Speculation, AGuessThatCannotBeReadFailsNobody) {
  const std::vector<float> expected = read(1, 1, false);
  fail_guesses_ = true;
  const std::vector<float> got = read(1, 1, true);
  EXPECT_GT(queue_->failure_count(), 0u);
  ASSERT_EQ(got.size(), expected.size());
  EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0);
}

/// Routes as the router would, but says that it does not.
class Echo final : public RoutingSource {
 public:
  Weights choose(LayerId /*layer*/, std::span<const StepSegment> /*segments*/,
                 std::span<std::uint16_t> /*ids*/, std::span<float> /*weights*/) override {
    return Weights::kGiven;
  }
};

TEST_F(Speculation, GuessesNothingUnderAKnownRouting) {
  Echo echo;
  model_->set_routing(nullptr, &echo);
  read(1, 1, true);
  EXPECT_EQ(cache_->statistics().speculative_read_count, 0u);
  EXPECT_EQ(model_->times().guess_seconds, 0);
}

}  // namespace
}  // namespace flashmoe::testing
