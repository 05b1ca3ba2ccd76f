#ifndef FLASHMOE_MODEL_ROW_SOURCE_H_
#define FLASHMOE_MODEL_ROW_SOURCE_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "tensor/matrix_view.h"

namespace flashmoe {

/// Where the rows of tables come from that are too large for memory (WeightSource::row_table): the
/// model knows their numbers and no disks. One thread at a time.
class RowSource {
 public:
  virtual ~RowSource() = default;
  /// out.row(i) = row ids[i] of `table`, as floats. Ids are below the table's rows and may repeat.
  /// Errors: those of reading; `out` is then unspecified.
  virtual Status read_rows(std::size_t table, std::span<const std::uint64_t> ids,
                           MatrixView<float> out) = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_ROW_SOURCE_H_
