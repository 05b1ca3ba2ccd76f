#ifndef FLASHMOE_MODEL_EXPERT_LAYOUT_H_
#define FLASHMOE_MODEL_EXPERT_LAYOUT_H_

#include <cstddef>
#include <optional>
#include <string_view>

#include "experts/expert_cache.h"
#include "tensor/weight_view.h"

namespace flashmoe {

/// What the segments of a layer's experts mean: the types of their three matrices. Segments come in
/// the order gate, up, down; each is its planes, followed by what it adds to its products, where
/// `bias` says of which type. Gate and up are one matrix of 2 * moe_intermediate_size rows where it
/// is transposed, [hidden, 2 * moe_intermediate_size], gate rows first, which only floats are, or
/// interleaved, gate and up rows in turns.
struct ExpertLayout {
  const WeightType* gate_proj = nullptr;
  const WeightType* up_proj = nullptr;
  const WeightType* down_proj = nullptr;
  bool gate_up_is_transposed = false;
  bool gate_up_is_interleaved = false;
  bool down_is_transposed = false;
  std::optional<DType> bias = std::nullopt;

  bool gate_up_is_one() const { return gate_up_is_transposed || gate_up_is_interleaved; }

  friend bool operator==(const ExpertLayout&, const ExpertLayout&) = default;
};

/// The matrices of one expert where they lie in its slot.
struct ExpertMatrices {
  /// Interleaved: [2 * moe_intermediate_size, hidden]. Else gate_proj and up_proj are there.
  WeightView gate_up_proj;
  WeightView gate_proj;  // [moe_intermediate_size, hidden]
  WeightView up_proj;    // [moe_intermediate_size, hidden]
  WeightView down_proj;  // [hidden, moe_intermediate_size]
  // What they add to their products, of ExpertLayout::bias; null without.
  const std::byte* gate_up_bias = nullptr;
  const std::byte* gate_bias = nullptr;
  const std::byte* up_bias = nullptr;
  const std::byte* down_bias = nullptr;
};

/// The first of an expert's matrices that has a scale which is NaN, as tensors call it
/// ("down_proj"). Empty: none.
std::string_view find_bad_scales(const ExpertMatrices& matrices);

/// Reads `view` by `layout`.
ExpertMatrices expert_matrices(const ExpertLayout& layout, const ExpertView& view,
                               std::size_t hidden, std::size_t intermediate);

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_EXPERT_LAYOUT_H_
