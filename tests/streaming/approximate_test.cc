// Misses that are answered by a rule rather than read: approximate in exactly the stated way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "model/miss_handler.h"
#include "support/bare_model.h"

namespace flashmoe::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatEq;

constexpr std::size_t kPrompt = 12;
constexpr std::size_t kAnswer = 8;

/// The shipped model, with a slot for so many experts.
class TestModel {
 public:
  explicit TestModel(std::size_t slot_count)
      : bare_({.slot_count = slot_count, .rows_max = kPrompt}) {}

  ExpertCache& experts() { return bare_.experts(); }
  Model& model() { return bare_.model(); }
  const ModelSpec& spec() { return model().spec(); }

  /// Makes experts of layer 0 resident.
  void load(std::vector<ExpertId> ids) {
    std::vector<ExpertLease> leases(ids.size());
    ASSERT_TRUE(experts().acquire(0, LayerId{0}, ids, leases).ok());
  }

  /// The logits of every generated token: a prompt in one step, then one token in each.
  std::vector<float> read(std::span<const std::int32_t> ids) {
    SequenceState state = SequenceState::create(model().state_layout()).value();
    std::vector<float> all;
    const auto step = [&](std::size_t begin, std::size_t count, bool is_generated) {
      const SequenceRows rows = {.sequence = &state,
                                 .ids = ids.subspan(begin, count),
                                 .logits = LogitsWanted::kLast,
                                 .is_generated = is_generated};
      const Status status = model().forward(
          {&rows, 1}, {.on_logits = [&](std::size_t, MatrixView<const float> logits) {
            all.insert(all.end(), logits.data, logits.data + logits.cols);
          }});
      EXPECT_TRUE(status.ok()) << status.message();
    };
    step(0, kPrompt, false);
    all.clear();
    for (std::size_t t = kPrompt; t < ids.size(); ++t) step(t, 1, true);
    return all;
  }

 private:
  BareModel bare_;
};

std::vector<std::int32_t> text() {
  const GoldenFile golden(sprout_folder() / "golden.safetensors");
  std::vector<std::int32_t> ids = golden.ints("python.input_ids");
  ids.resize(kPrompt + kAnswer);
  return ids;
}

/// One call of a router.
struct Routing {
  std::vector<std::uint16_t> ids;
  std::vector<float> weights;
};

/// Writes down what routers pick for generated tokens, and which of it was not in memory.
class Watcher final : public RoutingObserver {
 public:
  explicit Watcher(const ExpertCache& experts) : experts_(experts) {}
  void on_routed(LayerId layer, std::span<const StepSegment> segments,
                 std::span<const std::uint16_t> ids, std::span<const float> weights) override {
    if (!segments[0].is_generated) return;
    routings.push_back({{ids.begin(), ids.end()}, {weights.begin(), weights.end()}});
    std::vector<bool>& is_missing = missing.emplace_back();
    for (const std::uint16_t id : ids) {
      is_missing.push_back(!experts_.is_resident({layer, ExpertId{id}}));
    }
  }
  std::vector<Routing> routings;
  std::vector<std::vector<bool>> missing;

 private:
  const ExpertCache& experts_;
};

/// Gives generated tokens a known routing.
class Script final : public RoutingSource {
 public:
  explicit Script(std::deque<Routing> routings) : routings_(std::move(routings)) {}
  Weights choose(LayerId /*layer*/, std::span<const StepSegment> segments,
                 std::span<std::uint16_t> ids, std::span<float> weights) override {
    if (!segments[0].is_generated) return Weights::kGiven;
    std::ranges::copy(routings_.front().ids, ids.begin());
    std::ranges::copy(routings_.front().weights, weights.begin());
    routings_.pop_front();
    return Weights::kGiven;
  }

 private:
  std::deque<Routing> routings_;
};

class Approximate : public ::testing::TestWithParam<MissRule> {};

