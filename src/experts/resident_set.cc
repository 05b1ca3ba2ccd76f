#include "experts/resident_set.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <set>
#include <string>
#include <utility>

#include "base/check.h"
#include "experts/model_bound_file.h"
#include "format/safetensors_file.h"
#include "format/safetensors_writer.h"
#include "tensor/float_bits.h"

namespace flashmoe {
namespace {

constexpr ModelBoundFormat kFormat = {"flash-moe.resident_set", "1", "resident set"};
constexpr const char* kCounts = "counts";
constexpr const char* kIds = "ids";

Result<ResidentSet> read(const SafetensorsFile& file, std::string_view identity,
                         std::span<const std::size_t> expert_counts) {
  FM_ASSIGN_OR_RETURN(const std::string found, read_model_identity(file, kFormat));
  FM_RETURN_IF_ERROR(check_model_identity(kFormat, found, identity));
  FM_RETURN_IF_ERROR(check_vector(file, kCounts, DType::kI64, expert_counts.size()));
  FM_ASSIGN_OR_RETURN(const std::vector<std::int64_t> counts, file.read_integers(kCounts));
  std::uint64_t total = 0;
  for (std::size_t l = 0; l < counts.size(); ++l) {
    if (counts[l] < 0 || static_cast<std::uint64_t>(counts[l]) > expert_counts[l]) {
      return error(StatusCode::kCorrupt, "layer {} has {} of {} experts", l, counts[l],
                   expert_counts[l]);
    }
    total += static_cast<std::uint64_t>(counts[l]);
  }
  FM_RETURN_IF_ERROR(check_vector(file, kIds, DType::kU16, total));
  FM_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, file.read(kIds));

  ResidentSet set;
  const std::byte* next = bytes.data();
  for (std::size_t l = 0; l < counts.size(); ++l) {
    std::vector<bool> seen(expert_counts[l]);
    std::vector<ExpertId>& ids = set.layers.emplace_back();
    for (std::int64_t i = 0; i < counts[l]; ++i, next += sizeof(std::uint16_t)) {
      const ExpertId id{load_unaligned<std::uint16_t>(next)};
      if (id.value >= seen.size() || seen[id.value]) {
        return error(StatusCode::kCorrupt, "layer {}: expert {} is unknown or named twice", l,
                     id.value);
      }
      seen[id.value] = true;
      ids.push_back(id);
    }
  }
  return set;
}

}  // namespace

Result<ResidentSet> read_resident_set(const std::filesystem::path& path, std::string_view identity,
                                      std::span<const std::size_t> expert_counts) {
  FM_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::open(path));
  Result<ResidentSet> set = read(file, identity, expert_counts);
  if (!set.ok()) return set.status().with_prefix(path.string());
  return set;
}

Status write_resident_set(const std::filesystem::path& path, std::string_view identity,
                          const ResidentSet& set) {
  std::vector<std::int64_t> counts;
  std::vector<std::uint16_t> values;
  for (const std::vector<ExpertId>& ids : set.layers) {
    counts.push_back(static_cast<std::int64_t>(ids.size()));
    for (const ExpertId id : ids) values.push_back(id.value);
  }
  FM_ASSIGN_OR_RETURN(
      SafetensorsWriter writer,
      SafetensorsWriter::create(
          path, {{kCounts, DType::kI64, {counts.size()}}, {kIds, DType::kU16, {values.size()}}},
          model_bound_metadata(kFormat, identity)));
  FM_RETURN_IF_ERROR(writer.write(kCounts, 0, std::span<const std::int64_t>(counts)));
  FM_RETURN_IF_ERROR(writer.write(kIds, 0, std::span<const std::uint16_t>(values)));
  return writer.finish();
}

void append_missing(ResidentSet& set, const ResidentSet& older) {
  FM_CHECK(set.layers.size() == older.layers.size());
  for (std::size_t l = 0; l < set.layers.size(); ++l) {
    std::vector<ExpertId>& ids = set.layers[l];
    const std::set<ExpertId> present(ids.begin(), ids.end());
    std::ranges::copy_if(older.layers[l], std::back_inserter(ids),
                         [&](ExpertId id) { return !present.contains(id); });
  }
}

std::vector<ExpertKey> by_rank(const ResidentSet& set) {
  std::size_t ranks = 0;
  for (const std::vector<ExpertId>& ids : set.layers) ranks = std::max(ranks, ids.size());
  std::vector<ExpertKey> keys;
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    for (std::uint32_t l = 0; l < set.layers.size(); ++l) {
      if (rank < set.layers[l].size()) keys.push_back({LayerId{l}, set.layers[l][rank]});
    }
  }
  return keys;
}

void sort_in_file_order(const ExpertStore& store, std::span<ExpertKey> keys) {
  std::ranges::sort(keys, {}, [&store](ExpertKey key) {
    const ExpertSegment& first = store.segments(key).front();
    return std::pair(first.file_index, first.offset);
  });
}

}  // namespace flashmoe
