#include "model/state/sequence_state.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace flashmoe {
namespace {

Result<AlignedBuffer> copy_of(const AlignedBuffer& buffer) {
  FM_ASSIGN_OR_RETURN(AlignedBuffer copy, AlignedBuffer::allocate(buffer.size()));
  std::memcpy(copy.data(), buffer.data(), buffer.size());
  return copy;
}

}  // namespace

Result<SequenceState> SequenceState::create(const StateLayout& layout) {
  // At least one byte: a buffer is never empty.
  FM_ASSIGN_OR_RETURN(AlignedBuffer fixed,
                      AlignedBuffer::allocate(std::max<std::uint64_t>(1, layout.fixed_bytes())));
  return SequenceState(layout, KvCache(layout), std::move(fixed));
}

SequenceState SequenceState::assemble(const StateLayout& layout, std::size_t position,
                                      AlignedBuffer fixed, std::vector<KvCache::Blocks> blocks) {
  SequenceState state(layout, KvCache(layout), std::move(fixed));
  state.kv_.adopt(std::move(blocks));
  state.position_ = position;
  return state;
}

Result<SequenceState> SequenceState::fork() const {
  FM_CHECK(!broken_);
  FM_ASSIGN_OR_RETURN(AlignedBuffer fixed, copy_of(fixed_));
  SequenceState copy(*layout_, kv_, std::move(fixed));
  copy.kv_.truncate(position_);
  copy.kv_.drop_passed(position_);
  copy.position_ = position_;
  return copy;
}

Result<SequenceState::Snapshot> SequenceState::snapshot() const {
  Snapshot snapshot;
  snapshot.position_ = position_;
  FM_ASSIGN_OR_RETURN(snapshot.fixed_, copy_of(fixed_));
  snapshot.windows_ = kv_.windows(position_);
  return snapshot;
}

void SequenceState::restore(const Snapshot& snapshot) {
  FM_CHECK(snapshot.fixed_.size() == fixed_.size());
  FM_CHECK(snapshot.position_ <= position_);
  std::memcpy(fixed_.data(), snapshot.fixed_.data(), fixed_.size());
  kv_.restore(snapshot.windows_);
  position_ = snapshot.position_;
  broken_ = false;
}

void SequenceState::rewind() {
  std::memset(fixed_.data(), 0, fixed_.size());
  kv_.rewind();
  position_ = 0;
  broken_ = false;
}

}  // namespace flashmoe
