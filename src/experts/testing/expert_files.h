#ifndef FLASHMOE_EXPERTS_TESTING_EXPERT_FILES_H_
#define FLASHMOE_EXPERTS_TESTING_EXPERT_FILES_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "experts/expert_cache.h"
#include "experts/expert_store.h"
#include "io/testing/temporary_file.h"

namespace flashmoe {

/// Two files of random bytes with the experts of a small model in them, as checkpoints have them:
/// even layers segment by segment for all experts (MLX), odd layers expert by expert (Hugging
/// Face), with gaps that leave no offset aligned.
class ExpertFiles {
 public:
  struct LayerShape {
    std::size_t expert_count = 0;
    std::vector<std::uint64_t> segment_sizes;
  };

  ExpertFiles(std::span<const LayerShape> shapes, std::uint64_t seed);

  /// Large and small segments, a dense layer in the middle, and layers that differ.
  static std::vector<LayerShape> mixed_shapes();

  std::vector<std::filesystem::path> paths() const;
  const TemporaryFile& file(std::size_t i) const { return *files_[i]; }
  const std::vector<ExpertStore::Layer>& layers() const { return layers_; }
  ExpertStore open_store() const;

  /// What the file holds where `segment` lies.
  std::span<const std::byte> contents(const ExpertSegment& segment) const;

  /// True if `view` shows the bytes that the files hold for `key`.
  bool matches(const ExpertStore& store, ExpertKey key, const ExpertView& view) const;

 private:
  std::vector<std::unique_ptr<TemporaryFile>> files_;
  std::vector<ExpertStore::Layer> layers_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_TESTING_EXPERT_FILES_H_
