#ifndef FLASHMOE_MODEL_SEQUENCE_STATE_H_
#define FLASHMOE_MODEL_SEQUENCE_STATE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/result.h"
#include "model/kv_cache.h"
#include "model/model_config.h"

namespace flashmoe {

/// What a model remembers of one sequence: the KV cache of its attention layers, the convolution
/// and recurrent states of its DeltaNet layers, and how many tokens it has seen. Owned by a
/// session; changed only by Model::forward.
class SequenceState {
 public:
  /// Errors: kIo if memory cannot be had.
  static Result<SequenceState> create(const ModelConfig& config);

  /// Bytes of convolution and recurrent state, whatever the length.
  static std::uint64_t recurrent_size(const ModelConfig& config);

  /// Tokens consumed so far: the position of the next one.
  std::size_t position() const { return position_; }
  KvCache& kv() { return kv_; }
  const KvCache& kv() const { return kv_; }
  /// [conv_kernel - 1, conv_channels] of the DeltaNet layer with this ordinal.
  float* conv_state(std::size_t delta_layer);
  /// [value_heads, key_dim, value_dim].
  float* delta_state(std::size_t delta_layer);

  /// Another sequence with the same past. The two share blocks of the KV cache as long as neither
  /// writes to them. Errors: kIo if memory cannot be had.
  Result<SequenceState> fork() const;
  /// A sequence that `position` tokens led to, of what another run kept: recurrent_bytes() of
  /// create()'s, and the KV cache's blocks up to the position.
  static SequenceState assemble(const ModelConfig& config, std::size_t position,
                                AlignedBuffer recurrent,
                                std::vector<std::shared_ptr<KvBlock>> blocks);
  std::span<const std::byte> recurrent() const { return recurrent_.bytes(); }
  /// Bytes of recurrent state held.
  std::uint64_t recurrent_bytes() const { return recurrent_.size(); }

  /// What the sequence was at this moment, but for keys and values, which later positions leave
  /// alone. Errors: kIo if memory cannot be had.
  class Snapshot {
   private:
    friend class SequenceState;
    std::size_t position_ = 0;
    AlignedBuffer recurrent_;
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
  SequenceState(KvCache kv, AlignedBuffer recurrent, std::size_t conv_state_size,
                std::size_t delta_state_size);

  KvCache kv_;
  AlignedBuffer recurrent_;  // per DeltaNet layer: convolution state, then recurrent state
  std::size_t conv_state_size_ = 0;
  std::size_t delta_state_size_ = 0;
  std::size_t position_ = 0;
  bool broken_ = false;
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_SEQUENCE_STATE_H_
