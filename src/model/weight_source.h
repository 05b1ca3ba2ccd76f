#ifndef FLASHMOE_MODEL_WEIGHT_SOURCE_H_
#define FLASHMOE_MODEL_WEIGHT_SOURCE_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/tensor_table.h"
#include "tensor/weight_view.h"

namespace flashmoe {

/// A tensor that a model asks for.
struct TensorRef {
  TensorId id = TensorId::kCount;
  std::size_t layer = 0;  // of tensors that layers have
  std::string name;       // a matrix's module (no ".weight"), a vector's whole name
  StoredAs stored = StoredAs::kPlain;
};

using TensorShape = std::vector<std::uint64_t>;

/// A matrix, or `stack` equal ones in one tensor, which are seen as one of stack * rows rows.
struct MatrixShape {
  std::size_t rows = 0;
  std::size_t cols = 0;
  std::size_t stack = 1;
};

/// Where a model's dense weights come from. The model declares what it needs; the owner of the
/// source loads all of it afterwards and fills the outputs, which must outlive the load. So the
/// model knows no files, and whoever counts bytes loads nothing.
class WeightSource {
 public:
  virtual ~WeightSource() = default;

  /// Whether there is such a matrix, for models that are stored in more than one way.
  virtual bool has_matrix(const TensorRef& tensor) const = 0;

  virtual Status matrix(const TensorRef& tensor, const MatrixShape& shape, WeightView* out) = 0;

  /// A float tensor of one of the accepted shapes, widened to f32 and restored from what it is
  /// stored as.
  virtual Status vector(const TensorRef& tensor, std::span<const TensorShape> accepted_shapes,
                        std::vector<float>* out) = 0;

  /// A vector of `count` whole numbers, as they are.
  virtual Status integers(const TensorRef& tensor, std::size_t count,
                          std::vector<std::int64_t>* out) = 0;

  /// A table of floats that stays where it is, in tensors that follow one another, with as many
  /// rows as they like. Its rows come through a RowSource, which knows it by the number that goes
  /// to `table`, at once.
  virtual Status row_table(std::span<const TensorRef> parts, std::uint64_t rows, std::size_t cols,
                           std::size_t* table) = 0;
};

/// What blocks declare the tensors of their layer to.
class LayerTensors {
 public:
  /// References must outlive this.
  LayerTensors(const TensorTable& table, std::size_t layer, WeightSource& source)
      : table_(table), layer_(layer), source_(source) {}

  bool has_matrix(TensorId id) const { return source_.has_matrix(ref(id)); }
  /// How the rows of a matrix are to be read.
  StoredAs stored_as(TensorId id) const { return table_.row(id).stored; }
  Status matrix(TensorId id, std::size_t rows, std::size_t cols, WeightView* out) {
    return source_.matrix(ref(id), {rows, cols}, out);
  }
  Status matrix_stack(TensorId id, std::size_t stack, std::size_t rows, std::size_t cols,
                      WeightView* out) {
    return source_.matrix(ref(id), {rows, cols, stack}, out);
  }
  Status vector(TensorId id, std::size_t size, std::vector<float>* out) {
    const TensorShape shape = {size};
    return source_.vector(ref(id), {&shape, 1}, out);
  }
  Status vector(TensorId id, std::span<const TensorShape> accepted_shapes,
                std::vector<float>* out) {
    return source_.vector(ref(id), accepted_shapes, out);
  }
  Status integers(TensorId id, std::size_t count, std::vector<std::int64_t>* out) {
    return source_.integers(ref(id), count, out);
  }
  /// As WeightSource's, of `part_count` parts.
  Status row_table(TensorId id, std::size_t part_count, std::uint64_t rows, std::size_t cols,
                   std::size_t* table) {
    std::vector<TensorRef> parts;
    for (std::size_t part = 0; part < part_count; ++part) {
      parts.push_back(ref(id));
      parts.back().name = table_.name(id, layer_, part);
    }
    return source_.row_table(parts, rows, cols, table);
  }
  /// What matrix `id` adds to its products.
  Status bias(TensorId id, std::size_t size, std::vector<float>* out) {
    TensorRef tensor = ref(id);
    tensor.name += ".bias";
    const TensorShape shape = {size};
    return source_.vector(tensor, {&shape, 1}, out);
  }

 private:
  TensorRef ref(TensorId id) const {
    return {id, layer_, table_.name(id, layer_), table_.row(id).stored};
  }

  const TensorTable& table_;
  std::size_t layer_;
  WeightSource& source_;
};

/// Brings a vector from what it is `stored` as in a tensor of `shape` to what blocks compute with.
/// Errors: kCorrupt for a value that is not finite where one must be, without the tensor's name.
Status restore(StoredAs stored, std::span<const std::uint64_t> shape, std::vector<float>& values);

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_WEIGHT_SOURCE_H_
