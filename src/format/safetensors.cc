#include "format/safetensors.h"

#include <algorithm>
#include <tuple>
#include <unordered_set>
#include <utility>

#include "base/check.h"
#include "base/units.h"
#include "format/printable.h"
#include "format/safetensors_sax.h"
#include "tensor/float_bits.h"

namespace flashmoe {
namespace {

constexpr std::string_view kRemedy = "download the file again";

/// The header's size in bytes, from the eight bytes at the start of a file.
Result<std::uint64_t> header_size(std::span<const std::byte> beginning, std::uint64_t file_size,
                                  std::string_view file) {
  if (file_size < 8 || beginning.size() < 8) {
    return error(StatusCode::kCorrupt, "{}: {} bytes are too few for a safetensors file; {}", file,
                 file_size, kRemedy);
  }
  const auto size = load_unaligned<std::uint64_t>(beginning.data());
  if (size > file_size - 8) {
    return error(StatusCode::kCorrupt,
                 "{}: the safetensors header says it is {} long, but the file has {}; it is "
                 "cut short, or no safetensors file; {}",
                 file, format_size(size), format_size(file_size), kRemedy);
  }
  if (size > kSafetensorsHeaderSizeMax) {
    return error(StatusCode::kCorrupt,
                 "{}: the safetensors header says it is {} long, more than the {} allowed; {}",
                 file, format_size(size), format_size(kSafetensorsHeaderSizeMax), kRemedy);
  }
  return size;
}

/// Turns offsets in the data section into offsets in the file, and checks each entry's place.
Status place_entries(SafetensorsHeader& header, std::uint64_t data_begin, std::uint64_t file_size,
                     std::string_view file) {
  std::unordered_set<std::string_view> names;
  names.reserve(header.tensors.size());
  for (SafetensorsEntry& entry : header.tensors) {
    if (!names.insert(entry.name).second) {
      return error(StatusCode::kCorrupt, "{}: tensor {} appears twice in the header; {}", file,
                   printable(entry.name), kRemedy);
    }
    const std::uint64_t data_size = file_size - data_begin;
    // size is the width of the range [offset, offset + size), so the sum does not overflow.
    if (entry.offset + entry.size > data_size) {
      return error(
          StatusCode::kCorrupt,
          "{}: is cut short: it holds {} of tensors, and by field data_offsets tensor {} ends {} "
          "behind that; {}",
          file, format_size(data_size), printable(entry.name),
          format_size(entry.offset + entry.size - data_size), kRemedy);
    }
    entry.offset += data_begin;
  }
  return Status();
}

/// Sorts by offset and refuses two entries that share a byte. Gaps are allowed: nobody reads them.
Status sort_and_check_overlap(std::vector<SafetensorsEntry>& tensors, std::string_view file) {
  const auto by_place = [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return std::tie(a.offset, a.size, a.name) < std::tie(b.offset, b.size, b.name);
  };
  if (!std::is_sorted(tensors.begin(), tensors.end(), by_place)) {
    std::sort(tensors.begin(), tensors.end(), by_place);
  }
  const SafetensorsEntry* last = nullptr;  // the last one that has bytes
  for (const SafetensorsEntry& entry : tensors) {
    if (entry.size == 0) continue;
    if (last != nullptr && entry.offset < last->offset + last->size) {
      return error(
          StatusCode::kCorrupt,
          "{}: tensors {} and {} overlap: field data_offsets puts the second at {}, before "
          "the first ends at {}; {}",
          file, printable(last->name), printable(entry.name), entry.offset,
          last->offset + last->size, kRemedy);
    }
    last = &entry;
  }
  return Status();
}

}  // namespace

Result<SafetensorsHeader> parse_safetensors_header(std::span<const std::byte> beginning,
                                                   std::uint64_t file_size, std::string_view file) {
  FM_ASSIGN_OR_RETURN(const std::uint64_t size, header_size(beginning, file_size, file));
  FM_CHECK(size <= beginning.size() - 8);
  const char* text = reinterpret_cast<const char*>(beginning.data() + 8);
  internal::SafetensorsSax sax(file);
  if (!nlohmann::json::sax_parse(text, text + size, &sax)) {
    if (sax.failure().code() == StatusCode::kUnsupported) return sax.failure();
    return error(StatusCode::kCorrupt, "{}; {}", sax.failure().message(), kRemedy);
  }
  SafetensorsHeader header = std::move(sax.header());
  FM_RETURN_IF_ERROR(place_entries(header, 8 + size, file_size, file));
  FM_RETURN_IF_ERROR(sort_and_check_overlap(header.tensors, file));
  return header;
}

Result<SafetensorsHeader> read_safetensors_header(const File& file) {
  std::vector<std::byte> beginning(std::min<std::uint64_t>(8, file.size()));
  FM_RETURN_IF_ERROR(file.read_at(0, beginning));
  FM_ASSIGN_OR_RETURN(const std::uint64_t size, header_size(beginning, file.size(), file.path()));
  beginning.resize(static_cast<std::size_t>(8 + size));
  FM_RETURN_IF_ERROR(file.read_at(8, std::span(beginning).subspan(8)));
  return parse_safetensors_header(beginning, file.size(), file.path());
}

}  // namespace flashmoe