// A model that holds every expert, told to route as the rule says, gives the same bits. Its routers
// see the approximate residual stream too, so the picks that the rule is applied to are the same.
TEST_P(Approximate, IsTheResidentModelWithTheStatedRouting) {
  const std::vector<std::int32_t> ids = text();
  TestModel small(200);
  MissHandler misses(small.experts(), small.spec().moe().router.num_experts,
                     small.spec().moe().router.num_experts_per_tok, {.rule = GetParam()});
  Watcher watcher(small.experts());
  small.model().set_routing(&watcher, nullptr);
  small.model().set_miss_handler(&misses);
  const std::vector<float> got = small.read(ids);
  ASSERT_GT(misses.statistics().generated.miss_count, 0u);
  EXPECT_EQ(misses.statistics().generated.read_count, 0u);

  std::deque<Routing> expected_routing;
  std::uint64_t miss_count = 0;
  double replaced = 0;
  for (std::size_t i = 0; i < watcher.routings.size(); ++i) {
    Routing routing = watcher.routings[i];
    double sum = 0;
    double kept = 0;
    for (std::size_t j = 0; j < routing.ids.size(); ++j) {
      sum += routing.weights[j];
      if (!watcher.missing[i][j]) {
        kept += routing.weights[j];
        continue;
      }
      ++miss_count;
      replaced += routing.weights[j];
      routing.ids[j] = kNoExpert;
      routing.weights[j] = 0;
    }
    if (GetParam() == MissRule::kRenormalise && kept > 0 && kept < sum) {
      for (float& weight : routing.weights) weight = static_cast<float>(weight * (sum / kept));
    }
    expected_routing.push_back(routing);
  }
  EXPECT_EQ(misses.statistics().generated.routed_count,
            watcher.routings.size() * small.spec().moe().router.num_experts_per_tok);
  EXPECT_EQ(misses.statistics().generated.miss_count, miss_count);
  EXPECT_NEAR(misses.statistics().generated.replaced_weight, replaced, 1e-9);

  TestModel resident(small.spec().layers.size() * small.spec().moe().router.num_experts);
  Script script(std::move(expected_routing));
  resident.model().set_routing(nullptr, &script);
  const std::vector<float> expected = resident.read(ids);
  ASSERT_EQ(got.size(), expected.size());
  EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0);

  TestModel exact(200);
  EXPECT_NE(std::memcmp(got.data(), exact.read(ids).data(), got.size() * sizeof(float)), 0);
}

INSTANTIATE_TEST_SUITE_P(Rules, Approximate,
                         ::testing::Values(MissRule::kSkip, MissRule::kRenormalise),
                         [](const auto& info) {
                           return info.param == MissRule::kSkip ? "Skip" : "Renormalise";
                         });

/// Everything that routers picked, prompts included.
class FullWatcher final : public RoutingObserver {
 public:
  void on_routed(LayerId layer, std::span<const StepSegment> /*segments*/,
                 std::span<const std::uint16_t> ids, std::span<const float> weights) override {
    routings.emplace_back(layer,
                          Routing{{ids.begin(), ids.end()}, {weights.begin(), weights.end()}});
  }
  std::deque<std::pair<LayerId, Routing>> routings;
};

class FullScript final : public RoutingSource {
 public:
  explicit FullScript(std::deque<std::pair<LayerId, Routing>> routings)
      : routings_(std::move(routings)) {}
  Weights choose(LayerId layer, std::span<const StepSegment> /*segments*/,
                 std::span<std::uint16_t> ids, std::span<float> weights) override {
    EXPECT_EQ(layer, routings_.front().first);
    std::ranges::copy(routings_.front().second.ids, ids.begin());
    std::ranges::copy(routings_.front().second.weights, weights.begin());
    routings_.pop_front();
    return Weights::kGiven;
  }

 private:
  std::deque<std::pair<LayerId, Routing>> routings_;
};

