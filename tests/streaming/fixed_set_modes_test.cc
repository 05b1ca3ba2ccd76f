// Modes with a fixed set of experts: how it is found, what a change of subject does, and that
// reading what misses makes each of them exact.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/testing/temporary_folder.h"
#include "engine/expert_residency.h"
#include "engine/model_files.h"
#include "flashmoe/engine.h"
#include "support/bare_model.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

constexpr Residency kFixedModes[] = {Residency::kPredictive, Residency::kDelta,
                                     Residency::kAsyncDelta};
constexpr std::size_t kCapacity = 24;

class FixedSetModes : public ::testing::Test {
 protected:
  /// The shipped model in such a mode, and a session.
  void open(ResidencyOptions residency) {
    if (residency.residency != Residency::kExact) residency.capacity = kCapacity;
    session_ = nullptr;
    engine_ = Engine::open({.model = model_,
                            .memory_bytes = std::uint64_t{256} << 20,
                            .threads = 2,
                            .context = 512,
                            .prefill_chunk = 32,
                            .residency = residency,
                            .may_change_residency = true})
                  .value();
    session_ = engine_->new_session().value();
  }
  GenerateResult generate(const char* text, std::size_t count, bool is_new_subject = false) {
    GenerateOptions options = {.max_tokens = count, .ignore_eos = true};
    options.is_new_subject = is_new_subject;
    reports_.clear();
    options.on_token = [this](const TokenReport& report) {
      reports_.push_back(report);
      return true;
    };
    Result<GenerateResult> result = session_->generate(engine_->tokenize(text).value(), options);
    EXPECT_TRUE(result.ok()) << result.status().message();
    return std::move(result).value();
  }
  EngineStatistics statistics() const { return engine_->statistics(); }

  static constexpr const char* kCode = "def quicksort(items):\n    if";
  static constexpr const char* kProse = "\n\nThe history of the town begins with a";

  std::filesystem::path model_ = sprout_folder();
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Session> session_;
  std::vector<TokenReport> reports_;
};

TEST_F(FixedSetModes, AreExactWhereMissesAreRead) {
  open({});
  const std::vector<std::int32_t> first = generate(kCode, 12).token_ids;
  const std::vector<std::int32_t> second = generate(kProse, 12).token_ids;
  for (const Residency mode : kFixedModes) {
    open({.residency = mode, .on_miss = OnMiss::kRead});
    EXPECT_EQ(generate(kCode, 12).token_ids, first) << to_string(mode);
    EXPECT_EQ(generate(kProse, 12, true).token_ids, second) << to_string(mode);
    EXPECT_GT(statistics().expert_misses, 0u);
    EXPECT_EQ(statistics().routed_requests, 0u) << "nothing is approximate";
  }
}

TEST_F(FixedSetModes, ReadNothingWhileTheyGenerate) {
  for (const OnMiss rule : {OnMiss::kStale, OnMiss::kSkip, OnMiss::kSubstitute}) {
    open({.residency = Residency::kPredictive, .on_miss = rule});
    const GenerateResult first = generate(kCode, 12);
    EXPECT_EQ(first.statistics.subject_switch.discovery_tokens, 10u);
    EXPECT_EQ(statistics().fixed_experts, 8 * kCapacity);
    const std::uint64_t bytes = statistics().bytes_read;
    const GenerateResult second = generate(kProse, 12, true);
    EXPECT_EQ(statistics().bytes_read, bytes) << to_string(rule);
    EXPECT_EQ(second.statistics.subject_switch.discovery_tokens, 0u) << "the set stays";
    EXPECT_EQ(statistics().routed_requests, (11 + 11) * 8 * 8u)
        << "the last token of each answer is read with the next prompt, if at all";
    EXPECT_GT(statistics().routed_fallbacks, 0u);
    EXPECT_GT(statistics().prompt_fallbacks, 0u);
  }
}

TEST_F(FixedSetModes, ThePromptOfAnUpgradeIsReadExactly) {
  open({});
  const std::int32_t first = generate(kCode, 1).token_ids[0];
  open({.residency = Residency::kPredictive});
  EXPECT_EQ(generate(kCode, 1).token_ids[0], first);
}

