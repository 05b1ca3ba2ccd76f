// Rows of several sequences in one step: what a sequence gets does not depend on its company, nor
// on how its tokens and the others' were cut into steps.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "experts/policies/forwarding_policy.h"
#include "support/bare_model.h"

namespace flashmoe::testing {
namespace {

constexpr std::size_t kRowsMax = 32;
constexpr std::size_t kSlots = 100;

/// LRU that writes down which experts each acquire named, in order.
class RecordingPolicy final : public ForwardingPolicy {
 public:
  RecordingPolicy(std::span<const std::size_t> counts, std::vector<std::vector<ExpertId>>& routed)
      : ForwardingPolicy(make_lru_policy(counts)), routed_(routed) {}
  void on_routed(std::uint64_t step, LayerId layer, std::span<const ExpertId> routed,
                 const RowCounts& rows) override {
    routed_.emplace_back(routed.begin(), routed.end());
    ForwardingPolicy::on_routed(step, layer, routed, rows);
  }

 private:
  std::vector<std::vector<ExpertId>>& routed_;
};

class Batching : public ::testing::Test {
 protected:
  Batching() {
    const GoldenFile golden(sprout_folder() / "golden.safetensors");
    for (const char* domain : {"english", "python", "chinese"}) {
      std::vector<std::int32_t> ids = golden.ints(std::string(domain) + ".input_ids");
      ids.resize(32);
      ids_.push_back(std::move(ids));
    }
  }

  Model& model() { return bare_.model(); }
  ExpertCache& experts() { return bare_.experts(); }
  SequenceState new_sequence() { return SequenceState::create(model().state_layout()).value(); }

  /// All logits of one sequence, alone, one token at a time.
  std::vector<float> alone(std::span<const std::int32_t> ids) {
    SequenceState state = new_sequence();
    std::vector<float> logits;
    for (const std::int32_t& id : ids) {
      const SequenceRows rows = {&state, {&id, 1}, LogitsWanted::kAll};
      EXPECT_TRUE(model()
                      .forward({&rows, 1}, {.on_logits =
                                                [&](std::size_t, MatrixView<const float> l) {
                                                  logits.insert(logits.end(), l.data,
                                                                l.data + l.cols);
                                                }})
                      .ok());
    }
    return logits;
  }

