#include "experts/speculation_controller.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>
#include <set>
#include <string>
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

TEST_F(SpeculationControllerTest, LearnsEveryLayerAndRankOnItsOwn) {
  controller_.on_reads_timed(1, 0.001);
  learn({1, 0, 1, 1}, 0.0015, 100);
  EXPECT_EQ(choose(), 1u) << "rank 1 never comes true, and has half the time it needs";
  EXPECT_EQ(choose(LayerId{1}), 0u) << "of layer 1 nothing is known";
  learn({1, 1, 0, 0}, 0.0015, 100, LayerId{1});
  EXPECT_EQ(choose(LayerId{1}), 2u);
  const std::vector<std::size_t> later = {2, 0};
  EXPECT_EQ(controller_.choose(LayerId{1}, later), 2u) << "there is time for all of the first";
}

TEST_F(SpeculationControllerTest, PausesWhereItLosesForLongerAndLonger) {
  const auto passes_until_a_pause = [&] {
    int passes = 0;
    while (controller_.should_guess(kLayer)) {
      SpeculationOutcome nothing;  // everything was there
      nothing.guess_seconds = 1e-5;
      nothing.ahead_seconds = 0.001;
      controller_.learn(kLayer, nothing);
      ++passes;
    }
    return passes;
  };
  const auto pause = [&] {
    int length = 1;  // one pass has been refused already
    while (!controller_.should_guess(kLayer)) ++length;
    return length;
  };
  EXPECT_EQ(passes_until_a_pause(), 32);
  for (const int expected : {64, 128, 256, 512, 1024, 2048, 4096, 4096}) {
    EXPECT_EQ(pause(), expected);
    SpeculationOutcome nothing;
    nothing.guess_seconds = 1e-5;
    controller_.learn(kLayer, nothing);  // of the pass that ended the pause
    EXPECT_EQ(passes_until_a_pause(), 31);
  }
  EXPECT_TRUE(controller_.should_guess(LayerId{1}));
}

TEST_F(SpeculationControllerTest, GoesOnWhereReadsWait) {
  controller_.on_reads_timed(1, 0.001);
  const std::vector<unsigned char> wanted = {1, 0, 0, 0};
  SpeculationOutcome gain = outcome(ranks_, wanted, 0.001);
  gain.read_count = 1;
  gain.guess_seconds = 1e-5;
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(controller_.should_guess(kLayer));
    controller_.learn(kLayer, gain);
  }
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

/// A machine of which a simulation needs the times, in seconds.
struct Machine {
  std::string name;
  double mixer;
  double compute;  // of one expert
  double read;     // of one expert
  double guess;
  double accuracy;         // of a guess
  std::size_t slot_count;  // a layer, of 64 experts
  double gain_min;         // time without over time with, at least
};
void PrintTo(const Machine& machine, std::ostream* out) { *out << machine.name; }

