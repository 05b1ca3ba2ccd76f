#include "experts/expert_store.h"

#include <algorithm>
#include <numeric>
#include <tuple>
#include <utility>

#include "base/check.h"

namespace flashmoe {
namespace {

// Runs shorter than this are read through the queue's bounce buffers: a copy of a few KiB costs
// less than the up to two pages of slot that a direct read needs as margins.
constexpr std::uint64_t kPaddedSizeMin = 16 * 1024;

// Runs that are not padded begin at cache lines.
constexpr std::size_t kPackedAlignment = 64;

// Keeps the sums of sizes far from overflow, whatever a sparse file claims.
constexpr std::uint64_t kSegmentSizeMax = std::uint64_t{1} << 48;

std::uint64_t round_up(std::uint64_t value, std::uint64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

bool is_padded(const File& file, std::uint64_t size) {
  return file.direct_alignment() > 1 && size >= kPaddedSizeMin;
}

Status check_segment(const File& file, const ExpertSegment& segment, std::uint64_t expected_size) {
  if (segment.size != expected_size) {
    return error(StatusCode::kCorrupt, "{}: {} bytes at {}, but expert 0 has {} there", file.path(),
                 segment.size, segment.offset, expected_size);
  }
  if (segment.size == 0 || segment.size > kSegmentSizeMax) {
    return error(StatusCode::kCorrupt, "{}: {} bytes at {}: not a size a weight can have",
                 file.path(), segment.size, segment.offset);
  }
  if (segment.offset > file.size() || segment.size > file.size() - segment.offset) {
    return error(StatusCode::kCorrupt, "{}: {} bytes at {} lie outside the file of {} bytes",
                 file.path(), segment.size, segment.offset, file.size());
  }
  return Status();
}

Status check_layer(std::size_t layer_id, const ExpertStore::Layer& layer,
                   std::span<const File> files) {
  const std::size_t count = layer.segments_per_expert;
  FM_CHECK(count <= kExpertSegmentsMax);
  if (count == 0) {
    FM_CHECK(layer.segments.empty());
    return Status();
  }
  FM_CHECK(layer.segments.size() % count == 0);
  FM_CHECK(layer.segments.size() / count <= 65536);  // ExpertId has 16 bits
  for (std::size_t i = 0; i < layer.segments.size(); ++i) {
    const ExpertSegment& segment = layer.segments[i];
    FM_CHECK(segment.file_index < files.size());
    const Status status =
        check_segment(files[segment.file_index], segment, layer.segments[i % count].size);
    if (!status.ok()) {
      return status.with_prefix(
          fmt::format("expert store: layer {} expert {}", layer_id, i / count));
    }
  }
  return Status();
}

}  // namespace

Result<ExpertStore> ExpertStore::open(std::span<const std::filesystem::path> paths,
                                      std::vector<Layer> layers) {
  std::vector<File> files;
  files.reserve(paths.size());
  for (const std::filesystem::path& path : paths) {
    FM_ASSIGN_OR_RETURN(File file, File::open(path, File::Mode::kDirect));
    files.push_back(std::move(file));
  }
  for (std::size_t i = 0; i < layers.size(); ++i) {
    FM_RETURN_IF_ERROR(check_layer(i, layers[i], files));
  }
  return ExpertStore(std::move(files), std::move(layers));
}

ExpertStore::ExpertStore(std::vector<File> files, std::vector<Layer> layers)
    : files_(std::move(files)), layers_(std::move(layers)), slot_sizes_(layers_.size()) {
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const LayerId layer{static_cast<std::uint32_t>(l)};
    for (std::size_t e = 0; e < expert_count(layer); ++e) {
      const ExpertPlacement place = placement({layer, ExpertId{static_cast<std::uint16_t>(e)}});
      slot_sizes_[l] = std::max(slot_sizes_[l], place.size);
      for (std::size_t i = 0; i < place.read_count; ++i) {
        const ExpertPlacement::Read& read = place.reads[i];
        slot_alignment_ =
            std::max(slot_alignment_,
                     read.padded ? files_[read.file_index].direct_alignment() : kPackedAlignment);
      }
    }
  }
  for (std::uint64_t& size : slot_sizes_) {
    size = round_up(size, slot_alignment_);
    slot_size_ = std::max(slot_size_, size);
  }
}

std::size_t ExpertStore::expert_count(LayerId layer) const {
  FM_DCHECK(layer.value < layers_.size());
  const Layer& l = layers_[layer.value];
  return l.segments_per_expert == 0 ? 0 : l.segments.size() / l.segments_per_expert;
}

std::vector<std::size_t> ExpertStore::expert_counts() const {
  std::vector<std::size_t> counts;
  for (std::uint32_t l = 0; l < layers_.size(); ++l) counts.push_back(expert_count({l}));
  return counts;
}

std::size_t ExpertStore::segments_per_expert(LayerId layer) const {
  return layers_[layer.value].segments_per_expert;
}

std::span<const ExpertSegment> ExpertStore::segments(ExpertKey key) const {
  FM_DCHECK(key.expert.value < expert_count(key.layer));
  const Layer& layer = layers_[key.layer.value];
  return std::span(layer.segments)
      .subspan(key.expert.value * layer.segments_per_expert, layer.segments_per_expert);
}

const File& ExpertStore::file(std::uint32_t file_index) const { return files_[file_index]; }

std::uint64_t ExpertStore::expert_size(LayerId layer) const {
  if (expert_count(layer) == 0) return 0;
  const auto first = segments({layer, ExpertId{0}});
  return std::accumulate(
      first.begin(), first.end(), std::uint64_t{0},
      [](std::uint64_t sum, const ExpertSegment& segment) { return sum + segment.size; });
}

ExpertPlacement ExpertStore::placement(ExpertKey key) const {
  const std::span<const ExpertSegment> parts = segments(key);
  std::array<std::uint8_t, kExpertSegmentsMax> order;  // of the parts, by place on disk
  std::iota(order.begin(), order.begin() + parts.size(), std::uint8_t{0});
  std::sort(order.begin(), order.begin() + parts.size(), [&](std::uint8_t a, std::uint8_t b) {
    return std::tie(parts[a].file_index, parts[a].offset, a) <
           std::tie(parts[b].file_index, parts[b].offset, b);
  });

  ExpertPlacement place;
  for (std::size_t begin = 0, end = 0; begin < parts.size(); begin = end) {
    const ExpertSegment& first = parts[order[begin]];
    ExpertPlacement::Read read = {.file_index = first.file_index, .offset = first.offset};
    for (end = begin; end < parts.size(); ++end) {
      const ExpertSegment& next = parts[order[end]];
      if (next.file_index != read.file_index || next.offset != read.offset + read.size) break;
      read.size += next.size;
    }
    const File& file = files_[read.file_index];
    read.padded = is_padded(file, read.size);
    const std::size_t alignment = read.padded ? file.direct_alignment() : kPackedAlignment;
    read.slot_offset =
        round_up(place.size, alignment) + (read.padded ? read.offset % alignment : 0);
    place.size = read.padded ? round_up(read.slot_offset + read.size, alignment)
                             : read.slot_offset + read.size;
    for (std::size_t i = begin; i < end; ++i) {
      place.segment_offsets[order[i]] = read.slot_offset + parts[order[i]].offset - read.offset;
    }
    place.reads[place.read_count++] = read;
  }
  return place;
}

}  // namespace flashmoe
