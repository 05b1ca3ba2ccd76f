#include "model/state/kv_cache.h"

#include <gtest/gtest.h>

#include "kernels/ops.h"
#include "model/state/sequence_state.h"

namespace flashmoe {
namespace {

constexpr std::size_t kFull = 0;    // a layer that looks back to the first position
constexpr std::size_t kWindow = 2;  // one that looks back a little

StateLayout layout() {
  const StateNeeds layers[] = {{.position_bytes = {16, 8}},
                               {.fixed_bytes = 40},
                               {.position_bytes = {8, 8}, .window = 100},
                               {.position_bytes = {4, 4}}};
  return StateLayout(layers);
}

/// The first of a position's floats, of which a layer's first part has so many.
float& first_float(const KvCache& cache, std::size_t layer, std::size_t position,
                   std::size_t floats) {
  auto* const block = static_cast<float*>(cache.blocks(layer, 0)[position / kKvBlock]);
  return block[floats * (position % kKvBlock)];
}

TEST(StateLayout, GroupsLayersByWindowAndGivesEachItsOwnPlace) {
  const StateLayout state = layout();
  ASSERT_EQ(state.groups().size(), 2u);
  EXPECT_EQ(state.groups()[0].window, 0u);
  EXPECT_EQ(state.groups()[0].block_bytes, (16 + 8 + 4 + 4) * kKvBlock);
  EXPECT_EQ(state.groups()[1].block_bytes, (8 + 8) * kKvBlock);
  EXPECT_EQ(state.layers()[0].group, state.layers()[3].group);
  EXPECT_EQ(state.layers()[3].block_offset[0], (16 + 8) * kKvBlock);
  EXPECT_GE(state.fixed_bytes(), 40u);
}

TEST(StateLayout, CountsWhatAWindowHoldsAtMost) {
  const StateLayout state = layout();
  const std::uint64_t full = state.groups()[0].block_bytes;
  const std::uint64_t window = state.groups()[1].block_bytes;
  EXPECT_EQ(state.kv_bytes(64, 1), full + window);
  EXPECT_EQ(state.kv_bytes(6400, 1), 100 * full + 3 * window);
  for (std::size_t rows : {1, 7, 64, 200}) {
    KvCache cache(state);
    std::uint64_t most = 0;
    for (std::size_t position = 0; position < 2000; position += rows) {
      ASSERT_TRUE(cache.reserve(position, position + rows).ok());
      std::uint64_t held = 0;
      for (const auto& block : cache.groups()[1]) held += block == nullptr ? 0 : window;
      most = std::max(most, held);
    }
    const std::uint64_t planned = state.kv_bytes(2000, rows) - 32 * full;
    EXPECT_LE(most, planned) << rows;
    EXPECT_GE(most + window, planned) << rows;
  }
}

TEST(KvCache, KeepsWhatAWindowStillLooksBackTo) {
  const StateLayout state = layout();
  KvCache cache(state);
  for (std::size_t position = 0; position < 1000; ++position) {
    ASSERT_TRUE(cache.reserve(position, position + 1).ok());
    const std::size_t first = position < 100 ? 0 : position - 99;
    for (std::size_t block = 0; block <= position / kKvBlock; ++block) {
      ASSERT_NE(cache.blocks(kFull, 0)[block], nullptr);
      const bool is_seen = (block + 1) * kKvBlock > first;
      EXPECT_EQ(cache.blocks(kWindow, 1)[block] != nullptr, is_seen) << position << " " << block;
    }
  }
}

TEST(KvCache, CopiesASharedBlockBeforeItIsWrittenTo) {
  const StateLayout state = layout();
  KvCache cache(state);
  ASSERT_TRUE(cache.reserve(0, 70).ok());
  first_float(cache, kFull, kKvBlock, 4) = 5;
  KvCache other = cache;
  ASSERT_TRUE(other.reserve(70, 71).ok());
  EXPECT_EQ(other.blocks(kFull, 0)[0], cache.blocks(kFull, 0)[0]);
  EXPECT_NE(other.blocks(kFull, 0)[1], cache.blocks(kFull, 0)[1]);
  EXPECT_EQ(first_float(other, kFull, kKvBlock, 4), 5);
}

TEST(SequenceState, GoesBackToASnapshotThoughTheWindowHasPassed) {
  const StateLayout state = layout();
  SequenceState sequence = SequenceState::create(state).value();
  const auto walk = [&](std::size_t begin, std::size_t end, float value) {
    for (std::size_t position = begin; position < end; ++position) {
      ASSERT_TRUE(sequence.kv().reserve(position, position + 1).ok());
      // kWindow's part has two floats of a position.
      first_float(sequence.kv(), kWindow, position, 2) = value;
    }
  };
  walk(0, 150, 7);
  sequence.fixed_state(1)[0] = 1;
  const KvCache before = sequence.kv();
  const std::vector<KvCache::Blocks> windows = sequence.kv().windows(150);
  walk(150, 640, 8);
  ASSERT_EQ(sequence.kv().blocks(kWindow, 0)[1], nullptr);
  sequence.kv().restore(windows);
  walk(150, 200, 9);
  for (std::size_t position = 101; position < 200; ++position) {
    EXPECT_EQ(first_float(sequence.kv(), kWindow, position, 2), position < 150 ? 7 : 9) << position;
    if (position < 150) {
      EXPECT_EQ(first_float(before, kWindow, position, 2), 7);
    }
  }
}

TEST(SequenceState, ASnapshotAndAForkHoldNoMoreThanTheWindow) {
  const StateLayout state = layout();
  const std::uint64_t window = state.groups()[1].block_bytes;
  KvCache cache(state);
  ASSERT_TRUE(cache.reserve(0, 4000).ok());  // one large step
  const std::vector<KvCache::Blocks> windows = cache.windows(4000);
  std::size_t held = 0;
  for (const auto& block : windows[1]) held += block != nullptr;
  EXPECT_LE(held * window, state.snapshot_bytes() - state.fixed_bytes());
  EXPECT_EQ(held, 3u);
  cache.drop_passed(4000);
  EXPECT_EQ(cache.held_blocks().size(), 63u + 3u);
}

}  // namespace
}  // namespace flashmoe