/// Decodes with LRU caches and a disk that reads one expert after the other, and says how long it
/// takes.
double simulate(const Machine& machine, bool with_speculation) {
  constexpr std::size_t kLayers = 4, kExperts = 64, kTopK = 4, kTokens = 2000;
  std::mt19937_64 random(7);
  SpeculationController controller(kLayers, kTopK);
  std::vector<std::deque<std::size_t>> caches(kLayers);  // the latest first
  double now = 0;
  double disk_free = 0;  // when it has done what it was asked
  for (std::size_t token = 0; token < kTokens; ++token) {
    for (std::uint32_t l = 0; l < kLayers; ++l) {
      std::deque<std::size_t>& cache = caches[l];
      const auto is_here = [&](std::size_t e) { return std::ranges::count(cache, e) > 0; };
      const auto bring = [&](std::size_t e) {
        std::erase(cache, e);
        cache.push_front(e);
        if (cache.size() > machine.slot_count) cache.pop_back();
      };
      // A few experts are popular.
      std::vector<std::size_t> wanted;
      while (wanted.size() < kTopK) {
        const std::size_t e = std::min(random() % kExperts, random() % kExperts);
        if (std::ranges::count(wanted, e) == 0) wanted.push_back(e);
      }
      std::vector<std::size_t> guesses;
      for (const std::size_t e : wanted) {
        std::size_t guess = e;
        if (static_cast<double>(random() % 1000) >= 1000 * machine.accuracy) {
          do {
            guess = random() % kExperts;
          } while (std::ranges::count(wanted, guess) + std::ranges::count(guesses, guess) > 0);
        }
        guesses.push_back(guess);
      }

      SpeculationOutcome result;
      std::vector<std::size_t> ranks, missing;
      std::vector<unsigned char> came_true;
      std::size_t read_before = 0;
      const bool guessed = with_speculation && controller.should_guess({l});
      if (guessed) {
        now += machine.guess;
        for (std::size_t rank = 0; rank < kTopK; ++rank) {
          if (is_here(guesses[rank])) continue;
          ranks.push_back(rank);
          missing.push_back(guesses[rank]);
          came_true.push_back(std::ranges::count(wanted, guesses[rank]) > 0 ? 1 : 0);
        }
        result.read_count = controller.choose({l}, ranks);
        for (std::size_t i = 0; i < result.read_count; ++i) {
          disk_free = std::max(disk_free, now) + machine.read;
          bring(missing[i]);
        }
        read_before = result.read_count;
      }
      now += machine.mixer;
      for (const std::size_t e : wanted) {
        if (is_here(e)) continue;
        ++result.miss_count;
        disk_free = std::max(disk_free, now) + machine.read;
      }
      for (const std::size_t e : wanted) bring(e);
      const double compute = machine.compute * kTopK;
      const bool waits = result.miss_count > 0 || (read_before > 0 && disk_free > now);
      now = std::max(now + compute, waits ? disk_free + machine.compute : 0);
      if (result.miss_count > 0) {
        controller.on_reads_timed(1, machine.read);
      }
      if (guessed) {
        result.ranks = ranks;
        result.wanted = came_true;
        result.guess_seconds = machine.guess;
        result.ahead_seconds = machine.mixer;
        result.compute_seconds = compute;
        controller.learn({l}, result);
      }
    }
  }
  return now;
}

class SpeculationSimulation : public testing::TestWithParam<Machine> {};

TEST_P(SpeculationSimulation, GainsWhereItCanAndNeverLosesMuch) {
  const double without = simulate(GetParam(), false);
  const double with = simulate(GetParam(), true);
  EXPECT_GE(without / with, GetParam().gain_min);
}

// Times of a large model on two cores and a fast disk, and what can be otherwise.
INSTANTIATE_TEST_SUITE_P(
    Machines, SpeculationSimulation,
    testing::Values(Machine{"GoodGuesses", 1e-3, 1e-4, 1e-3, 2e-5, 0.85, 24, 1.2},
                    Machine{"FairGuesses", 1e-3, 1e-4, 1e-3, 2e-5, 0.6, 24, 1.1},
                    Machine{"ShortMixer", 3e-4, 1e-4, 1e-3, 2e-5, 0.95, 24, 1.02},
                    Machine{"FastDisk", 1e-3, 1e-4, 2e-4, 2e-5, 0.85, 24, 1.07},
                    Machine{"GuessesThatNeverComeTrue", 1e-3, 1e-4, 1e-3, 2e-5, 0.0, 24, 0.98},
                    Machine{"UnlikelyGuessesAndAShortMixer", 3e-4, 1e-4, 1e-3, 2e-5, 0.2, 24, 0.98},
                    Machine{"EverythingInMemory", 1e-3, 1e-4, 1e-3, 2e-5, 0.85, 64, 0.99},
                    Machine{"ReadsHidden", 1e-3, 1e-3, 1e-4, 2e-5, 0.85, 24, 0.98},
                    Machine{"FewSlots", 1e-3, 1e-4, 1e-3, 2e-5, 0.85, 5, 1.1},
                    Machine{"CostlyGuesses", 1e-4, 1e-4, 1e-4, 2e-4, 0.85, 24, 0.95}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace flashmoe
