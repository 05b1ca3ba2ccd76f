#ifndef FLASHMOE_ENGINE_DENSE_LOADER_H_
#define FLASHMOE_ENGINE_DENSE_LOADER_H_

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/result.h"
#include "engine/row_tables.h"
#include "format/model_package.h"
#include "io/file.h"
#include "io/read_queue.h"
#include "model/weight_source.h"

namespace flashmoe {

/// Finds a model's dense weights in a package and loads them into one buffer. Until load() only
/// headers are used, so it also tells what loading would take.
class DenseLoader : public WeightSource {
 public:
  /// `package` must outlive the loader.
  explicit DenseLoader(const ModelPackage& package) : package_(package) {}

  bool has_matrix(const TensorRef& tensor) const override;
  Status matrix(const TensorRef& tensor, const MatrixShape& shape, WeightView* out) override;
  Status vector(const TensorRef& tensor, std::span<const TensorShape> accepted_shapes,
                std::vector<float>* out) override;
  Status integers(const TensorRef& tensor, std::size_t count,
                  std::vector<std::int64_t>* out) override;
  Status row_table(std::span<const TensorRef> parts, std::uint64_t rows, std::size_t cols,
                   std::size_t* table) override;

  /// Bytes of memory that everything declared so far takes: as stored, and vectors also as f32.
  std::uint64_t size() const { return size_ + widened_size_; }

  /// The tables declared, which load() leaves where they are.
  const std::vector<RowTable>& tables() const { return tables_; }

  /// Reads everything declared, in file order, and fills the outputs. `files` are the package's.
  /// The buffer that is returned holds the matrices and must outlive their views.
  Result<AlignedBuffer> load(std::span<const File> files, ReadQueue& queue,
                             const std::function<void(std::uint64_t, std::uint64_t)>& on_progress);

 private:
  /// Bytes of a file on their way to a place in the buffer.
  struct Part {
    const TensorRecord* tensor = nullptr;
    std::uint64_t buffer_offset = 0;
  };
  struct Matrix {
    WeightView* out = nullptr;
    std::string path;
    std::array<const TensorRecord*, kWeightPlanesMax> planes = {};
    std::array<std::uint64_t, kWeightPlanesMax> offsets = {};
  };
  struct Vector {
    const TensorRecord* tensor = nullptr;
    std::string name;
    StoredAs stored = StoredAs::kPlain;
    std::vector<float>* out = nullptr;
    std::uint64_t offset = 0;
  };

  struct Integers {
    std::vector<std::int64_t>* out = nullptr;
    std::size_t count = 0;
    std::uint64_t offset = 0;
  };

  Result<const TensorRecord*> find(const std::string& name) const;
  std::uint64_t place(const TensorRecord& tensor);
  Status read_parts(std::span<const File> files, ReadQueue& queue, AlignedBuffer& buffer,
                    const std::function<void(std::uint64_t, std::uint64_t)>& on_progress);

  const ModelPackage& package_;
  std::vector<Part> parts_;
  std::vector<Matrix> matrices_;
  std::vector<Vector> vectors_;
  std::vector<Integers> integers_;
  std::vector<RowTable> tables_;
  std::uint64_t size_ = 0;          // of the buffer
  std::uint64_t widened_size_ = 0;  // of the vectors' own memory
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_DENSE_LOADER_H_
