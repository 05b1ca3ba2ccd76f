#ifndef FLASHMOE_MODEL_TENSOR_TABLE_H_
#define FLASHMOE_MODEL_TENSOR_TABLE_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "flashmoe/tensor_role.h"
#include "format/tensor_spelling.h"

namespace flashmoe {

/// The tensors that blocks ask for. A matrix is named by its module, to which ".weight" and the
/// names of its other parts are added; a vector by its whole name.
enum class TensorId : std::uint8_t {
  kEmbedTokens,
  kFinalNorm,
  kLmHead,
  kInputNorm,
  kMixerOutNorm,
  kFeedForwardNorm,
  kFeedForwardOutNorm,
  kLayerScale,  // one number

  kQProj,
  kKProj,
  kVProj,
  kOProj,
  kQNorm,
  kKNorm,
  kSinks,

  kIndexQkProj,  // of an indexer
  kIndexQNorm,
  kIndexKNorm,

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

  kMixerHyperNorm,  // of hyper-connections
  kMixerHyperDown,
  kMixerHyperUp,
  kMixerHyperInject,
  kFeedForwardHyperNorm,
  kFeedForwardHyperDown,
  kFeedForwardHyperUp,
  kFeedForwardHyperInject,
  kFinalHyperNorm,
  kFinalHyperDown,
  kFinalHyperUp,

  kNgramTable,  // in parts, with {part}
  kNgramMultipliers,
  kNgramSizes,
  kNgramOffsets,
  kNgramKeyProj,
  kNgramValueProj,
  kNgramKeyNorm,
  kNgramQueryNorm,
  kNgramConvNorm,
  kNgramConv,

  kGateProj,  // of a layer without experts
  kUpProj,
  kDownProj,

  kRouter,
  kRouterScale,  // of its own norm
  kExpertScale,  // of weights, one number for each expert
  kCorrectionBias,
  kExpertsNorm,  // of branches that have norms of their own
  kExpertsOutNorm,
  kSharedOutNorm,
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
  kFusedGateUpBias,
  kFusedDownBias,

  kCount
};

/// How numbers are stored: those of a vector, which restore() turns into what blocks compute with,
/// or the rows of a matrix.
enum class StoredAs : std::uint8_t {
  kPlain,
  kZeroCentred,   // a norm's w as w - 1; MLX conversions hold w
  kLogDecay,      // A_log, for -exp(A_log)
  kTapsLast,      // a convolution's [channels, kernel], for [kernel, channels]
  kOverRootSize,  // a norm's w of n elements as w * sqrt(n)

  // Of matrices, whose bytes stay as they are: blocks ask for them and compute accordingly.
  kInterleaved,       // fused experts' gate and up rows in turns, rather than one after the other
  kInterleavedPairs,  // rows of a head in the order of rotary pairs (2i, 2i + 1), for (i, i + half)
  kTiledHeads,        // value head j belongs to key head j % key_heads
};

/// How a family calls a tensor. "{layer}", "{expert}" and "{part}" stand for indices.
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

/// The names of a family's tensors in one spelling: its own rows, and for the others the names that
/// most families share. A value; the rows must outlive it.
class TensorTable {
 public:
  constexpr TensorTable() = default;
  /// `gguf`: the family's own rows in GGUF's spelling.
  constexpr explicit TensorTable(std::span<const TensorRow> own,
                                 std::span<const TensorRow> gguf = {})
      : own_(own), own_gguf_(gguf) {}

  /// The same as `spelling` has it.
  TensorTable spelled(TensorSpelling spelling) const {
    TensorTable table = *this;
    table.spelling_ = spelling;
    return table;
  }

  /// The same names behind other prefixes.
  TensorTable with_prefixes(const TensorPrefixes& prefixes) const {
    TensorTable table = *this;
    table.prefixes_ = prefixes;
    return table;
  }

  TensorRow row(TensorId id) const;
  /// Whether the family lists it among its own: of spellings that exclude one another, the one
  /// that its files have.
  bool is_own(TensorId id) const;
  std::string name(TensorId id) const;
  std::string name(TensorId id, std::size_t layer) const;
  /// `index`: of an expert, or of a part.
  std::string name(TensorId id, std::size_t layer, std::size_t index) const;

 private:
  std::span<const TensorRow> own_;
  std::span<const TensorRow> own_gguf_;
  TensorSpelling spelling_ = TensorSpelling::kHuggingFace;
  TensorPrefixes prefixes_;
};

TensorRole role_of(TensorId id);

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_TENSOR_TABLE_H_