TEST_F(FixedSetModes, DeltaSwapsBeforeTheFirstTokenAndThenReadsThePromptAgain) {
  open({.residency = Residency::kDelta});
  generate(kCode, 12);
  const std::uint64_t placed = statistics().experts_placed;
  const GenerateResult second = generate(kProse, 12, true);
  const SwitchReport& report = second.statistics.subject_switch;
  EXPECT_EQ(report.discovery_tokens, 10u);
  EXPECT_GT(report.experts_found, report.experts_missing);
  EXPECT_GE(report.experts_missing, report.swap_count);
  EXPECT_GT(report.swap_count, 0u);
  EXPECT_EQ(statistics().experts_placed - placed, report.swap_count);
  EXPECT_GT(report.prompt_seconds, 0);
  for (const TokenReport& token : reports_) EXPECT_EQ(token.swaps_pending, 0u);

  const std::size_t before = session_->token_ids().size();
  generate("\nMore", 4);  // the same subject
  EXPECT_EQ(session_->token_ids().size(), before + engine_->tokenize("\nMore")->size() + 4);
}

TEST_F(FixedSetModes, AsyncDeltaSwapsTwoLayersBetweenTokens) {
  open({.residency = Residency::kAsyncDelta});
  generate(kCode, 12);
  const GenerateResult second = generate(kProse, 12, true);
  EXPECT_EQ(second.statistics.subject_switch.swap_seconds, 0) << "none before the first token";
  std::vector<std::size_t> pending;
  for (const TokenReport& token : reports_) pending.push_back(token.layers_pending);
  EXPECT_THAT(std::vector<std::size_t>(pending.begin(), pending.begin() + 5),
              ElementsAreArray({6, 4, 2, 0, 0}));
  EXPECT_EQ(statistics().swaps_pending, 0u);
  EXPECT_GT(second.statistics.swap_seconds, 0);
}

TEST_F(FixedSetModes, ASliceOfTimeSwapsAtLeastAGroupBetweenTokens) {
  open({.residency = Residency::kAsyncDelta, .swap_seconds = 1e-9});
  generate(kCode, 12);
  generate(kProse, 60, true);
  ASSERT_GT(reports_[0].swaps_pending, 0u);
  for (std::size_t i = 1; i < reports_.size(); ++i) {
    if (reports_[i - 1].swaps_pending == 0) break;
    EXPECT_LT(reports_[i].swaps_pending, reports_[i - 1].swaps_pending);
    EXPECT_GE(reports_[i].swaps_pending + 8, reports_[i - 1].swaps_pending);
  }
  EXPECT_EQ(statistics().swaps_pending, 0u);
}

TEST_F(FixedSetModes, AHeldAnswerBeginsWhenTheSwapsAreMade) {
  open({.residency = Residency::kAsyncDelta});
  generate(kCode, 12);
  const std::size_t before = session_->token_ids().size();
  const std::vector<std::int32_t> shown = generate(kProse, 12, true).token_ids;
  open({.residency = Residency::kAsyncDelta, .hold = Hold::kOutput});
  generate(kCode, 12);
  const GenerateResult held = generate(kProse, 8, true);
  EXPECT_EQ(held.statistics.held_tokens, 4u);
  EXPECT_EQ(held.token_ids.size(), 8u) << "held tokens do not count";
  EXPECT_THAT(held.token_ids, ElementsAreArray(shown.begin() + 4, shown.end()));
  EXPECT_EQ(std::ranges::count(reports_, true, &TokenReport::is_held), 4);
  EXPECT_EQ(session_->token_ids().size(),
            before + engine_->tokenize(kProse)->size() + shown.size());
}

TEST_F(FixedSetModes, ARestartedAnswerIsThatOfTheBlockingSwitch) {
  open({.residency = Residency::kDelta});
  generate(kCode, 12);
  const std::vector<std::int32_t> blocking = generate(kProse, 12, true).token_ids;
  const std::size_t length = session_->token_ids().size();
  open({.residency = Residency::kAsyncDelta, .hold = Hold::kRestart});
  generate(kCode, 12);
  EXPECT_EQ(generate(kProse, 12, true).token_ids, blocking);
  EXPECT_EQ(session_->token_ids().size(), length) << "held tokens are gone";
}

