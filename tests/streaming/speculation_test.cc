// Reads on a guess change what is in memory, and no bit of what is computed.
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "experts/policies/forwarding_policy.h"
#include "experts/policies/residency_policies.h"
#include "io/testing/faulty_read_queue.h"
#include "support/bare_model.h"

namespace flashmoe::testing {
namespace {

constexpr std::size_t kChunkRows = 12;

/// The default policy, and a count of the guesses since a router last spoke.
class CountingPolicy final : public ForwardingPolicy {
 public:
  CountingPolicy(std::span<const std::size_t> counts, std::size_t& guess_count)
      : ForwardingPolicy(make_residency_policy(kDefaultResidencyPolicy, counts)),
        guess_count_(guess_count) {}
  void on_routed(std::uint64_t step, LayerId layer, std::span<const ExpertId> routed,
                 const RowCounts& rows) override {
    guess_count_ = 0;
    ForwardingPolicy::on_routed(step, layer, routed, rows);
  }
  void on_loaded(ExpertKey key, LoadCause cause) override {
    if (cause == LoadCause::kGuessed) ++guess_count_;
    ForwardingPolicy::on_loaded(key, cause);
  }

 private:
  std::size_t& guess_count_;
};

/// The shipped model on a disk that has to be waited for.
class Speculation : public ::testing::Test {
 protected:
  /// Enough for what a step needs, but not for every expert that a layer needs in a chunk; and
  /// more.
  static constexpr std::size_t kFewSlots = 50;
  static constexpr std::size_t kSlots = 200;

  Speculation() { open(kSlots); }

  void open(std::size_t slot_count) {
    ids_.clear();
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
    bare_ = std::make_unique<BareModel>(
        BareModel::Options{.slot_count = slot_count,
                           .rows_max = kChunkRows,
                           .policy =
                               [this](std::span<const std::size_t> counts) {
                                 return std::make_unique<CountingPolicy>(counts, guess_count_);
                               },
                           .queue = std::move(queue)});
    const GoldenFile golden(sprout_folder() / "golden.safetensors");
    for (const char* domain : {"english", "python", "chinese"}) {
      ids_.push_back(golden.ints(std::string(domain) + ".input_ids"));
      ids_.back().resize(24);
    }
  }

  Model& model() { return bare_->model(); }
  ExpertCache& experts() { return bare_->experts(); }

  /// All logits of the first `sequences` texts, which advance together by `tokens` in each step.
  std::vector<float> read(std::size_t sequences, std::size_t tokens, bool speculation) {
    model().set_speculation(speculation);
    std::vector<SequenceState> states;
    for (std::size_t s = 0; s < sequences; ++s) {
      states.push_back(SequenceState::create(model().state_layout()).value());
    }
    std::vector<float> all;
    for (std::size_t t = 0; t < ids_[0].size(); t += tokens) {
      std::vector<SequenceRows> batch;
      for (std::size_t s = 0; s < sequences; ++s) {
        batch.push_back({&states[s], {&ids_[s][t], tokens}, LogitsWanted::kAll});
      }
      const Status status =
          model().forward(batch, {.on_logits = [&](std::size_t, MatrixView<const float> logits) {
                            for (std::size_t r = 0; r < logits.rows; ++r) {
                              all.insert(all.end(), logits.row(r), logits.row(r) + logits.cols);
                            }
                          }});
      EXPECT_TRUE(status.ok()) << status.message();
    }
    return all;
  }

  bool fail_guesses_ = false;
  std::size_t guess_count_ = 0;  // since a router last spoke
  FaultyReadQueue* queue_ = nullptr;
  std::unique_ptr<BareModel> bare_;
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
    const ExpertCacheStatistics before = experts().statistics();
    const std::vector<float> expected = read(shape.sequences, shape.tokens, false);
    const ExpertCacheStatistics without = experts().statistics();
    EXPECT_EQ(without.speculative_read_count, before.speculative_read_count);
    const std::vector<float> got = read(shape.sequences, shape.tokens, true);
    const ExpertCacheStatistics with = experts().statistics();
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
  model().set_routing(nullptr, &echo);
  read(1, 1, true);
  EXPECT_EQ(experts().statistics().speculative_read_count, 0u);
  EXPECT_EQ(model().times().guess_seconds, 0);
}

}  // namespace
}  // namespace flashmoe::testing
