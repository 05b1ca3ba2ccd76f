#ifndef FLASHMOE_EXPERTS_EXPERT_STORE_H_
#define FLASHMOE_EXPERTS_EXPERT_STORE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "base/result.h"
#include "experts/expert_id.h"
#include "io/file.h"

namespace flashmoe {

/// The most segments an expert can have: three matrices of weights, scales and biases, and what
/// each adds to its products.
inline constexpr std::size_t kExpertSegmentsMax = 12;

/// One part of an expert on disk: gate_proj's packed weights, up_proj's scales, ...
struct ExpertSegment {
  std::uint32_t file_index = 0;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};

/// Where the parts of one expert go in a slot, and the reads that bring them there. Segments that
/// are contiguous on disk share a read. Offsets into the slot suppose that it begins at a multiple
/// of ExpertStore::slot_alignment().
struct ExpertPlacement {
  struct Read {
    std::uint32_t file_index = 0;
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
    std::uint64_t slot_offset = 0;
    bool padded = false;  // as in ReadRequest: the slot has room for the margins of a direct read
  };
  std::array<Read, kExpertSegmentsMax> reads = {};
  std::size_t read_count = 0;
  std::array<std::uint64_t, kExpertSegmentsMax> segment_offsets = {};  // in the store's order
  std::uint64_t size = 0;  // bytes of the slot in use, margins included
};

/// Where the bytes of every routed expert lie: for each expert the same list of segments, in the
/// same order and of the same sizes within a layer, but in any file and at any offset. Knows files,
/// not what the bytes mean. Immutable; safe to share between threads.
class ExpertStore {
 public:
  /// The experts of one layer: segments[e * segments_per_expert + i]. A layer without routed
  /// experts has none.
  struct Layer {
    std::size_t segments_per_expert = 0;
    std::vector<ExpertSegment> segments;
  };

  /// Opens `files` for direct reads. Errors: those of File::open; kCorrupt if a segment is empty or
  /// lies outside its file, or if the experts of a layer differ in size.
  static Result<ExpertStore> open(std::span<const std::filesystem::path> files,
                                  std::vector<Layer> layers);

  std::size_t layer_count() const { return layers_.size(); }
  /// Routed experts of `layer`; 0 for a dense layer.
  std::size_t expert_count(LayerId layer) const;
  /// expert_count() of every layer.
  std::vector<std::size_t> expert_counts() const;
  std::size_t segments_per_expert(LayerId layer) const;
  std::span<const ExpertSegment> segments(ExpertKey key) const;
  const File& file(std::uint32_t file_index) const;
  std::size_t file_count() const { return files_.size(); }

  /// Bytes of weights that one expert of `layer` has.
  std::uint64_t expert_size(LayerId layer) const;

  /// Bytes of memory that any expert of the layer takes in a slot, with the margins that direct
  /// reads need; a multiple of slot_alignment(). 0 if there are no experts.
  std::uint64_t slot_size(LayerId layer) const { return slot_sizes_[layer.value]; }
  /// The largest of them.
  std::uint64_t slot_size() const { return slot_size_; }
  std::size_t slot_alignment() const { return slot_alignment_; }

  /// How `key` lies in a slot; computed, not stored.
  ExpertPlacement placement(ExpertKey key) const;

 private:
  ExpertStore(std::vector<File> files, std::vector<Layer> layers);

  std::vector<File> files_;
  std::vector<Layer> layers_;
  std::vector<std::uint64_t> slot_sizes_;  // of each layer
  std::uint64_t slot_size_ = 0;
  std::size_t slot_alignment_ = 1;
};

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_EXPERT_STORE_H_
