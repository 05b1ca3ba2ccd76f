#ifndef FLASHMOE_MODEL_WORKSPACE_H_
#define FLASHMOE_MODEL_WORKSPACE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/result.h"
#include "kernels/activations.h"
#include "kernels/ops.h"
#include "model/model_config.h"
#include "tensor/matrix_view.h"

namespace flashmoe {

/// Rows of logits computed at a time when many are wanted: the vocabulary is wide.
inline constexpr std::size_t kLogitsRows = 16;

/// Sizes of the buffers below, for steps of at most `rows` rows.
struct WorkspaceShape {
  WorkspaceShape(const ModelConfig& config, std::size_t rows);

  std::size_t rows;
  std::size_t hidden;
  std::size_t wide;          // floats that one row of the widest mixer or dense MLP takes, twice
  std::size_t mixer_out;     // inputs of the widest output projection
  std::size_t shared_inner;  // the widest MLP that every row passes: shared expert or dense layer
  std::size_t expert_inner;  // moe_intermediate_size
  std::size_t assignments;   // (row, routed expert) pairs computed at a time
  std::size_t num_experts;
  std::size_t num_experts_per_tok;
  std::size_t vocab;
  std::size_t rotary_half;
};

/// The buffers of a forward pass, allocated once; layers take turns using them.
struct Workspace {
  /// Bytes that create() allocates.
  static std::uint64_t size_for(const WorkspaceShape& shape);
  static Result<Workspace> create(const WorkspaceShape& shape);

  WorkspaceShape shape;
  MatrixView<float> x;              // [rows, hidden]: the residual stream
  MatrixView<float> normed;         // [rows, hidden]
  MatrixView<float> block_out;      // [rows, hidden]: what a mixer or MLP adds to x
  MatrixView<float> shared_out;     // [rows, hidden]
  std::span<float> wide_a;          // [rows * wide] each: projections and what is made of them
  std::span<float> wide_b;          //
  MatrixView<float> rope_cos;       // [rows, rotary_half]
  MatrixView<float> rope_sin;       // [rows, rotary_half]
  MatrixView<float> router_logits;  // [rows, num_experts]
  MatrixView<float> shared_gate;    // [rows, 1]
  MatrixView<float> expert_gate;    // [assignments, expert_inner]
  MatrixView<float> expert_up;      // [assignments, expert_inner]
  MatrixView<float> expert_out;     // [assignments, hidden]
  MatrixView<float> logits;         // [kLogitsRows, vocab]
  Activations normed_activations;   // [rows, hidden]
  Activations inner_activations;    // [rows, max(mixer_out, shared_inner)]
  Activations expert_activations;   // [assignments, expert_inner]
  // What mixers say of a step's rows and segments: grow-only, so that decoding allocates nothing.
  std::vector<AttentionRow> attention_rows;
  std::vector<ConvSegment> conv_segments;
  std::vector<DeltaSegment> delta_segments;

 private:
  explicit Workspace(const WorkspaceShape& shape_in) : shape(shape_in) {}
  /// Points the views into memory at `base` (null: only counts) and returns the bytes they take.
  std::uint64_t lay_out(std::byte* base);
  AlignedBuffer buffer_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_WORKSPACE_H_
