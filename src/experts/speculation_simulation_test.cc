// SpeculationController with the real policy on a simulated machine: time is a number, so that what
// reads on a guess gain and lose is the same in every run.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "experts/policies/residency_policies.h"
#include "experts/speculation_controller.h"
#include "experts/trace_generator.h"

namespace flashmoe {
namespace {

constexpr std::size_t kLayers = 4;
constexpr std::size_t kExperts = 128;
constexpr std::size_t kSimulatedTopK = 8;

/// The times of a large model on two cores and a fast disk, unless said otherwise.
struct Machine {
  std::string name;
  double mixer_seconds = 1e-3;
  double compute_seconds = 1e-4;  // of one expert
  double read_seconds = 1e-3;     // of one expert; the disk reads one after the other
  double guess_seconds = 2e-5;
  double first_precision = 0.9;  // of guesses, falling by rank
  double last_precision = 0.6;
  std::size_t slots = 32;  // a layer
  double gain_min = 0.98;  // time without speculative reads over time with them
};
void PrintTo(const Machine& machine, std::ostream* out) { *out << machine.name; }

bool contains(std::span<const ExpertId> ids, ExpertId id) {
  return std::ranges::find(ids, id) != ids.end();
}

/// Who is in memory, by the policy that the engine uses.
class Residents {
 public:
  explicit Residents(std::size_t slot_count)
      : policy_(make_residency_policy(kDefaultResidencyPolicy, counts_)), free_count_(slot_count) {
    policy_->set_slots({.counts = {slot_count}});
  }
  bool hold(ExpertKey key) const { return keys_.contains(key); }
  void on_routed(std::uint64_t step, LayerId layer, std::span<const ExpertId> routed) {
    policy_->on_routed(step, layer, routed, {});
  }
  /// For `key` somebody may have to leave, but nobody of `kept`, experts of the same layer.
  void bring(ExpertKey key, LoadCause cause, std::span<const ExpertId> kept) {
    if (free_count_ > 0) {
      --free_count_;
    } else {
      const ExpertKey victim = policy_->choose_victim(key.layer, AllBut(keys_, key.layer, kept));
      keys_.erase(victim);
      policy_->on_dropped(victim);
    }
    keys_.insert(key);
    policy_->on_loaded(key, cause);
  }

 private:
  class AllBut final : public EvictableSet {
   public:
    AllBut(const std::set<ExpertKey>& keys, LayerId layer, std::span<const ExpertId> kept)
        : keys_(keys), layer_(layer), kept_(kept) {}
    bool contains(ExpertKey key) const override {
      return keys_.contains(key) && !(key.layer == layer_ && flashmoe::contains(kept_, key.expert));
    }

   private:
    const std::set<ExpertKey>& keys_;
    LayerId layer_;
    std::span<const ExpertId> kept_;
  };

  const std::vector<std::size_t> counts_ = std::vector<std::size_t>(kLayers, kExperts);
  std::unique_ptr<ResidencyPolicy> policy_;
  std::size_t free_count_;
  std::set<ExpertKey> keys_;
};

/// Decodes the tokens of a trace.
class Decoder {
 public:
  Decoder(const Machine& machine, bool speculates)
      : machine_(machine), speculates_(speculates), residents_(machine.slots * kLayers) {}

  /// How long that takes.
  double decode(const RoutingTrace& trace) {
    for (std::size_t t = 0; t < trace.token_count(); ++t) {
      for (std::uint32_t l = 0; l < kLayers; ++l) {
        const auto ids = trace.routed(l, t);
        pass(t, LayerId{l}, {ids.begin(), ids.end()});
      }
    }
    return now_;
  }

 private:
  struct Read {
    ExpertId id;
    double end = 0;
  };