// A fixed set in the middle of its swaps: who is to come is served by who has the place, others by
// the first place, beside that one's own weight where it was picked too. Prompts as well.
TEST(ApproximateFixedSet, IsTheResidentModelWithStaleExperts) {
  constexpr std::size_t kPlaces = 25;
  const std::vector<std::int32_t> ids = text();
  TestModel small(8 * kPlaces);
  const std::size_t k = small.spec().moe().router.num_experts_per_tok;
  const std::vector<std::size_t> counts(small.spec().layers.size(),
                                        small.spec().moe().router.num_experts);
  FixedSet set(counts);
  ResidentSet wanted{.layers = std::vector<std::vector<ExpertId>>(counts.size())};
  for (std::size_t l = 0; l < counts.size(); ++l) {
    for (std::size_t i = 0; i < kPlaces; ++i) {
      wanted.layers[l].push_back({static_cast<std::uint16_t>((7 * l + 3 * i) % counts[l])});
    }
  }
  set.plan(wanted);
  for (std::uint32_t l = 0; l < counts.size(); ++l) {
    ASSERT_TRUE(small.experts().exchange(LayerId{l}, set.pending(LayerId{l})).ok());
    set.complete(LayerId{l}, kPlaces);
    for (ExpertId& id : wanted.layers[l])
      id.value = static_cast<std::uint16_t>((id.value + 1) % 128);
  }
  set.plan(wanted);
  ASSERT_GT(set.pending_count(), 0u);

  MissHandler misses(small.experts(), counts[0], k,
                     {.rule = MissRule::kStale, .answers_prompts = true}, &set);
  FullWatcher watcher;
  small.model().set_routing(&watcher, nullptr);
  small.model().set_miss_handler(&misses);
  const std::uint64_t reads = small.experts().statistics().read_count;
  const std::vector<float> got = small.read(ids);
  EXPECT_EQ(small.experts().statistics().read_count, reads) << "nothing is read";

  std::size_t by_place = 0;
  std::size_t doubled = 0;
  for (auto& [layer, routing] : watcher.routings) {
    for (std::size_t i = 0; i < routing.ids.size(); ++i) {
      const ExpertId id{routing.ids[i]};
      if (set.contains({layer, id})) continue;
      // The place that `id` is to get: that of its swap, or the first.
      std::uint16_t holder = set.members(layer)[0].value;
      for (const ExpertSwap& swap : set.pending(layer)) {
        if (swap.in != id) continue;
        holder = swap.out.value;
        ++by_place;
      }
      const float weight = routing.weights[i];
      routing.ids[i] = kNoExpert;
      routing.weights[i] = 0;
      const std::size_t row = i / k * k;
      std::size_t at = i;
      for (std::size_t j = row; j < row + k; ++j) {
        if (routing.ids[j] != holder) continue;
        at = j;
        ++doubled;
      }
      routing.ids[at] = holder;
      routing.weights[at] += weight;
    }
  }
  EXPECT_GT(by_place, 0u);
  EXPECT_GT(doubled, 0u);

  TestModel resident(counts.size() * counts[0]);
  FullScript script(std::move(watcher.routings));
  resident.model().set_routing(nullptr, &script);
  const std::vector<float> expected = resident.read(ids);
  ASSERT_EQ(got.size(), expected.size());
  EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0);
}

/// What MissHandler makes of one row of layer 0, where experts 2, 5 and 7 are in memory.
class MissHandlerTest : public ::testing::Test {
 protected:
  MissHandlerTest() : logits_(model_.spec().moe().router.num_experts, -9.0f) {
    model_.load({{2}, {5}, {7}});
  }

  void resolve(const MissOptions& options, bool is_generated = true) {
    misses_ = std::make_unique<MissHandler>(model_.experts(), logits_.size(), ids_.size(), options);
    resolve_again(is_generated);
  }
  void resolve_again(bool is_generated = true) {
    const StepSegment segment = {.row_begin = 0, .row_end = 1, .is_generated = is_generated};
    misses_->resolve(LayerId{0}, router_, {&segment, 1}, {logits_.data(), 1, logits_.size()}, ids_,
                     weights_);
  }

  TestModel model_{50};
  Router router_{model_.spec().moe().router, model_.spec().hidden_size};
  std::vector<float> logits_;
  std::vector<std::uint16_t> ids_ = {9, 2, 4};
  std::vector<float> weights_ = {0.5f, 0.3f, 0.2f};
  std::unique_ptr<MissHandler> misses_;
};

TEST_F(MissHandlerTest, LeavesPromptsAlone) {
  resolve({.rule = MissRule::kSkip}, /*is_generated=*/false);
  EXPECT_THAT(ids_, ElementsAre(9, 2, 4));
  EXPECT_EQ(misses_->statistics().generated.routed_count, 0u);
}

TEST_F(MissHandlerTest, Skips) {
  resolve({.rule = MissRule::kSkip});
  EXPECT_THAT(ids_, ElementsAre(kNoExpert, 2, kNoExpert));
  EXPECT_THAT(weights_, ElementsAre(0, 0.3f, 0));
  EXPECT_EQ(misses_->statistics().generated.miss_count, 2u);
  EXPECT_FLOAT_EQ(static_cast<float>(misses_->statistics().generated.replaced_weight), 0.7f);
}

TEST_F(MissHandlerTest, RenormalisesWhatIsLeft) {
  resolve({.rule = MissRule::kRenormalise});
  EXPECT_THAT(ids_, ElementsAre(kNoExpert, 2, kNoExpert));
  EXPECT_THAT(weights_, ElementsAre(0, FloatEq(1), 0));
  ids_ = {9, 4, 1};
  weights_ = {0.5f, 0.3f, 0.2f};
  resolve_again();
  EXPECT_THAT(weights_, ElementsAre(0, 0, 0)) << "nothing is left";
}