TEST_F(FixedSetModes, CyclesOfResetAndUpgradeGiveTheSameEachTime) {
  open({.residency = Residency::kDelta});
  std::vector<std::int32_t> first;
  std::vector<std::int32_t> second;
  for (int cycle = 0; cycle < 3; ++cycle) {
    session_->reset_experts(/*cold=*/true);
    ASSERT_TRUE(session_->reset().ok());
    EXPECT_EQ(statistics().routed_requests, 0u);
    EXPECT_EQ(statistics().fixed_experts, 0u);
    const std::vector<std::int32_t> a = generate(kCode, 12).token_ids;
    const std::vector<std::int32_t> b = generate(kProse, 12, true).token_ids;
    if (cycle > 0) {
      EXPECT_EQ(a, first);
      EXPECT_EQ(b, second);
    }
    first = a;
    second = b;
  }
}

TEST_F(FixedSetModes, AWarmResetKeepsWhatIsInMemory) {
  open({.residency = Residency::kDelta});
  generate(kCode, 4);
  session_->reset_experts(/*cold=*/false);
  ASSERT_TRUE(session_->reset().ok());
  const std::uint64_t misses = statistics().expert_misses;
  generate(kCode, 4);
  const std::uint64_t warm = statistics().expert_misses - misses;
  session_->reset_experts(/*cold=*/true);
  ASSERT_TRUE(session_->reset().ok());
  const std::uint64_t before = statistics().expert_misses;
  generate(kCode, 4);
  EXPECT_LT(warm, statistics().expert_misses - before);
}

TEST_F(FixedSetModes, ARefreshFindsTheSetAnew) {
  open({.residency = Residency::kPredictive});
  generate(kCode, 60);
  const std::uint64_t placed = statistics().experts_placed;
  open({.residency = Residency::kPredictive, .refresh_every = 20});
  generate(kCode, 60);
  EXPECT_GT(statistics().experts_placed, placed);
  EXPECT_EQ(statistics().fixed_experts, 8 * kCapacity);
}

TEST_F(FixedSetModes, TheStepsOfAGenerationCanBeTakenOneByOne) {
  open({.residency = Residency::kAsyncDelta});
  generate(kCode, 12);
  const std::vector<std::int32_t> expected = generate(kProse, 12, true).token_ids;
  open({.residency = Residency::kAsyncDelta});
  GenerateOptions options = {.max_tokens = 12, .ignore_eos = true};
  ASSERT_TRUE(session_->upgrade(engine_->tokenize(kCode).value(), options).ok());
  ASSERT_TRUE(session_->generate({}, options).ok());
  const Result<SwitchReport> report =
      session_->switch_subject(engine_->tokenize(kProse).value(), /*incremental=*/true, options);
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_GT(statistics().swaps_pending, 0u);
  EXPECT_EQ(session_->generate({}, options)->token_ids, expected);
}

