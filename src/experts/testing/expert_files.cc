#include "experts/testing/expert_files.h"

#include <cstring>
#include <utility>

#include "base/check.h"

namespace flashmoe {

ExpertFiles::ExpertFiles(std::span<const LayerShape> shapes, std::uint64_t seed) {
  std::uint64_t ends[2] = {1013, 77};  // as after a header that is not padded
  const auto place = [&ends](std::uint32_t file, std::uint64_t size, std::uint64_t gap) {
    const ExpertSegment segment = {.file_index = file, .offset = ends[file] + gap, .size = size};
    ends[file] = segment.offset + size;
    return segment;
  };
  for (std::size_t l = 0; l < shapes.size(); ++l) {
    const auto& [expert_count, sizes] = shapes[l];
    ExpertStore::Layer layer;
    if (expert_count > 0) layer.segments_per_expert = sizes.size();
    layer.segments.resize(expert_count * sizes.size());
    if (l % 2 == 0) {
      for (std::size_t i = 0; i < sizes.size(); ++i) {
        for (std::size_t e = 0; e < expert_count; ++e) {
          layer.segments[e * sizes.size() + i] = place(0, sizes[i], e == 0 ? 37 : 0);
        }
      }
    } else {
      for (std::size_t e = 0; e < expert_count; ++e) {
        for (std::size_t i = sizes.size(); i-- > 0;) {  // names sort down before gate before up
          layer.segments[e * sizes.size() + i] = place(1, sizes[i], e % 3 == 0 ? 5 : 0);
        }
      }
    }
    layers_.push_back(std::move(layer));
  }
  for (std::uint64_t i = 0; i < 2; ++i) {
    files_.push_back(std::make_unique<TemporaryFile>(ends[i], seed + i));
  }
}

std::vector<ExpertFiles::LayerShape> ExpertFiles::mixed_shapes() {
  return {{.expert_count = 12, .segment_sizes = {40960, 1280, 1280, 17001, 300}},
          {.expert_count = 8, .segment_sizes = {9000, 5000, 6000}},
          {},
          {.expert_count = 16, .segment_sizes = {2048, 64, 63}},
          {.expert_count = 12, .segment_sizes = {16384, 16384, 16384}}};
}

std::vector<std::filesystem::path> ExpertFiles::paths() const {
  return {files_[0]->path(), files_[1]->path()};
}

ExpertStore ExpertFiles::open_store() const {
  auto store = ExpertStore::open(paths(), layers_);
  FM_CHECK(store.ok());
  return std::move(*store);
}

std::span<const std::byte> ExpertFiles::contents(const ExpertSegment& segment) const {
  return files_[segment.file_index]->contents().subspan(segment.offset, segment.size);
}

bool ExpertFiles::matches(const ExpertStore& store, ExpertKey key, const ExpertView& view) const {
  const std::span<const ExpertSegment> segments = store.segments(key);
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const std::span<const std::byte> seen = view.segment(i), expected = contents(segments[i]);
    if (seen.size() != expected.size()) return false;
    if (std::memcmp(seen.data(), expected.data(), seen.size()) != 0) return false;
  }
  return true;
}

}  // namespace flashmoe