  std::vector<std::vector<ExpertId>> routed_;  // by every acquire
  BareModel bare_{{.slot_count = kSlots,
                   .rows_max = kRowsMax,
                   .policy = [this](std::span<const std::size_t> counts) {
                     return std::make_unique<RecordingPolicy>(counts, routed_);
                   }}};
  std::vector<std::vector<std::int32_t>> ids_;
};

TEST_F(Batching, CompanyAndCutsDoNotChangeASequencesBits) {
  std::vector<std::vector<float>> expected;
  for (const std::vector<std::int32_t>& ids : ids_) expected.push_back(alone(ids));

  const unsigned seed = 7;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int trial = 0; trial < 3; ++trial) {
    std::vector<SequenceState> states;
    for (std::size_t s = 0; s < ids_.size(); ++s) states.push_back(new_sequence());
    std::vector<std::vector<float>> got(ids_.size());
    const auto unfinished = [&](std::size_t s) { return states[s].position() < ids_[s].size(); };
    while (unfinished(0) || unfinished(1) || unfinished(2)) {
      // Every sequence takes part with 0 to 10 tokens; its rows begin where those before it end.
      std::vector<SequenceRows> batch;
      std::vector<std::size_t> owner_of_row;
      for (std::size_t s = 0; s < ids_.size(); ++s) {
        const std::size_t left = ids_[s].size() - states[s].position();
        const std::size_t count = std::min<std::size_t>(left, random() % 11);
        batch.push_back(
            {&states[s],
             std::span<const std::int32_t>(ids_[s]).subspan(states[s].position(), count),
             LogitsWanted::kAll});
        owner_of_row.insert(owner_of_row.end(), count, s);
      }
      const Status status = model().forward(
          batch, {.on_logits = [&](std::size_t row, MatrixView<const float> logits) {
            for (std::size_t r = 0; r < logits.rows; ++r) {
              std::vector<float>& out = got[owner_of_row[row + r]];
              out.insert(out.end(), logits.row(r), logits.row(r) + logits.cols);
            }
          }});
      ASSERT_TRUE(status.ok()) << status.message();
    }
    for (std::size_t s = 0; s < ids_.size(); ++s) {
      ASSERT_EQ(got[s].size(), expected[s].size());
      EXPECT_EQ(std::memcmp(got[s].data(), expected[s].data(), got[s].size() * sizeof(float)), 0)
          << "sequence " << s << ", trial " << trial;
    }
  }
}

TEST_F(Batching, OnlyWantedLogitsAreComputed) {
  SequenceState first = new_sequence();
  SequenceState second = new_sequence();
  SequenceState third = new_sequence();
  const SequenceRows batch[] = {
      {&first, std::span<const std::int32_t>(ids_[0]).first(5), LogitsWanted::kNone},
      {&second, std::span<const std::int32_t>(ids_[1]).first(4), LogitsWanted::kLast},
      {&third, std::span<const std::int32_t>(ids_[2]).first(2), LogitsWanted::kAll}};
  std::vector<std::size_t> rows;
  ASSERT_TRUE(model()
                  .forward(batch, {.on_logits =
                                       [&](std::size_t row, MatrixView<const float> logits) {
                                         for (std::size_t r = 0; r < logits.rows; ++r) {
                                           rows.push_back(row + r);
                                         }
                                       }})
                  .ok());
  EXPECT_EQ(rows, (std::vector<std::size_t>{8, 9, 10}));
}

// The slot limit moves before every step, down to the experts of one token in one layer.
TEST_F(Batching, SlotsThatComeAndGoDoNotChangeASequencesBits) {
  const unsigned seed = 8;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const std::size_t least = model().spec().moe().router.num_experts_per_tok;
  for (const std::vector<std::int32_t>& ids : ids_) {
    const std::vector<float> expected = alone(ids);
    SequenceState state = new_sequence();
    std::vector<float> got;
    while (state.position() < ids.size()) {
      const std::size_t wanted = random() % 2 == 0 ? least : least + random() % (kSlots - least);
      ASSERT_EQ(experts().set_slot_limit(wanted), wanted);
      const std::size_t left = ids.size() - state.position();
      const SequenceRows rows = {
          &state,
          std::span(ids).subspan(state.position(), std::min<std::size_t>(left, 1 + random() % 12)),
          LogitsWanted::kAll};
      const Status status = model().forward(
          {&rows, 1}, {.on_logits = [&](std::size_t, MatrixView<const float> logits) {
            for (std::size_t r = 0; r < logits.rows; ++r) {
              got.insert(got.end(), logits.row(r), logits.row(r) + logits.cols);
            }
          }});
      ASSERT_TRUE(status.ok()) << status.message();
      ASSERT_LE(experts().used_slot_count(), wanted);
    }
    experts().set_slot_limit(kSlots);
    ASSERT_EQ(got.size(), expected.size());
    EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0);
  }
  EXPECT_GT(experts().statistics().limit_eviction_count, 0u);
}

// The router's choices by rank, which the policy needs, are not by id. Whether they are the ranks
// shows where two rows route alike: a row's own order does not depend on its company.
TEST_F(Batching, ThePolicyHearsOfAnExpertInTheRoutersOrder) {
  alone(ids_[0]);
  const std::vector<std::vector<ExpertId>> by_rank = routed_;
  std::size_t ascending = 0;
  for (const std::vector<ExpertId>& routed : by_rank) {
    ASSERT_EQ(routed.size(), model().spec().moe().router.num_experts_per_tok);
    ascending += std::ranges::is_sorted(routed) ? 1 : 0;
  }
  EXPECT_LT(ascending, by_rank.size() / 4);

  routed_.clear();
  SequenceState first = new_sequence();
  SequenceState second = new_sequence();
  for (const std::int32_t& id : ids_[0]) {
    const SequenceRows rows[] = {{&first, {&id, 1}, LogitsWanted::kNone},
                                 {&second, {&id, 1}, LogitsWanted::kNone}};
    ASSERT_TRUE(model().forward(rows, {}).ok());
  }
  EXPECT_EQ(routed_, by_rank);
}

}  // namespace
}  // namespace flashmoe::testing
