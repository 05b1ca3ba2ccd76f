#include "model/sequence_state.h"

#include <algorithm>
#include <utility>

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
  return SequenceState(config, std::move(recurrent));
}

SequenceState::SequenceState(const ModelConfig& config, AlignedBuffer recurrent)
    : kv_(config),
      recurrent_(std::move(recurrent)),
      conv_state_size_(conv_state_floats(config.delta_net)),
      delta_state_size_(config.delta_net.state_size()) {}

float* SequenceState::conv_state(std::size_t delta_layer) {
  return reinterpret_cast<float*>(recurrent_.data()) +
         delta_layer * (conv_state_size_ + delta_state_size_);
}

float* SequenceState::delta_state(std::size_t delta_layer) {
  return conv_state(delta_layer) + conv_state_size_;
}

}  // namespace flashmoe
