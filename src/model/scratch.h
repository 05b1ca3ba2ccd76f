#ifndef FLASHMOE_MODEL_SCRATCH_H_
#define FLASHMOE_MODEL_SCRATCH_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/check.h"
#include "kernels/activations.h"
#include "tensor/matrix_view.h"

namespace flashmoe {

/// What a block's buffers take.
struct ScratchSize {
  struct Prepared {
    std::size_t rows = 0;
    std::size_t cols = 0;
    std::uint64_t bytes() const { return Activations::size_for(rows, cols); }
  };
  std::uint64_t bytes = 0;         // of matrices
  std::vector<Prepared> prepared;  // by order of asking

  /// Room for either of two blocks, which take turns.
  void cover(const ScratchSize& other) {
    bytes = std::max(bytes, other.bytes);
    if (prepared.size() < other.prepared.size()) prepared.resize(other.prepared.size());
    for (std::size_t i = 0; i < other.prepared.size(); ++i) {
      if (prepared[i].bytes() < other.prepared[i].bytes()) prepared[i] = other.prepared[i];
    }
  }
  std::uint64_t total_bytes() const {
    std::uint64_t total = bytes;
    for (const Prepared& one : prepared) total += one.bytes();
    return total;
  }
};

/// Hands out memory for the buffers of one block, one after the other: what was asked for before
/// stays as it is until a next block begins. Without memory it only adds up, so that the same lines
/// say how much a block takes and where it lies.
class Scratch {
 public:
  /// Adds up.
  Scratch() = default;
  /// Hands out; both must outlive it.
  Scratch(std::span<std::byte> memory, std::span<Activations> prepared)
      : memory_(memory), prepared_(prepared) {}

  MatrixView<float> matrix(std::size_t rows, std::size_t cols) {
    const std::uint64_t at = size_.bytes;
    const std::uint64_t bytes = std::uint64_t{rows} * cols * sizeof(float);
    size_.bytes += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    if (memory_.empty()) return {nullptr, rows, cols};
    FM_CHECK(size_.bytes <= memory_.size());
    return {reinterpret_cast<float*>(memory_.data() + at), rows, cols};
  }

  /// Room for `rows` rows of `cols` elements, prepared for products. Null while adding up.
  Activations* activations(std::size_t rows, std::size_t cols) {
    size_.prepared.push_back({rows, cols});
    if (memory_.empty()) return nullptr;
    return &prepared_[size_.prepared.size() - 1];
  }

  const ScratchSize& size() const { return size_; }

 private:
  /// Every matrix begins on a cache line.
  static constexpr std::uint64_t kAlignment = 64;

  std::span<std::byte> memory_;
  std::span<Activations> prepared_;
  ScratchSize size_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_SCRATCH_H_
