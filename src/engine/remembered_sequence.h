#ifndef FLASHMOE_ENGINE_REMEMBERED_SEQUENCE_H_
#define FLASHMOE_ENGINE_REMEMBERED_SEQUENCE_H_

#include "base/result.h"
#include "engine/expert_use.h"
#include "model/state/sequence_state.h"

namespace flashmoe {

/// All there is to a sequence but its tokens: what the model needs to go on, to the same bits, and
/// what the expert cache had better know then.
struct RememberedSequence {
  SequenceState state;
  ExpertUse experts;

  /// As SequenceState::fork().
  Result<RememberedSequence> fork() const {
    FM_ASSIGN_OR_RETURN(SequenceState copy, state.fork());
    return RememberedSequence{std::move(copy), experts};
  }
  /// Without the blocks of the KV cache, which sequences share.
  std::uint64_t own_bytes() const { return state.fixed_bytes() + experts.bytes(); }
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_REMEMBERED_SEQUENCE_H_
