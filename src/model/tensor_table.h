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

  kQAProj,  // of latent attention
  kQANorm,
  kQBProj,
  kKvAProj,
  kKvANorm,
  kKvBProj,  // keys and values of all heads from the latent; or the same by its two uses:
  kEmbedQ,
  kUnembedOut,

  kInProjQkvz,  // grouped by key head
  kInProjBa,
  kInProjQkv,  // or the same in four
  kInProjZ,
  kInProjB,
  kInProjA,
  kConv1d,
  kALog,
  kDtBias,
  kDeltaNorm,
  kOutProj,

  kGateProj,  // of a layer without experts
  kUpProj,
  kDownProj,

  kRouter,
  kCorrectionBias,
  kSharedGateProj,
  kSharedUpProj,
  kSharedDownProj,
  kSharedExpertGate,

  // Spellings of the routed experts; a checkpoint has one of the three.
  kStackedGate,  // [num_experts, out, in] (MLX)
  kStackedUp,
  kStackedDown,
  kSeparateGate,  // one module for each expert, with {expert} (Hugging Face)
  kSeparateUp,
  kSeparateDown,
  kFusedGateUp,  // [num_experts, 2 * out, in], gate rows first (transformers 5)
  kFusedDown,    // [num_experts, out, in]; or both transposed

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

/// What stands before the names of a model's tensors, in place of "model.", and before "lm_head".
struct TensorPrefixes {
  std::string_view body = "model.";
  std::string_view head = "";
};

/// The names of a family's tensors: its own rows, and for the others the names that most families
/// share. A value; the rows must outlive it.
class TensorTable {
 public:
  constexpr TensorTable() = default;
  constexpr explicit TensorTable(std::span<const TensorRow> own) : own_(own) {}

  /// The same names behind other prefixes.
  TensorTable with_prefixes(const TensorPrefixes& prefixes) const {
    TensorTable table = *this;
    table.prefixes_ = prefixes;
    return table;
  }

  const TensorRow& row(TensorId id) const;
  std::string name(TensorId id) const;
  std::string name(TensorId id, std::size_t layer) const;
  std::string name(TensorId id, std::size_t layer, std::size_t expert) const;

 private:
  std::span<const TensorRow> own_;
  TensorPrefixes prefixes_;
};

TensorRole role_of(TensorId id);

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_TENSOR_TABLE_H_
