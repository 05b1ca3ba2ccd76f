#include "model/sequence_state.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace flashmoe {
namespace {

std::size_t conv_state_floats(const DeltaNetConfig& delta) {
  return (delta.conv_kernel - 1) * delta.conv_channels();
}

}  // namespace

std::uint64_t SequenceState::recurrent_size(const ModelConfig& config) {
  return config.count(MixerKind::kLinearAttention) *
         (conv_state_floats(config.delta_net) + config.delta_net.state_size()) * sizeof(float);
}

Result<SequenceState> SequenceState::create(const ModelConfig& config) {
  // At least one byte: a model without DeltaNet layers has no recurrent state, but a buffer is
  // never empty.
  FM_ASSIGN_OR_RETURN(AlignedBuffer recurrent,
                      AlignedBuffer::allocate(std::max<std::uint64_t>(1, recurrent_size(config))));
  return SequenceState(KvCache(config), std::move(recurrent), conv_state_floats(config.delta_net),
                       config.delta_net.state_size());
}

SequenceState::SequenceState(KvCache kv, AlignedBuffer recurrent, std::size_t conv_state_size,
                             std::size_t delta_state_size)
    : kv_(std::move(kv)),
      recurrent_(std::move(recurrent)),
      conv_state_size_(conv_state_size),
      delta_state_size_(delta_state_size) {}

SequenceState SequenceState::assemble(const ModelConfig& config, std::size_t position,
                                      AlignedBuffer recurrent,
                                      std::vector<std::shared_ptr<KvBlock>> blocks) {
  SequenceState state(KvCache(config), std::move(recurrent), conv_state_floats(config.delta_net),
                      config.delta_net.state_size());
  state.kv_.adopt(std::move(blocks));
  state.position_ = position;
  return state;
}

Result<SequenceState> SequenceState::fork() const {
  FM_CHECK(!broken_);
  FM_ASSIGN_OR_RETURN(AlignedBuffer recurrent, AlignedBuffer::allocate(recurrent_.size()));
  std::memcpy(recurrent.data(), recurrent_.data(), recurrent_.size());
  SequenceState copy(kv_, std::move(recurrent), conv_state_size_, delta_state_size_);
  copy.kv_.truncate(position_);
  copy.position_ = position_;
  return copy;
}

Result<SequenceState::Snapshot> SequenceState::snapshot() const {
  Snapshot snapshot;
  snapshot.position_ = position_;
  FM_ASSIGN_OR_RETURN(snapshot.recurrent_, AlignedBuffer::allocate(recurrent_.size()));
  std::memcpy(snapshot.recurrent_.data(), recurrent_.data(), recurrent_.size());
  return snapshot;
}

void SequenceState::restore(const Snapshot& snapshot) {
  FM_CHECK(snapshot.recurrent_.size() == recurrent_.size() && snapshot.position_ <= position_);
  std::memcpy(recurrent_.data(), snapshot.recurrent_.data(), recurrent_.size());
  position_ = snapshot.position_;
  broken_ = false;
}

void SequenceState::rewind() {
  std::memset(recurrent_.data(), 0, recurrent_.size());
  position_ = 0;
  broken_ = false;
}

float* SequenceState::conv_state(std::size_t delta_layer) {
  return reinterpret_cast<float*>(recurrent_.data()) +
         delta_layer * (conv_state_size_ + delta_state_size_);
}

float* SequenceState::delta_state(std::size_t delta_layer) {
  return conv_state(delta_layer) + conv_state_size_;
}

}  // namespace flashmoe