  void pass(std::size_t step, LayerId layer, const std::vector<ExpertId>& routed) {
    const std::vector<ExpertId> guesses = draw_guesses(routed);  // in both cases: the same ones
    SpeculationOutcome outcome;
    const bool guessed = speculates_ && controller_.should_guess(layer);
    reads_.clear();
    if (guessed) guess(layer, routed, guesses, outcome);
    now_ += machine_.mixer_seconds;
    residents_.on_routed(step, layer, routed);
    std::size_t ready_count = 0;
    std::vector<double> arrivals;
    for (const ExpertId id : routed) {
      const auto read = std::ranges::find(reads_, id, &Read::id);
      if (read != reads_.end() && read->end > now_) {
        arrivals.push_back(read->end);
      } else if (residents_.hold({layer, id})) {
        ++ready_count;
      }
    }
    for (const ExpertId id : routed) {
      if (residents_.hold({layer, id})) continue;
      residents_.bring({layer, id}, LoadCause::kRouted, routed);
      arrivals.push_back(read_expert());
      ++outcome.miss_count;
    }
    // Those that are here, then the others as they arrive.
    now_ += static_cast<double>(ready_count) * machine_.compute_seconds;
    bool waited = false;
    std::ranges::sort(arrivals);
    for (const double arrival : arrivals) {
      waited = arrival > now_;
      now_ = std::max(now_, arrival) + machine_.compute_seconds;
    }
    if (!guessed) return;
    if (waited && arrivals.back() == disk_end_) {
      controller_.on_reads_timed(disk_reads_, disk_end_ - disk_begin_);
    }
    outcome.compute_seconds = static_cast<double>(kSimulatedTopK) * machine_.compute_seconds;
    controller_.learn(layer, outcome);
  }

  void guess(LayerId layer, std::span<const ExpertId> routed, std::span<const ExpertId> guesses,
             SpeculationOutcome& outcome) {
    ranks_.clear();
    wanted_.clear();
    std::vector<ExpertId> missing;
    for (std::size_t rank = 0; rank < kSimulatedTopK; ++rank) {
      if (residents_.hold({layer, guesses[rank]})) continue;
      missing.push_back(guesses[rank]);
      ranks_.push_back(rank);
      wanted_.push_back(contains(routed, guesses[rank]) ? 1 : 0);
    }
    now_ += machine_.guess_seconds;
    const std::size_t read_count = controller_.choose(layer, ranks_);
    for (const ExpertId id : std::span(missing).first(read_count)) {
      residents_.bring({layer, id}, LoadCause::kGuessed, guesses);
      reads_.push_back({id, read_expert()});
    }
    outcome = {.ranks = ranks_,
               .wanted = wanted_,
               .read_count = read_count,
               .guess_seconds = machine_.guess_seconds,
               .ahead_seconds = machine_.mixer_seconds};
  }

  std::vector<ExpertId> draw_guesses(std::span<const ExpertId> routed) {
    std::vector<ExpertId> guesses;
    for (std::size_t rank = 0; rank < kSimulatedTopK; ++rank) {
      const double precision =
          std::lerp(machine_.first_precision, machine_.last_precision,
                    static_cast<double>(rank) / static_cast<double>(kSimulatedTopK - 1));
      const bool is_right = static_cast<double>(random_() % 1000) < 1000 * precision;
      ExpertId other{static_cast<std::uint16_t>(random_() % kExperts)};
      while (contains(routed, other) || contains(guesses, other)) {
        other.value = static_cast<std::uint16_t>((other.value + 1) % kExperts);
      }
      guesses.push_back(is_right ? routed[rank] : other);
    }
    return guesses;
  }

  /// When a read that is asked for now ends.
  double read_expert() {
    if (disk_end_ <= now_) {
      disk_begin_ = disk_end_ = now_;
      disk_reads_ = 0;
    }
    ++disk_reads_;
    return disk_end_ += machine_.read_seconds;
  }

