// What the cache costs where nothing is missing: acquire, wait and release of 10 of 512 experts in
// each of 48 layers, as decode does it. Aim: 100 ns a lease, 48 us a token; streaming the token's
// 849 MB of experts from memory at 27 GB/s takes 31 ms. docs/residency.md has the figures.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>
#include <vector>

#include "base/check.h"
#include "experts/expert_cache.h"
#include "experts/policies/residency_policies.h"

namespace flashmoe {
namespace {

constexpr std::uint32_t kLayerCount = 48;
constexpr std::uint16_t kExpertCount = 512;
constexpr std::size_t kTopK = 10;
constexpr std::size_t kSegmentCount = 9;
constexpr std::size_t kTokenCount = 64;  // routings drawn in advance

// Ends reads before they begin: the books alone are measured.
class InstantReadQueue final : public ReadQueue {
 public:
  Status submit(std::span<const ReadRequest> requests) override {
    for (const ReadRequest& request : requests) tags_.push_back(request.tag);
    return Status();
  }
  std::size_t poll(std::span<ReadCompletion> completions, bool /*wait*/) override {
    const std::size_t count = std::min(completions.size(), tags_.size());
    for (std::size_t i = 0; i < count; ++i) {
      completions[i] = {.tag = tags_.back(), .status = Status()};
      tags_.pop_back();
    }
    return count;
  }
  std::size_t in_flight_count() const override { return tags_.size(); }
  bool needs_poll() const override { return false; }
  ReadStatistics statistics() const override { return {}; }
  IoBackend backend() const override { return IoBackend::kPread; }

 private:
  std::vector<std::uint64_t> tags_;
};

ExpertStore make_store() {
  const std::filesystem::path path = "expert_cache_bench.bin";
  std::ofstream(path) << std::string(4096, '\0');
  std::vector<ExpertStore::Layer> layers(kLayerCount);
  for (ExpertStore::Layer& layer : layers) {
    layer.segments_per_expert = kSegmentCount;
    layer.segments.assign(kExpertCount * kSegmentCount, {.file_index = 0, .offset = 0, .size = 64});
  }
  auto store = ExpertStore::open(std::span(&path, 1), std::move(layers));
  FM_CHECK(store.ok());
  std::filesystem::remove(path);
  return std::move(*store);
}

// Zipf-like, as routers are: some experts often, all of them sometimes.
std::vector<std::array<ExpertId, kTopK>> draw_routings() {
  std::mt19937_64 random(1);
  std::vector<std::array<ExpertId, kTopK>> routings(kTokenCount * kLayerCount);
  for (auto& routing : routings) {
    for (std::size_t k = 0; k < kTopK;) {
      const std::uint64_t draw = std::min(random() % kExpertCount, random() % kExpertCount);
      const ExpertId id{static_cast<std::uint16_t>(draw)};
      if (std::find(routing.begin(), routing.begin() + k, id) == routing.begin() + k) {
        routing[k++] = id;
      }
    }
  }
  return routings;
}

// One token at `slots_per_layer` slots: 512 holds everything.
void decode_token(benchmark::State& state) {
  const ExpertStore store = make_store();
  const auto slot_count = static_cast<std::uint64_t>(state.range(0)) * kLayerCount;
  auto cache = ExpertCache::create(
      store, make_residency_policy(kDefaultResidencyPolicy, store.expert_counts()),
      std::make_unique<InstantReadQueue>(), {.budget_bytes = slot_count * store.slot_size()});
  FM_CHECK(cache.ok());
  const auto routings = draw_routings();
  std::vector<ExpertLease> leases(kTopK);
  std::uint64_t step = 0;
  const auto run_token = [&] {
    for (std::uint32_t l = 0; l < kLayerCount; ++l) {
      const auto& routing = routings[step % kTokenCount * kLayerCount + l];
      FM_CHECK((*cache)->acquire(step, {l}, routing, leases).ok());
      for (ExpertLease& lease : leases) {
        benchmark::DoNotOptimize(lease.wait()->segment(0).data());
        lease = ExpertLease();
      }
    }
    ++step;
  };
  for (std::size_t i = 0; i < 2 * kTokenCount; ++i) run_token();
  const ExpertCacheStatistics before = (*cache)->statistics();
  for (auto _ : state) run_token();
  const ExpertCacheStatistics after = (*cache)->statistics();
  const auto hits = static_cast<double>(after.hit_count - before.hit_count);
  const auto misses = static_cast<double>(after.miss_count - before.miss_count);
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kLayerCount * kTopK));
  state.counters["hit_rate"] = hits / (hits + misses);
  state.counters["s_per_lease"] = benchmark::Counter(
      static_cast<double>(kLayerCount * kTopK),
      benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}
BENCHMARK(decode_token)->Arg(512)->Arg(192)->Arg(64)->Arg(5);

}  // namespace
}  // namespace flashmoe

BENCHMARK_MAIN();
