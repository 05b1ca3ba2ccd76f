#ifndef FLASHMOE_MODEL_LAYERS_NGRAM_EMBEDDING_H_
#define FLASHMOE_MODEL_LAYERS_NGRAM_EMBEDDING_H_

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "kernels/ops.h"
#include "model/model_spec.h"
#include "model/scratch.h"
#include "model/state/state_layout.h"
#include "model/weight_source.h"
#include "tensor/weight_view.h"

namespace flashmoe {

struct StepContext;
struct StepSegment;

/// A per-layer embedding (PLE): adds to every residual stream what a table of n-grams, too large
/// for memory, says of the last tokens, gated by the stream, and a convolution of that over
/// positions. Source: transformers modeling_qwen4_exp.py, Qwen4ExpTextPLELayer.
class NgramEmbedding {
 public:
  /// `layer`: of the model. `state`: which of StateLayout's entries is its own.
  NgramEmbedding(const NgramEmbeddingSpec& spec, std::size_t streams, std::size_t hidden_size,
                 float rms_norm_eps, std::size_t layer, std::size_t state)
      : spec_(spec),
        streams_(streams),
        hidden_(hidden_size),
        rms_norm_eps_(rms_norm_eps),
        layer_(layer),
        state_(state) {}

  /// Asks for its tensors. Afterwards it must not move until they are loaded.
  Status declare(LayerTensors& tensors);
  /// After loading. Errors: kCorrupt where hashes reach beyond the table.
  Status check_loaded() const;

  /// What it remembers of a sequence.
  StateNeeds state() const;
  ScratchSize scratch_size(std::size_t rows) const;

  /// Adds to x, [rows, streams * hidden], advancing the state of every segment's sequence. Errors:
  /// those of the RowSource and of StepContext::check; the state of the sequences is then worth
  /// nothing.
  Status forward(StepContext& context, Scratch& scratch, MatrixView<float> x);

 private:
  struct Buffers;
  std::size_t width() const { return streams_ * hidden_; }
  void find_rows(const StepContext& context, const StepSegment& segment, std::size_t row,
                 std::span<std::uint64_t> ids);
  std::int32_t token_before(const StepContext& context, const StepSegment& segment, std::size_t row,
                            std::size_t distance) const;
  std::int32_t* history(const StepSegment& segment) const;
  void remember_tokens(const StepContext& context, const StepSegment& segment) const;
  void gate(Ops& ops, const Buffers& buffers, MatrixView<const float> x) const;

  NgramEmbeddingSpec spec_;
  std::size_t streams_;
  std::size_t hidden_;
  float rms_norm_eps_;
  std::size_t layer_;
  std::size_t state_;

  std::size_t table_ = 0;  // of the RowSource
  NgramHashes hashes_;
  WeightView key_proj_;            // [streams * hidden, embed_dim]
  WeightView value_proj_;          // [hidden, embed_dim]
  std::vector<float> norm_key_;    // [streams, hidden]
  std::vector<float> norm_query_;  // likewise
  std::vector<float> norm_conv_;   // likewise
  std::vector<float> conv_;        // [kernel, streams * hidden]
  // Reused from step to step.
  std::vector<std::uint64_t> ids_;
  std::vector<std::int32_t> tokens_;  // [ngram_size]
  std::vector<ConvSegment> conv_segments_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_LAYERS_NGRAM_EMBEDDING_H_
