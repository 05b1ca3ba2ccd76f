#ifndef FLASHMOE_MODEL_LAYERS_INDEXER_H_
#define FLASHMOE_MODEL_LAYERS_INDEXER_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/ops.h"
#include "model/model_spec.h"
#include "model/scratch.h"
#include "model/weight_source.h"
#include "tensor/weight_view.h"

namespace flashmoe {

struct StepContext;

/// Chooses which positions a row attends to: by heads of its own, over one key for every run of
/// `compress_ratio` positions. What it chooses depends on the row and its sequence alone.
/// Source: transformers modeling_qwen4_exp.py, Qwen4ExpTextQSAIndexer.
class Indexer {
 public:
  /// The part of a position's state where its keys are, floats in every KvPrecision, and what it
  /// needs there.
  static constexpr std::size_t kIndexKeys = 2;
  std::size_t position_bytes() const;
  /// Of what does not grow: the sum of the keys of a run that is not whole yet.
  std::size_t fixed_bytes() const { return spec_.head_dim * sizeof(float); }

  /// Memory of a step.
  struct Buffers {
    Buffers(const IndexerSpec& spec, const RopeSpec& rope, std::size_t rows, Scratch& scratch);
    std::size_t batch;           // rows that search at a time
    MatrixView<float> queries;   // [rows, num_heads * head_dim]
    MatrixView<float> keys;      // [rows, head_dim]
    MatrixView<float> run_keys;  // [rows, head_dim]: of runs that end in the step
    MatrixView<float> cos;       // [rows, rotary_dim / 2], of those
    MatrixView<float> sin;
    MatrixView<float> chosen;  // [rows, runs_kept + 1] whole numbers
    MatrixView<float> room;    // [batch, runs_kept] numbers of 64 bits
  };

  /// `layer`: of the model, whose attention it serves. `rope`: which of StepContext::rope is its
  /// own, and what it is.
  Indexer(const IndexerSpec& spec, const RopeSpec& rope, std::size_t hidden_size,
          float rms_norm_eps, std::size_t layer, std::size_t rope_index);

  Status declare(LayerTensors& tensors);

  /// Keeps the keys of the step's rows, and searches for each of them. x: prepared [rows, hidden].
  void choose(StepContext& context, const Activations& x, const Buffers& buffers);

  /// After choose(): the runs of positions that row `row` of the step, at `position`, attends to,
  /// ascending; its own, if not whole, is the last. Empty: it attends to all.
  std::span<const std::uint32_t> runs(const Buffers& buffers, std::size_t row,
                                      std::size_t position) const;
  std::size_t run_size() const { return spec_.compress_ratio; }

 private:
  std::size_t keys_per_block() const { return kKvBlock / spec_.compress_ratio; }
  /// Whether a row at `position` sees more whole runs than it may attend to.
  bool must_choose(std::size_t position) const {
    return (position + 1) / spec_.compress_ratio > spec_.runs_kept();
  }
  std::uint32_t* chosen(const Buffers& buffers, std::size_t row) const {
    return reinterpret_cast<std::uint32_t*>(buffers.chosen.row(row));
  }
  void store_keys(StepContext& context, const Buffers& buffers);
  void search(StepContext& context, const Buffers& buffers);

  IndexerSpec spec_;
  RopeSpec rope_;
  std::size_t hidden_;
  float rms_norm_eps_;
  std::size_t layer_;
  std::size_t rope_index_;
  std::vector<float> inv_freq_;
  std::vector<float> head_weights_;  // [num_heads]

  WeightView qk_proj_;         // [(num_heads + 1) * head_dim, hidden]: queries, then the key
  std::vector<float> q_norm_;  // [head_dim]
  std::vector<float> k_norm_;  // [head_dim]
  // Reused from step to step.
  std::vector<std::uint32_t> run_positions_;  // first positions of runs that end in the step
  std::vector<float*> run_places_;            // where their keys go
  std::vector<KeySearch> searches_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_LAYERS_INDEXER_H_
