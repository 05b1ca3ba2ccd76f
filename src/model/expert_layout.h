#ifndef FLASHMOE_MODEL_EXPERT_LAYOUT_H_
#define FLASHMOE_MODEL_EXPERT_LAYOUT_H_

#include <cstddef>

#include "experts/expert_cache.h"
#include "tensor/weight_view.h"

namespace flashmoe {

/// What the segments of a layer's experts mean: the formats of their three matrices. Segments come
/// in the order gate, up, down; each is its weights, followed, if affine, by its scales and its
/// biases. Transposed, gate and up are one segment, [hidden, 2 * moe_intermediate_size], in which a
/// row holds an input's gate weights and then its up weights; only floats are transposed.
struct ExpertLayout {
  WeightFormat gate_proj;
  WeightFormat up_proj;
  WeightFormat down_proj;
  bool gate_up_is_transposed = false;
  bool down_is_transposed = false;

  friend bool operator==(const ExpertLayout&, const ExpertLayout&) = default;
};

/// The matrices of one expert where they lie in its slot.
struct ExpertMatrices {
  WeightView gate_proj;  // [moe_intermediate_size, hidden]
  WeightView up_proj;    // [moe_intermediate_size, hidden]
  WeightView down_proj;  // [hidden, moe_intermediate_size]
};

/// Reads `view` by `layout`.
ExpertMatrices expert_matrices(const ExpertLayout& layout, const ExpertView& view,
                               std::size_t hidden, std::size_t intermediate);

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_EXPERT_LAYOUT_H_
