#include "synthesis/module_recorder.h"

#include <cmath>
#include <string>

namespace flashmoe {
namespace {

// Weights are drawn so that a row of unit RMS comes out of a matrix with this RMS. Inputs are
// normed, and what is added to the residual stream half as large as that: its RMS goes from 1 to
// about 3 over 48 layers. Logits spread by 3, like a trained model's.
constexpr float kGain = 1;
constexpr float kResidualGain = 0.5;
constexpr float kLogitsGain = 3;

}  // namespace

Status ModuleRecorder::matrix(const TensorRef& tensor, const MatrixShape& shape,
                              WeightView* /*out*/) {
  TensorShape rows_and_cols = {shape.rows, shape.cols};
  if (shape.stack > 1) rows_and_cols.insert(rows_and_cols.begin(), shape.stack);
  const float deviation = gain_of(tensor.id) / std::sqrt(static_cast<float>(shape.cols));
  FM_RETURN_IF_ERROR(add_matrix(tensor, std::move(rows_and_cols), deviation));
  return tensor.id == TensorId::kRouter ? add_experts(tensor.layer) : Status();
}

Status ModuleRecorder::vector(const TensorRef& tensor, std::span<const TensorShape> accepted_shapes,
                              std::vector<float>* /*out*/) {
  return add_vector(tensor, accepted_shapes);
}

float ModuleRecorder::gain_of(TensorId id) const {
  switch (id) {
    case TensorId::kEmbedTokens:
      // Tied, the embedding is lm_head as well, and its rows as small as logits need them.
      return spec_.tie_word_embeddings ? kLogitsGain
                                       : std::sqrt(static_cast<float>(spec_.hidden_size));
    case TensorId::kLmHead:
      return kLogitsGain;
    case TensorId::kOProj:
    case TensorId::kOutProj:
    case TensorId::kDownProj:
    case TensorId::kSharedDownProj:
    case TensorId::kStackedDown:
    case TensorId::kFusedDown:
    case TensorId::kNgramValueProj:
      return kResidualGain;
    default:
      return kGain;
  }
}

Status ModuleRecorder::add_experts(std::size_t layer) {
  const MoeSpec& moe = *spec_.layers[layer].moe();
  const std::uint64_t count = moe.router.num_experts;
  const std::uint64_t inner = moe.intermediate_size;
  const std::uint64_t hidden = spec_.hidden_size;
  const auto add = [&](TensorId id, std::uint64_t rows, std::uint64_t cols) {
    TensorRef tensor = {id, layer, names_.name(id, layer)};
    const float deviation = gain_of(id) / std::sqrt(static_cast<float>(cols));
    FM_RETURN_IF_ERROR(add_matrix(tensor, {count, rows, cols}, deviation));
    if (!moe.has_expert_bias) return Status();
    tensor.name += ".bias";
    const TensorShape shape = {count, rows};
    return add_vector(tensor, {&shape, 1});
  };
  if (has_fused_experts()) {
    FM_RETURN_IF_ERROR(add(TensorId::kFusedGateUp, 2 * inner, hidden));
    return add(TensorId::kFusedDown, hidden, inner);
  }
  FM_RETURN_IF_ERROR(add(TensorId::kStackedGate, inner, hidden));
  FM_RETURN_IF_ERROR(add(TensorId::kStackedUp, inner, hidden));
  return add(TensorId::kStackedDown, hidden, inner);
}

/// Parameters other than norms as such models are initialised: logarithms of 1 to 16, and of time
/// steps from 0.001 to 0.1.
RandomFill fill_of(TensorId id, const TensorShape& shape) {
  switch (id) {
    case TensorId::kALog:
      return uniform_fill(0, 2.7725887f);
    case TensorId::kDtBias:
      return uniform_fill(-6.9077554f, -2.3025851f);
    case TensorId::kNgramConv:
    case TensorId::kConv1d: {
      const auto taps = static_cast<float>(shape[1]);
      const float tap = kUniformHalfWidth / std::sqrt(taps);
      return uniform_fill(-tap, tap);
    }
    case TensorId::kQProj:  // their biases
    case TensorId::kKProj:
    case TensorId::kVProj:
    case TensorId::kOProj:
    case TensorId::kRouter:
    case TensorId::kCorrectionBias:
    case TensorId::kSinks:
    case TensorId::kStackedGate:
    case TensorId::kStackedUp:
    case TensorId::kStackedDown:
      return uniform_fill(-0.1f, 0.1f);
    default:
      return uniform_fill(0.9f, 1.1f);
  }
}

}  // namespace flashmoe