TEST_F(MissHandlerTest, SubstitutesTheBestThatIsHereWithItsOwnWeight) {
  for (const int id : {9, 2, 4}) logits_[static_cast<std::size_t>(id)] = 3;
  logits_[7] = 2;
  logits_[5] = 1;
  resolve({.rule = MissRule::kSubstitute});
  EXPECT_THAT(ids_, ElementsAre(7, 2, 5));
  EXPECT_THAT(weights_,
              ElementsAre(FloatEq(0.5f * std::exp(-1.0f)), 0.3f, FloatEq(0.2f * std::exp(-2.0f))));
  ids_ = {9, 2, 4};
  logits_[5] = 2;  // as good as 7
  resolve_again();
  EXPECT_THAT(ids_, ElementsAre(5, 2, 7)) << "the smaller id of equals first";
}

TEST_F(MissHandlerTest, SubstitutesNobodyWhereNobodyIsLeft) {
  ids_ = {2, 5, 7, 1};
  weights_ = {0.4f, 0.3f, 0.2f, 0.1f};
  resolve({.rule = MissRule::kSubstitute});
  EXPECT_THAT(ids_, ElementsAre(2, 5, 7, kNoExpert));
  EXPECT_THAT(weights_, ElementsAre(0.4f, 0.3f, 0.2f, 0));
}

TEST_F(MissHandlerTest, LetsWhoHoldsThePlaceServeForWhoIsMissing) {
  const std::vector<std::size_t> counts(8, logits_.size());
  FixedSet set(counts);
  ResidentSet wanted{.layers = std::vector<std::vector<ExpertId>>(8)};
  wanted.layers[0] = {{5}, {2}, {7}};
  set.plan(wanted);
  set.complete(LayerId{0}, 3);
  wanted.layers[0] = {{5}, {2}, {4}};
  set.plan(wanted);  // 4 is to get the place of 7
  const MissOptions options = {.rule = MissRule::kStale, .answers_prompts = true};
  misses_ =
      std::make_unique<MissHandler>(model_.experts(), logits_.size(), ids_.size(), options, &set);
  resolve_again();
  EXPECT_THAT(ids_, ElementsAre(5, 2, 7));
  EXPECT_THAT(weights_, ElementsAre(0.5f, 0.3f, 0.2f));
  EXPECT_EQ(misses_->statistics().generated.miss_count, 2u);
  ids_ = {9, 5, 1};
  weights_ = {0.5f, 0.3f, 0.2f};
  resolve_again(/*is_generated=*/false);
  EXPECT_THAT(ids_, ElementsAre(kNoExpert, 5, kNoExpert)) << "both by who has the first place";
  EXPECT_THAT(weights_, ElementsAre(0, FloatEq(1), 0));
  EXPECT_EQ(misses_->statistics().prompts.miss_count, 2u);
  EXPECT_EQ(misses_->statistics().generated.miss_count, 2u) << "counted apart";
}

TEST_F(MissHandlerTest, ReadsFromTheThresholdOn) {
  resolve({.rule = MissRule::kSubstitute, .threshold = 0.5});
  EXPECT_EQ(ids_[0], 9);
  EXPECT_EQ(weights_[0], 0.5f);
  EXPECT_NE(ids_[2], 4);
  EXPECT_EQ(misses_->statistics().generated.read_count, 1u);
  EXPECT_EQ(misses_->statistics().generated.miss_count, 1u);
}

TEST_F(MissHandlerTest, SpendsItsQualityBudgetAndReadsTheRest) {
  resolve({.rule = MissRule::kSkip, .quality_budget = 0.25});
  EXPECT_THAT(ids_, ElementsAre(9, 2, kNoExpert)) << "0.5 of 1 is too much, 0.2 is not";
  EXPECT_EQ(misses_->statistics().generated.read_count, 1u);
  ids_ = {9, 2, 4};
  weights_ = {0.5f, 0.3f, 0.2f};
  resolve_again();
  EXPECT_THAT(ids_, ElementsAre(9, 2, kNoExpert)) << "0.4 of 2";
  for (int i = 0; i < 100; ++i) {
    ids_ = {9, 2, 4};
    weights_ = {0.5f, 0.3f, 0.2f};
    resolve_again();
    const MissCounts& statistics = misses_->statistics().generated;
    ASSERT_LE(statistics.replaced_weight, 0.25 * statistics.routed_weight);
  }
}

}  // namespace
}  // namespace flashmoe::testing
