#ifndef FLASHMOE_MODEL_STATE_STATE_LAYOUT_H_
#define FLASHMOE_MODEL_STATE_STATE_LAYOUT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace flashmoe {

/// Parts of what a layer remembers of a position: keys, values, and an indexer's keys.
inline constexpr std::size_t kPositionParts = 3;

/// The first position that `position` looks back to, through a window of so many; 0: of all.
inline std::size_t first_in_window(std::size_t window, std::size_t position) {
  return window == 0 || position < window ? 0 : position + 1 - window;
}

/// What a layer remembers of a sequence.
struct StateNeeds {
  /// Bytes of each position, by part. A part of a block of kKvBlock positions lies in one piece,
  /// which the layer arranges as it likes.
  std::array<std::size_t, kPositionParts> position_bytes = {};
  /// How many positions it looks back to, its own included; 0: to the first.
  std::size_t window = 0;
  /// Bytes that do not grow with the sequence; zeros at first.
  std::size_t fixed_bytes = 0;
};

/// Where the layers of a model keep what they remember of a sequence; behind them come the n-gram
/// embeddings, as if each were a layer of its own. Layers that look back equally
/// far form a group, whose blocks of kKvBlock positions come and go together; what does not grow is
/// in one piece for all layers.
class StateLayout {
 public:
  struct Group {
    std::size_t window = 0;         // 0: all positions
    std::uint64_t block_bytes = 0;  // kKvBlock positions of all its layers
  };
  struct Layer {
    std::size_t group = 0;                                        // of its positions, if any
    std::array<std::uint64_t, kPositionParts> block_offset = {};  // of its parts in a block
    bool has_positions = false;
    std::uint64_t fixed_offset = 0;
  };

  StateLayout() = default;
  explicit StateLayout(std::span<const StateNeeds> layers);

  std::span<const Group> groups() const { return groups_; }
  std::span<const Layer> layers() const { return layers_; }

  /// Bytes of what does not grow.
  std::uint64_t fixed_bytes() const { return fixed_bytes_; }
  /// Bytes of the blocks for `positions` positions, of which steps add up to `step_rows` at a time.
  std::uint64_t kv_bytes(std::size_t positions, std::size_t step_rows) const;
  /// Bytes that a snapshot of a sequence takes beside the sequence.
  std::uint64_t snapshot_bytes() const;

 private:
  std::vector<Group> groups_;
  std::vector<Layer> layers_;
  std::uint64_t fixed_bytes_ = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_STATE_STATE_LAYOUT_H_
