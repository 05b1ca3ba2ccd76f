#ifndef FLASHMOE_MODEL_TENSOR_TABLE_H_
#define FLASHMOE_MODEL_TENSOR_TABLE_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "flashmoe/tensor_role.h"

namespace flashmoe {

/// The tensors that blocks ask for. A matrix is named by its module, to which ".weight" and the
/// names of its other parts are added; a vector by its whole name.
enum class TensorId : std::uint8_t {
  kEmbedTokens,
  kFinalNorm,
  kLmHead,
  kInputNorm,
  kPostAttentionNorm,

  kQProj,
  kKProj,
  kVProj,
  kOProj,
  kQNorm,
  kKNorm,

  kInProjQkvz,
  kInProjBa,
  kConv1d,
  kALog,
  kDtBias,
  kDeltaNorm,
  kOutProj,

  kGateProj,  // of a layer without experts
  kUpProj,
  kDownProj,

  kRouter,
  kSharedGateProj,
  kSharedUpProj,
  kSharedDownProj,
  kSharedExpertGate,

  // Spellings of the routed experts; a checkpoint has one of the three.
  kStackedExperts,   // + ".gate_proj" etc., [num_experts, out, in] (MLX)
  kSeparateExperts,  // with {expert}, + ".gate_proj" etc. (Hugging Face)
  kFusedGateUp,      // [num_experts, 2 * out, in], gate rows first (transformers 5)
  kFusedDown,        // [num_experts, out, in]; or both transposed

  kCount
};

/// How the numbers of a vector are stored; restore() turns them into what blocks compute with.
enum class StoredAs : std::uint8_t {
  kPlain,
  kZeroCentred,  // a norm's w as w - 1 in Hugging Face checkpoints, as w in MLX conversions
  kLogDecay,     // A_log, for -exp(A_log)
  kTapsLast,     // a convolution's [channels, kernel], for [kernel, channels]
};

/// How a family calls a tensor. "{layer}" and "{expert}" stand for indices.
struct TensorRow {
  TensorId id = TensorId::kCount;
  std::string_view name;
  StoredAs stored = StoredAs::kPlain;
};

/// The names of a family's tensors: its own rows, and for the others the names that most families
/// share. A value; the rows must outlive it.
class TensorTable {
 public:
  constexpr TensorTable() = default;
  constexpr explicit TensorTable(std::span<const TensorRow> own) : own_(own) {}

  const TensorRow& row(TensorId id) const;
  std::string name(TensorId id) const { return std::string(row(id).name); }
  std::string name(TensorId id, std::size_t layer) const;
  std::string name(TensorId id, std::size_t layer, std::size_t expert) const;

 private:
  std::span<const TensorRow> own_;
};

TensorRole role_of(TensorId id);

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_TENSOR_TABLE_H_
