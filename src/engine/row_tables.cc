#include "engine/row_tables.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include "base/check.h"

namespace flashmoe {
namespace {

/// Rows on their way at a time: what keeps a device busy, as far as memory goes.
constexpr std::size_t kSlotsMax = 128;
constexpr std::uint64_t kSlotBytesMax = std::uint64_t{4} << 20;

/// A row with the margins of a direct read, wherever it begins.
std::uint64_t slot_size(std::span<const RowTable> tables) {
  std::uint64_t largest = 0;
  for (const RowTable& table : tables) {
    largest = std::max<std::uint64_t>(largest, table.row_size());
  }
  constexpr std::uint64_t kBlock = File::kDirectAlignmentMax;
  return (kBlock - 1 + largest + kBlock - 1) / kBlock * kBlock;
}

std::size_t slot_count(std::uint64_t slot_bytes) {
  return static_cast<std::size_t>(
      std::clamp<std::uint64_t>(kSlotBytesMax / slot_bytes, 1, kSlotsMax));
}

}  // namespace

std::uint64_t RowTables::buffer_bytes(std::span<const RowTable> tables) {
  return tables.empty() ? 0 : slot_count(slot_size(tables)) * slot_size(tables);
}

Result<std::unique_ptr<RowTables>> RowTables::open(std::vector<RowTable> tables,
                                                   std::span<const std::filesystem::path> files,
                                                   std::unique_ptr<ReadQueue> queue) {
  std::unique_ptr<RowTables> opened(new RowTables(std::move(tables), std::move(queue)));
  opened->slot_size_ = slot_size(opened->tables_);
  const std::size_t slots = slot_count(opened->slot_size_);
  FM_ASSIGN_OR_RETURN(opened->slots_, AlignedBuffer::allocate(slots * opened->slot_size_));
  opened->waiting_.resize(slots);
  opened->rows_.resize(slots);
  for (const RowTable& table : opened->tables_) {
    for (const RowTable::Part& part : table.parts) {
      if (opened->files_.contains(part.file_index)) continue;
      FM_ASSIGN_OR_RETURN(File file, File::open(files[part.file_index], File::Mode::kDirect));
      opened->files_.emplace(part.file_index, std::move(file));
    }
  }
  return opened;
}

std::size_t RowTables::same_end(std::span<const std::uint64_t> ids, std::size_t at) const {
  std::size_t end = at + 1;
  while (end < order_.size() && ids[order_[end]] == ids[order_[at]]) ++end;
  return end;
}

ReadRequest RowTables::request(const RowTable& table, std::uint64_t id, std::size_t slot,
                               std::size_t at) {
  const auto behind = std::ranges::upper_bound(table.parts, id, {}, &RowTable::Part::row_begin);
  const RowTable::Part& part = *std::prev(behind);
  const File& file = files_.at(part.file_index);
  const std::uint64_t offset = part.offset + (id - part.row_begin) * table.row_size();
  std::byte* const destination =
      slots_.data() + slot * slot_size_ + offset % file.direct_alignment();
  waiting_[slot] = at;
  rows_[slot] = destination;
  return {.file = &file,
          .offset = offset,
          .destination = destination,
          .size = table.row_size(),
          .tag = slot,
          .padded = true};
}

Status RowTables::read_rows(std::size_t table_index, std::span<const std::uint64_t> ids,
                            MatrixView<float> out) {
  const RowTable& table = tables_[table_index];
  FM_CHECK(out.rows == ids.size());
  FM_CHECK(out.cols == table.cols);
  order_.resize(ids.size());
  std::iota(order_.begin(), order_.end(), std::size_t{0});
  std::ranges::sort(order_, {}, [&](std::size_t i) { return ids[i]; });
  if (!ids.empty()) FM_CHECK(ids[order_.back()] < table.rows);
  free_slots_.resize(waiting_.size());
  std::iota(free_slots_.begin(), free_slots_.end(), std::size_t{0});

  std::array<ReadRequest, kSlotsMax> requests;
  std::array<ReadCompletion, kSlotsMax> completions;
  std::size_t next = 0;
  Status failure;
  while ((failure.ok() && next < order_.size()) || queue_->in_flight_count() > 0) {
    std::size_t count = 0;
    while (failure.ok() && next < order_.size() && !free_slots_.empty()) {
      requests[count++] = request(table, ids[order_[next]], free_slots_.back(), next);
      free_slots_.pop_back();
      next = same_end(ids, next);
    }
    if (count > 0) failure = queue_->submit(std::span(requests).first(count));
    const std::size_t finished = queue_->poll(completions, /*wait=*/true);
    for (std::size_t i = 0; i < finished; ++i) {
      const auto slot = static_cast<std::size_t>(completions[i].tag);
      free_slots_.push_back(slot);
      if (failure.ok()) failure = completions[i].status;
      if (!failure.ok()) continue;
      const std::size_t first = waiting_[slot];
      const std::span<float> row = out.row_span(order_[first]);
      widen(table.dtype, rows_[slot], row);
      for (std::size_t at = first + 1; at < same_end(ids, first); ++at) {
        std::ranges::copy(row, out.row(order_[at]));
      }
    }
  }
  return failure.with_prefix("reading rows of an n-gram table");
}

}  // namespace flashmoe
