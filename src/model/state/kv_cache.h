#ifndef FLASHMOE_MODEL_STATE_KV_CACHE_H_
#define FLASHMOE_MODEL_STATE_KV_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/result.h"
#include "model/state/state_layout.h"

namespace flashmoe {

/// What the layers of a group remember of kKvBlock positions (StateLayout).
using KvBlock = AlignedBuffer;

/// What a model remembers of one sequence's positions, in blocks that are allocated as the sequence
/// grows, and let go once they lie before the window of their group. Copies of a cache share its
/// blocks; a block is copied before one of them writes to it. Threads: caches that share blocks are
/// one thread's.
class KvCache {
 public:
  /// Blocks of a group by their positions: block i has positions i * kKvBlock and on. Null where
  /// the window has passed.
  using Blocks = std::vector<std::shared_ptr<KvBlock>>;

  /// `layout` must outlive the cache and its copies.
  explicit KvCache(const StateLayout& layout);

  /// Makes room for positions 0 ..< end, of which those from `first` on are going to be written,
  /// and lets go of what positions from `first` on do not look back to. Errors: kIo if memory
  /// cannot be had.
  Status reserve(std::size_t first, std::size_t end);

  /// Lets go of the blocks that positions 0 ..< positions do not need.
  void truncate(std::size_t positions);

  /// Takes the blocks of every group; there are none yet. Those before a window may be null.
  void adopt(std::vector<Blocks> groups);

  /// The blocks so far, by group.
  std::span<const Blocks> groups() const { return groups_; }

  /// Lets go of what positions from `position` on do not look back to.
  void drop_passed(std::size_t position);

  /// By group, the blocks that positions from `position` on look back to, of groups with a window;
  /// of the others nothing, since they keep theirs.
  std::vector<Blocks> windows(std::size_t position) const;
  /// Goes back to what windows() gave: with groups of a window, to exactly those blocks.
  void restore(std::span<const Blocks> windows);

  /// Makes ready for position 0 again; memory of groups without a window stays.
  void rewind();

  /// The blocks held, of all groups.
  std::vector<const KvBlock*> held_blocks() const;

  /// By block: a part of what a layer remembers, as it arranged it. Valid until the next reserve().
  void* const* blocks(std::size_t layer, std::size_t part) const {
    return pointers_[layer * kPositionParts + part].data();
  }

  /// The first block that a position still looks back to, in a group of this window.
  static std::size_t first_block(std::size_t window, std::size_t position);

 private:
  void point_into(std::size_t group, std::size_t index);
  void point_into_all(std::size_t group);

  const StateLayout* layout_;
  std::vector<Blocks> groups_;
  std::vector<std::vector<void*>> pointers_;  // [layer * kPositionParts + part][block]
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_STATE_KV_CACHE_H_
