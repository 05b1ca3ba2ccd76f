#include "engine/tied_head.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/weight_catalog.h"
#include "io/file.h"

namespace flashmoe {
namespace {

constexpr std::uint64_t kPieceSize = std::uint64_t{2} << 20;

Result<bool> are_equal(const Checkpoint& checkpoint, const TensorRecord& a, const TensorRecord& b) {
  if (a.dtype != b.dtype || a.shape != b.shape) return false;
  const auto open = [&](const TensorRecord& tensor) {
    return File::open(checkpoint.files()[tensor.file_index], File::Mode::kBuffered);
  };
  FM_ASSIGN_OR_RETURN(const File file_a, open(a));
  FM_ASSIGN_OR_RETURN(const File file_b, open(b));
  std::vector<std::byte> bytes_a(static_cast<std::size_t>(std::min(kPieceSize, a.size)));
  std::vector<std::byte> bytes_b(bytes_a.size());
  for (std::uint64_t at = 0; at < a.size; at += bytes_a.size()) {
    const auto size =
        static_cast<std::size_t>(std::min<std::uint64_t>(bytes_a.size(), a.size - at));
    FM_RETURN_IF_ERROR(file_a.read_at(a.offset + at, std::span(bytes_a).first(size)));
    FM_RETURN_IF_ERROR(file_b.read_at(b.offset + at, std::span(bytes_b).first(size)));
    if (!std::equal(bytes_a.begin(), bytes_a.begin() + static_cast<std::ptrdiff_t>(size),
                    bytes_b.begin())) {
      return false;
    }
  }
  return true;
}

}  // namespace

Result<bool> has_own_head(const Checkpoint& checkpoint, const TensorTable& names) {
  const std::string head = names.name(TensorId::kLmHead);
  const std::string embedding = names.name(TensorId::kEmbedTokens);
  if (!has_weight(checkpoint, head)) return false;
  // The weight last: scales and biases are small.
  for (const std::string_view part : {".scales", ".biases", ".weight"}) {
    const TensorRecord* const of_head = checkpoint.find(head + std::string(part));
    const TensorRecord* const of_embedding = checkpoint.find(embedding + std::string(part));
    if (of_head == nullptr && of_embedding == nullptr) continue;
    if (of_head == nullptr || of_embedding == nullptr) return true;
    FM_ASSIGN_OR_RETURN(const bool equal, are_equal(checkpoint, *of_head, *of_embedding));
    if (!equal) return true;
  }
  return false;
}

}  // namespace flashmoe