TEST_F(FixedSetModes, StepsOutOfTurnAreRefused) {
  const std::vector<std::int32_t> prompt = {1, 2, 3};
  open({});
  EXPECT_EQ(session_->upgrade(prompt, {}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(session_->switch_subject(prompt, false, {}).status().code(),
            StatusCode::kInvalidArgument);
  open({.residency = Residency::kPredictive});
  EXPECT_THAT(session_->switch_subject(prompt, false, {}).status().message(),
              HasSubstr("upgrade first"));
  EXPECT_FALSE(session_->upgrade({}, {}).ok()) << "nothing to see";
  ASSERT_TRUE(session_->upgrade(prompt, {}).ok());
  EXPECT_THAT(session_->upgrade(prompt, {}).status().message(), HasSubstr("already"));
  EXPECT_EQ(session_->switch_subject({{-1}}, false, {}).status().code(),
            StatusCode::kInvalidArgument);
}

TEST_F(FixedSetModes, TheModeCanChangeWhileTheEngineRuns) {
  open({});
  const std::vector<std::int32_t> exact = generate(kCode, 12).token_ids;
  for (const Residency mode : {Residency::kLru, Residency::kPredictive, Residency::kLazy,
                               Residency::kAsyncDelta, Residency::kExact}) {
    ASSERT_TRUE(engine_->set_residency({.residency = mode, .on_miss = OnMiss::kRead}).ok());
    EXPECT_EQ(engine_->residency().residency, mode);
    ASSERT_TRUE(session_->reset().ok());
    EXPECT_EQ(generate(kCode, 12).token_ids, exact) << to_string(mode);
  }
  EXPECT_FALSE(engine_->set_residency({.capacity = 3}).ok());
  EXPECT_FALSE(engine_->set_residency({.on_miss = OnMiss::kStale}).ok());
  EXPECT_EQ(engine_->residency().residency, Residency::kExact);
  EXPECT_EQ(generate(kProse, 2).token_ids.size(), 2u);
}

TEST_F(FixedSetModes, AFailedSwapLeavesTheSequenceAndCanBeMadeLater) {
  TemporaryFolder folder;
  for (const auto& entry : std::filesystem::directory_iterator(sprout_folder())) {
    const std::string name = entry.path().filename().string();
    if (entry.is_regular_file()) std::filesystem::copy_file(entry.path(), folder / name);
  }
  model_ = folder.path();
  open({.residency = Residency::kDelta});
  generate(kCode, 12);
  const std::vector<std::int32_t> before(session_->token_ids().begin(),
                                         session_->token_ids().end());
  const std::filesystem::path shard = folder / "model-00003-of-00004.safetensors";
  std::filesystem::resize_file(shard, 1 << 20);
  const std::vector<std::int32_t> prompt = engine_->tokenize(kProse).value();
  const GenerateOptions options = {.max_tokens = 12, .ignore_eos = true};
  const Status failed = session_->switch_subject(prompt, false, options).status();
  EXPECT_THAT(std::string(failed.message()), HasSubstr(shard.filename().string()));
  EXPECT_THAT(session_->token_ids(), ElementsAreArray(before));
  std::filesystem::copy_file(sprout_folder() / shard.filename(), shard,
                             std::filesystem::copy_options::overwrite_existing);
  const Result<SwitchReport> report = session_->switch_subject(prompt, false, options);
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_EQ(statistics().swaps_pending, 0u);
  EXPECT_EQ(session_->generate({}, options)->token_ids.size(), 12u);
}

/// ExpertResidency on the shipped model, step by step.
class ExpertResidencyTest : public ::testing::Test {
 protected:
  void make(const ResidencyOptions& options) {
    const std::unique_ptr<ModelFiles> files = ModelFiles::open(sprout_folder()).value();
    store_ = files->take_store();
    residency_ = ExpertResidency::create(options, "model", store_->expert_counts()).value();
    bare_ = std::make_unique<BareModel>(
        BareModel::Options{.slot_count = kSlots, .rows_max = 16, .policy = [this](auto) {
                             return residency_->make_policy();
                           }});
    bare_->model().set_routing(&observers_, nullptr);
    ASSERT_TRUE(residency_
                    ->attach({.cache = &bare_->experts(),
                              .model = &bare_->model(),
                              .observers = &observers_,
                              .store = store_.get()},
                             /*speculation=*/false, {})
                    .ok());
  }
  /// As if every layer's router had picked `ids` for a token.
  void route(const std::vector<std::uint16_t>& ids) {
    const StepSegment segment = {.row_begin = 0, .row_end = 1};
    const std::vector<float> weights(ids.size());
    for (std::uint32_t l = 0; l < 8; ++l) {
      observers_.on_routed(LayerId{l}, {&segment, 1}, ids, weights);
    }
  }
  std::vector<int> members(std::uint32_t layer) const {
    std::vector<int> ids;
    for (const ExpertId id : residency_->set().members(LayerId{layer})) ids.push_back(id.value);
    return ids;
  }

  static constexpr std::size_t kSlots = 8 * 12;
  std::unique_ptr<ExpertStore> store_;
  RoutingObservers observers_;
  std::unique_ptr<BareModel> bare_;
  std::unique_ptr<ExpertResidency> residency_;
};

TEST_F(ExpertResidencyTest, TheSetIsTheMostRoutedThenAnybody) {
  make({.residency = Residency::kDelta});
  EXPECT_FALSE(residency_->has_set());
  residency_->begin_discovery();
  route({100, 90, 80, 70});
  route({100, 60, 80, 50});
  const SwitchReport report = residency_->plan();
  EXPECT_EQ(report.experts_found, 8 * 6u);
  EXPECT_EQ(report.experts_missing, 8 * 6u);
  EXPECT_EQ(report.swap_count, kSlots);
  ASSERT_TRUE(residency_->finish_swaps().ok());
  EXPECT_THAT(members(3), ElementsAreArray({80, 100, 50, 60, 70, 90, 0, 1, 2, 3, 4, 5}));
  EXPECT_TRUE(bare_->experts().is_resident({LayerId{3}, ExpertId{100}}));
}

TEST_F(ExpertResidencyTest, ASwitchDropsThoseThatNoSubjectUsedMuch) {
  make({.residency = Residency::kAsyncDelta, .swap_layers = 3});
  route({100, 90, 80, 70});
  residency_->plan();
  ASSERT_TRUE(residency_->finish_swaps().ok());
  route({100, 7, 9});
  const SwitchReport report = residency_->plan();
  EXPECT_EQ(report.experts_found, 8 * 3u);
  EXPECT_EQ(report.experts_missing, 8 * 1u) << "7 came in as a filler";
  // Members by place: 70 80 90 100 0 1 2 3 4 5 6 7. The last filler goes.
  EXPECT_EQ(report.swap_count, 8u);
  EXPECT_EQ(residency_->layers_pending(), 8u);
  ASSERT_TRUE(residency_->after_token().ok());
  EXPECT_EQ(residency_->layers_pending(), 5u);
  EXPECT_THAT(members(0), ElementsAreArray({70, 80, 90, 100, 0, 1, 2, 3, 4, 5, 9, 7}));
  EXPECT_THAT(members(3), ElementsAreArray({70, 80, 90, 100, 0, 1, 2, 3, 4, 5, 6, 7}));
  ASSERT_TRUE(residency_->after_token().ok());
  ASSERT_TRUE(residency_->after_token().ok());
  EXPECT_FALSE(residency_->is_swapping());
}

TEST_F(ExpertResidencyTest, RoomIsLeftForWhatMayBeRead) {
  make({.residency = Residency::kDelta, .on_miss = OnMiss::kRead});
  residency_->plan();
  EXPECT_EQ(residency_->set().pending_count(), kSlots - 8);
  make({.residency = Residency::kDelta, .quality_budget = 0.5});
  residency_->plan();
  EXPECT_EQ(residency_->set().pending_count(), kSlots - 8);
}

TEST_F(ExpertResidencyTest, PinsTheHottestOfAProfile) {
  TemporaryFolder folder;
  ExpertProfile profile(std::vector<std::size_t>(8, 128));
  for (std::vector<std::uint64_t>& layer : profile.layers) layer[77] = layer[33] = layer[11] = 5;
  ASSERT_TRUE(write_profile(folder / "p", "model", profile).ok());
  make({.residency = Residency::kPinned, .profile = folder / "p", .pinned = 2});
  EXPECT_THAT(members(5), ElementsAreArray({11, 33}));
  EXPECT_TRUE(bare_->experts().is_resident({LayerId{5}, ExpertId{33}}));
  make({.residency = Residency::kPinned, .profile = folder / "p"});
  EXPECT_EQ(members(5).size(), 6u) << "half of the slots";

  EXPECT_EQ(ExpertResidency::create({.residency = Residency::kPinned, .profile = folder / "p"},
                                    "another", std::vector<std::size_t>(8, 128))
                .status()
                .code(),
            StatusCode::kInvalidArgument);
}

TEST_F(ExpertResidencyTest, AProfileFillsWhatDiscoveryLeaves) {
  TemporaryFolder folder;
  ExpertProfile profile(std::vector<std::size_t>(8, 128));
  for (std::vector<std::uint64_t>& layer : profile.layers) layer[77] = layer[33] = 5;
  ASSERT_TRUE(write_profile(folder / "p", "model", profile).ok());
  make({.residency = Residency::kPredictive, .profile = folder / "p"});
  route({100, 90});
  residency_->plan();
  ASSERT_TRUE(residency_->finish_swaps().ok());
  EXPECT_THAT(members(0), ElementsAreArray({90, 100, 33, 77, 0, 1, 2, 3, 4, 5, 6, 7}));
}

}  // namespace
}  // namespace flashmoe::testing