  const Machine machine_;
  const bool speculates_;
  Residents residents_;
  SpeculationController controller_{kLayers, kSimulatedTopK};
  std::mt19937_64 random_{11};
  double now_ = 0;
  double disk_begin_ = 0;  // of what it does, or did last, without a pause
  double disk_end_ = 0;
  std::size_t disk_reads_ = 0;
  std::vector<Read> reads_;  // on guesses, of this pass
  std::vector<std::size_t> ranks_;
  std::vector<unsigned char> wanted_;
};

/// Time without speculative reads over time with them.
double gain(const Machine& machine, std::size_t token_count) {
  const RoutingTrace trace = generate_trace({.layer_count = kLayers,
                                             .token_count = token_count,
                                             .num_experts = kExperts,
                                             .experts_per_token = kSimulatedTopK,
                                             .seed = 3})
                                 .value();
  return Decoder(machine, false).decode(trace) / Decoder(machine, true).decode(trace);
}

class SpeculationSimulation : public testing::TestWithParam<Machine> {};

TEST_P(SpeculationSimulation, GainsWhereItCanAndNeverLosesMuch) {
  EXPECT_GE(gain(GetParam(), 1000), GetParam().gain_min);
}

INSTANTIATE_TEST_SUITE_P(
    Machines, SpeculationSimulation,
    testing::Values(
        Machine{.name = "GoodGuesses", .gain_min = 1.12},
        Machine{.name = "LongMixers", .mixer_seconds = 3e-3, .gain_min = 1.15},
        Machine{.name = "ShortMixers", .mixer_seconds = 3e-4},
        Machine{.name = "NoMixers", .mixer_seconds = 0},
        Machine{.name = "FastDisk", .compute_seconds = 3e-5, .read_seconds = 3e-4, .gain_min = 1.1},
        Machine{.name = "SlowDisk", .read_seconds = 1e-2},
        Machine{.name = "ReadsHideBehindArithmetic", .compute_seconds = 1e-3, .read_seconds = 1e-4},
        Machine{.name = "FewSlots", .slots = 8, .gain_min = 1.1},
        Machine{.name = "EverythingInMemory", .slots = 128},
        Machine{.name = "UnlikelyGuesses", .first_precision = 0.3, .last_precision = 0.1},
        Machine{.name = "UselessGuesses", .first_precision = 0, .last_precision = 0},
        Machine{.name = "UnlikelyGuessesAndFewSlots",
                .mixer_seconds = 9e-4,
                .read_seconds = 4e-4,
                .first_precision = 0.16,
                .last_precision = 0.08,
                .slots = 13},
        Machine{.name = "CostlyGuesses", .guess_seconds = 1e-4}),
    [](const auto& info) { return info.param.name; });

TEST(SpeculationOnAnyMachine, LosesLittle) {
  constexpr std::uint64_t kSeed = 20261127;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::mt19937_64 random(kSeed);
  const auto share = [&] { return static_cast<double>(random() % 1001) / 1000; };
  const auto between = [&](double least, double most) {
    return least * std::pow(most / least, share());
  };
  for (int i = 0; i < 30; ++i) {
    Machine machine;
    machine.mixer_seconds = between(1e-5, 1e-2);
    machine.compute_seconds = between(1e-5, 1e-3);
    machine.read_seconds = between(3e-5, 1e-2);
    machine.guess_seconds = machine.mixer_seconds * between(0.003, 0.03);
    machine.first_precision = share();
    machine.last_precision = machine.first_precision * share();
    machine.slots = kSimulatedTopK + random() % (kExperts - kSimulatedTopK + 1);
    EXPECT_GE(gain(machine, 500), 0.98)
        << "mixer " << machine.mixer_seconds << ", expert " << machine.compute_seconds << ", read "
        << machine.read_seconds << ", guess " << machine.guess_seconds << ", precision "
        << machine.first_precision << " to " << machine.last_precision << ", slots "
        << machine.slots;
  }
}

}  // namespace
}  // namespace flashmoe
