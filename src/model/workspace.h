#ifndef FLASHMOE_MODEL_WORKSPACE_H_
#define FLASHMOE_MODEL_WORKSPACE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/result.h"
#include "kernels/activations.h"
#include "model/network.h"
#include "model/scratch.h"
#include "model/step.h"
#include "tensor/matrix_view.h"

namespace flashmoe {

/// Rows of logits computed at a time when many are wanted: the vocabulary is wide.
inline constexpr std::size_t kLogitsRows = 16;

/// The buffers of a forward pass, allocated once: those that outlive a block, and the scratch
/// memory that blocks take turns in.
class Workspace {
 public:
  /// Bytes that create() allocates, for steps of up to `rows` rows.
  static std::uint64_t size_for(const Network& network, std::size_t rows);
  /// Errors: kIo if memory cannot be had.
  static Result<Workspace> create(const Network& network, std::size_t rows);

  std::size_t rows_max() const { return x.rows; }

  /// All of the scratch memory, for the next block.
  Scratch scratch() { return Scratch(scratch_memory_, scratch_prepared_); }

  MatrixView<float> x;             // [rows, streams * hidden]: the residual stream
  MatrixView<float> normed;        // [rows, hidden]
  MatrixView<float> block_out;     // [rows, hidden]: what a block adds to x
  MatrixView<float> carried;       // [rows, Network::carried_size()]: from take() to give()
  MatrixView<float> logits;        // [kLogitsRows, vocab]
  Activations normed_activations;  // [rows, hidden]
  std::vector<RopeAngles> rope;    // [rows, rotary_dim / 2] of each of the network's

 private:
  Workspace() = default;
  /// Takes the buffers that outlive a block from `scratch`.
  void lay_out(const Network& network, std::size_t rows, Scratch& scratch);

  AlignedBuffer buffer_;
  std::span<std::byte> scratch_memory_;  // the end of buffer_
  std::vector<Activations> scratch_prepared_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_WORKSPACE_H_
