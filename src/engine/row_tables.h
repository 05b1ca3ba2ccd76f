#ifndef FLASHMOE_ENGINE_ROW_TABLES_H_
#define FLASHMOE_ENGINE_ROW_TABLES_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/result.h"
#include "io/file.h"
#include "io/read_queue.h"
#include "model/row_source.h"
#include "tensor/dtype.h"

namespace flashmoe {

/// A table of rows of floats in a model's files, whose parts follow one another.
struct RowTable {
  struct Part {
    std::uint32_t file_index = 0;
    std::uint64_t offset = 0;  // of its first row
    std::uint64_t row_begin = 0;
  };
  DType dtype = DType::kBF16;
  std::size_t cols = 0;
  std::uint64_t rows = 0;
  std::vector<Part> parts;

  std::size_t row_size() const { return cols * size_of(dtype); }
};

/// Reads single rows of tables that are never in memory, many at a time, each once for all that ask
/// for it in a call. Not thread-safe.
class RowTables final : public RowSource {
 public:
  /// Bytes of memory that reading rows of `tables` takes.
  static std::uint64_t buffer_bytes(std::span<const RowTable> tables);

  /// `files`: of the model; those that tables are in are opened. Errors: those of File::open, and
  /// kIo if memory cannot be had.
  static Result<std::unique_ptr<RowTables>> open(std::vector<RowTable> tables,
                                                 std::span<const std::filesystem::path> files,
                                                 std::unique_ptr<ReadQueue> queue);

  Status read_rows(std::size_t table, std::span<const std::uint64_t> ids,
                   MatrixView<float> out) override;

  std::uint64_t bytes_read() const { return queue_->statistics().bytes_read; }

 private:
  RowTables(std::vector<RowTable> tables, std::unique_ptr<ReadQueue> queue)
      : tables_(std::move(tables)), queue_(std::move(queue)) {}
  /// All of order_ from `at` on that ask for the same row.
  std::size_t same_end(std::span<const std::uint64_t> ids, std::size_t at) const;
  ReadRequest request(const RowTable& table, std::uint64_t id, std::size_t slot, std::size_t at);

  std::vector<RowTable> tables_;
  std::map<std::uint32_t, File> files_;  // by index
  std::unique_ptr<ReadQueue> queue_;
  AlignedBuffer slots_;
  std::size_t slot_size_ = 0;
  // Of a call: places in its ids, by the rows that they ask for; and of each slot the first of
  // those that wait for it, and where its row begins.
  std::vector<std::size_t> order_;
  std::vector<std::size_t> waiting_;
  std::vector<const std::byte*> rows_;
  std::vector<std::size_t> free_slots_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_ROW_TABLES_H_
