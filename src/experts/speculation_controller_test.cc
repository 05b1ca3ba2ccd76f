#include "experts/speculation_controller.h"

#include <gtest/gtest.h>

#include <vector>

namespace flashmoe {
namespace {

constexpr LayerId kLayer{0};

/// One pass of a layer in which the guesses of `ranks` were missing.
SpeculationOutcome outcome(const std::vector<std::size_t>& ranks,
                           const std::vector<unsigned char>& wanted, double ahead_seconds) {
  return {.ranks = ranks, .wanted = wanted, .ahead_seconds = ahead_seconds};
}

class SpeculationControllerTest : public testing::Test {
 protected:
  /// Passes in which guesses of ranks 0 to 3 come true as `wanted` says.
  void learn(const std::vector<unsigned char>& wanted, double ahead_seconds, int passes,
             LayerId layer = kLayer) {
    for (int i = 0; i < passes; ++i) {
      controller_.learn(layer, outcome(ranks_, wanted, ahead_seconds));
    }
  }
  std::size_t choose(LayerId layer = kLayer) const { return controller_.choose(layer, ranks_); }

  /// A pass in which a guess came true, and its read took no longer than the mixer.
  void gain() {
    const std::vector<unsigned char> wanted = {1, 0, 0, 0};
    SpeculationOutcome good = outcome(ranks_, wanted, 0.001);
    good.read_count = 1;
    good.guess_seconds = 1e-5;
    controller_.learn(kLayer, good);
  }
  /// How many passes it guesses for from here, if everything is in memory.
  int passes_until_a_pause() {
    int passes = 0;
    do {
      SpeculationOutcome nothing;
      nothing.guess_seconds = 1e-5;
      nothing.ahead_seconds = 0.001;
      controller_.learn(kLayer, nothing);
      ++passes;
    } while (passes < 1000 && controller_.should_guess(kLayer));
    return passes;
  }
  /// How long the pause is that has begun with the last pass.
  int pause() {
    int length = 1;
    while (!controller_.should_guess(kLayer)) ++length;
    return length;
  }

  const std::vector<std::size_t> ranks_ = {0, 1, 2, 3};
  SpeculationController controller_{2, 4};
};

TEST_F(SpeculationControllerTest, ReadsNothingBeforeTimesAreKnown) {
  EXPECT_EQ(choose(), 0u);
  controller_.on_reads_timed(2, 0.002);
  EXPECT_EQ(choose(), 0u) << "no time ahead is known";
  learn({1, 1, 1, 1}, 0.004, 1);
  EXPECT_EQ(choose(), 4u);
}

TEST_F(SpeculationControllerTest, ReadsWhatThereIsTimeFor) {
  controller_.on_reads_timed(4, 0.004);
  learn({1, 1, 1, 1}, 0.002, 30);
  EXPECT_EQ(choose(), 2u);
}

TEST_F(SpeculationControllerTest, BeginsAReadThatCannotEndInTimeOnlyIfItIsLikelyEnough) {
  controller_.on_reads_timed(1, 0.001);
  learn({1, 1, 1, 1}, 0.0014, 100);
  EXPECT_EQ(choose(), 2u) << "0.4 of the second read is saved almost surely";
  SpeculationController doubtful(1, 4);
  doubtful.on_reads_timed(1, 0.001);
  for (int i = 0; i < 100; ++i) {
    const unsigned char second = i % 2;
    const std::vector<unsigned char> wanted = {1, second, 0, 0};
    doubtful.learn(kLayer, outcome(ranks_, wanted, 0.0014));
  }
  EXPECT_EQ(doubtful.choose(kLayer, ranks_), 1u) << "0.6 of it is lost half the time";
}

TEST_F(SpeculationControllerTest, BeginsNoReadWithoutIdleTime) {
  controller_.on_reads_timed(1, 0.001);
  learn({1, 1, 1, 1}, 0.0, 100);
  EXPECT_EQ(choose(), 0u);
}

TEST_F(SpeculationControllerTest, MakesNobodyLeaveForAnUnlikelyGuess) {
  controller_.on_reads_timed(1, 0.001);
  for (const int passes_for_one : {2, 10}) {
    for (int i = 0; i < 500; ++i) {
      const unsigned char wanted = i % passes_for_one == 0 ? 1 : 0;
      learn({wanted, 0, 0, 0}, 0.004, 1);
    }
    EXPECT_EQ(choose(), passes_for_one == 2 ? 1u : 0u);
  }
}

TEST_F(SpeculationControllerTest, LearnsEveryLayerAndRankOnItsOwn) {
  controller_.on_reads_timed(1, 0.001);
  learn({1, 0, 1, 1}, 0.0015, 100);
  EXPECT_EQ(choose(), 1u) << "rank 1 never comes true, and has half the time it needs";
  EXPECT_EQ(choose(LayerId{1}), 0u) << "of layer 1 nothing is known";
  learn({1, 1, 0, 0}, 0.0015, 100, LayerId{1});
  EXPECT_EQ(choose(LayerId{1}), 2u);
  const std::vector<std::size_t> later = {2, 0};
  EXPECT_EQ(controller_.choose(LayerId{1}, later), 0u) << "rank 2 never comes true";
}

TEST_F(SpeculationControllerTest, PausesWhereItLosesForLongerAndLonger) {
  for (const int expected : {64, 128, 256, 512, 1024, 2048, 4096, 4096}) {
    EXPECT_EQ(passes_until_a_pause(), 32);
    EXPECT_EQ(pause(), expected);
  }
  EXPECT_TRUE(controller_.should_guess(LayerId{1}));
}

TEST_F(SpeculationControllerTest, GoesOnWhereReadsWait) {
  controller_.on_reads_timed(1, 0.001);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(controller_.should_guess(kLayer));
    gain();
  }
}

TEST_F(SpeculationControllerTest, ForgetsItsPausesOnceItGains) {
  controller_.on_reads_timed(1, 0.001);
  for (const int expected : {64, 128, 256}) {
    EXPECT_EQ(passes_until_a_pause(), 32);
    EXPECT_EQ(pause(), expected);
  }
  for (int i = 0; i < 32; ++i) {
    ASSERT_TRUE(controller_.should_guess(kLayer));
    gain();
  }
  EXPECT_EQ(passes_until_a_pause(), 32);
  EXPECT_EQ(pause(), 64);
}

TEST_F(SpeculationControllerTest, PausesWhereReadsHideBehindArithmetic) {
  controller_.on_reads_timed(1, 0.001);
  const std::vector<unsigned char> wanted = {1, 0, 0, 0};
  SpeculationOutcome hidden = outcome(ranks_, wanted, 0.001);
  hidden.read_count = 1;
  hidden.guess_seconds = 1e-5;
  hidden.compute_seconds = 0.002;
  for (int i = 0; i < 32; ++i) {
    ASSERT_TRUE(controller_.should_guess(kLayer));
    controller_.learn(kLayer, hidden);
  }
  EXPECT_FALSE(controller_.should_guess(kLayer));
}

}  // namespace
}  // namespace flashmoe
