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
  cache.blocks(kFull, 0)[1][0] = 5;
  KvCache other = cache;
  ASSERT_TRUE(other.reserve(70, 71).ok());
  EXPECT_EQ(other.blocks(kFull, 0)[0], cache.blocks(kFull, 0)[0]);
  EXPECT_NE(other.blocks(kFull, 0)[1], cache.blocks(kFull, 0)[1]);
  EXPECT_EQ(other.blocks(kFull, 0)[1][0], 5);
}

TEST(SequenceState, GoesBackToASnapshotThoughTheWindowHasPassed) {
  const StateLayout state = layout();
  SequenceState sequence = SequenceState::create(state).value();
  ASSERT_TRUE(sequence.kv().reserve(0, 64).ok());
  sequence.kv().blocks(kWindow, 0)[0][0] = 7;
  sequence.fixed_state(1)[0] = 1;
  const SequenceState::Snapshot snapshot = sequence.snapshot().value();
  ASSERT_TRUE(sequence.kv().reserve(640, 641).ok());
  ASSERT_EQ(sequence.kv().blocks(kWindow, 0)[0], nullptr);
  sequence.fixed_state(1)[0] = 2;
  sequence.restore(snapshot);
  ASSERT_NE(sequence.kv().blocks(kWindow, 0)[0], nullptr);
  EXPECT_EQ(sequence.kv().blocks(kWindow, 0)[0][0], 7);
  EXPECT_EQ(sequence.fixed_state(1)[0], 1);
}

}  // namespace
}  // namespace flashmoe
