#include "model/workspace.h"

#include <algorithm>
#include <utility>

namespace flashmoe {

void Workspace::lay_out(const Network& network, std::size_t rows, Scratch& scratch) {
  const ModelSpec& spec = network.spec();
  x = scratch.matrix(rows, spec.streams() * spec.hidden_size);
  normed = scratch.matrix(rows, spec.hidden_size);
  block_out = scratch.matrix(rows, spec.hidden_size);
  carried = scratch.matrix(rows, network.carried_size());
  logits = scratch.matrix(kLogitsRows, spec.vocab_size);
  rope.clear();
  for (const RopeSpec& one : network.ropes()) {
    rope.push_back(
        {scratch.matrix(rows, one.rotary_dim / 2), scratch.matrix(rows, one.rotary_dim / 2)});
  }
}

std::uint64_t Workspace::size_for(const Network& network, std::size_t rows) {
  Scratch lasting;
  Workspace().lay_out(network, rows, lasting);
  return lasting.size().bytes + network.scratch_size(rows).total_bytes() +
         Activations::size_for(rows, network.spec().hidden_size);
}

Result<Workspace> Workspace::create(const Network& network, std::size_t rows) {
  Workspace workspace;
  Scratch lasting;
  workspace.lay_out(network, rows, lasting);
  const std::uint64_t lasting_bytes = lasting.size().bytes;
  const ScratchSize scratch = network.scratch_size(rows);
  FM_ASSIGN_OR_RETURN(workspace.buffer_, AlignedBuffer::allocate(lasting_bytes + scratch.bytes));
  Scratch memory(workspace.buffer_.bytes(), {});
  workspace.lay_out(network, rows, memory);
  workspace.scratch_memory_ = workspace.buffer_.bytes().subspan(lasting_bytes);
  FM_ASSIGN_OR_RETURN(workspace.normed_activations,
                      Activations::allocate(rows, network.spec().hidden_size));
  for (const ScratchSize::Prepared& prepared : scratch.prepared) {
    FM_ASSIGN_OR_RETURN(Activations activations,
                        Activations::allocate(prepared.rows, prepared.cols));
    workspace.scratch_prepared_.push_back(std::move(activations));
  }
  return workspace;
}

}  // namespace flashmoe
