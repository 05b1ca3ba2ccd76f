#include "model/state/state_layout.h"

#include <algorithm>

#include "kernels/ops.h"

namespace flashmoe {
namespace {

/// Layers' parts begin on a cache line, in blocks as in what does not grow.
constexpr std::uint64_t kAlignment = 64;

std::uint64_t aligned(std::uint64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

StateLayout::StateLayout(std::span<const StateNeeds> layers) {
  for (const StateNeeds& needs : layers) {
    Layer& layer = layers_.emplace_back();
    layer.fixed_offset = fixed_bytes_;
    fixed_bytes_ += aligned(needs.fixed_bytes);
    layer.has_positions =
        std::ranges::any_of(needs.position_bytes, [](std::size_t bytes) { return bytes > 0; });
    if (!layer.has_positions) continue;
    auto group = std::ranges::find(groups_, needs.window, &Group::window);
    if (group == groups_.end()) group = groups_.insert(group, Group{.window = needs.window});
    layer.group = static_cast<std::size_t>(group - groups_.begin());
    for (std::size_t part = 0; part < kPositionParts; ++part) {
      layer.block_offset[part] = group->block_bytes;
      group->block_bytes += aligned(needs.position_bytes[part] * kKvBlock);
    }
  }
}

std::uint64_t StateLayout::snapshot_bytes() const {
  std::uint64_t bytes = fixed_bytes_;
  for (const Group& group : groups_) {
    // What its window has, at any offset in blocks, the last one twice: the sequence copies it
    // before it writes to it.
    if (group.window != 0) bytes += ((group.window - 1) / kKvBlock + 3) * group.block_bytes;
  }
  return bytes;
}

std::uint64_t StateLayout::kv_bytes(std::size_t positions, std::size_t step_rows) const {
  std::uint64_t bytes = 0;
  for (const Group& group : groups_) {
    std::uint64_t blocks = (positions + kKvBlock - 1) / kKvBlock;
    if (group.window != 0) {
      // What the first row of a step looks back to, and the step itself, at any offset in blocks.
      const std::uint64_t held = group.window - 1 + step_rows;
      blocks = std::min(blocks, (held + kKvBlock - 1) / kKvBlock + 1);
    }
    bytes += blocks * group.block_bytes;
  }
  return bytes;
}

}  // namespace flashmoe
