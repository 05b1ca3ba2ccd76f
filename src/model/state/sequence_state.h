#ifndef FLASHMOE_MODEL_STATE_SEQUENCE_STATE_H_
#define FLASHMOE_MODEL_STATE_SEQUENCE_STATE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/result.h"
#include "model/state/kv_cache.h"
#include "model/state/state_layout.h"

namespace flashmoe {

/// What a model remembers of one sequence: of its positions in the KV cache, of the rest in one
/// piece, and how many tokens it has seen. Owned by a session; changed only by Model::forward.
class SequenceState {
 public:
  /// `layout` must outlive the sequence and its forks. Errors: kIo if memory cannot be had.
  static Result<SequenceState> create(const StateLayout& layout);

  /// Tokens consumed so far: the position of the next one.
  std::size_t position() const { return position_; }
  KvCache& kv() { return kv_; }
  const KvCache& kv() const { return kv_; }
  /// What a layer remembers whatever the length (StateNeeds::fixed_bytes).
  float* fixed_state(std::size_t layer) {
    return reinterpret_cast<float*>(fixed_.data() + layout_->layers()[layer].fixed_offset);
  }

  /// Another sequence with the same past. The two share blocks of the KV cache as long as neither
  /// writes to them. Errors: kIo if memory cannot be had.
  Result<SequenceState> fork() const;
  /// A sequence that `position` tokens led to, of what another run kept: as many bytes as fixed()
  /// of create()'s, and the KV cache's blocks up to the position.
  static SequenceState assemble(const StateLayout& layout, std::size_t position,
                                AlignedBuffer fixed, std::vector<KvCache::Blocks> blocks);
  /// What does not grow with the sequence.
  std::span<const std::byte> fixed() const { return fixed_.bytes(); }
  std::uint64_t fixed_bytes() const { return fixed_.size(); }

  /// What the sequence was at this moment. Later positions leave the KV cache's earlier ones alone;
  /// a snapshot keeps those that windows will have passed. Errors: kIo if memory cannot be had.
  class Snapshot {
   private:
    friend class SequenceState;
    std::size_t position_ = 0;
    AlignedBuffer fixed_;
    std::vector<KvCache::Blocks> windows_;  // KvCache::windows()
  };
  Result<Snapshot> snapshot() const;
  /// Takes back everything since `snapshot` was taken of this sequence, also a failure.
  void restore(const Snapshot& snapshot);

  /// Takes back everything, also a failure; memory stays.
  void rewind();

  /// A forward pass that failed or was given up half-way left some layers ahead of others: the
  /// sequence can only be thrown away, restored or rewound.
  bool broken() const { return broken_; }

 private:
  friend class Model;
  SequenceState(const StateLayout& layout, KvCache kv, AlignedBuffer fixed)
      : layout_(&layout), kv_(std::move(kv)), fixed_(std::move(fixed)) {}

  const StateLayout* layout_;
  KvCache kv_;
  AlignedBuffer fixed_;  // as layout_ says
  std::size_t position_ = 0;
  bool broken_ = false;
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_STATE_SEQUENCE_STATE_H_
