#ifndef FLASHMOE_MODEL_WEIGHT_SOURCE_H_
#define FLASHMOE_MODEL_WEIGHT_SOURCE_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "tensor/weight_view.h"

namespace flashmoe {

/// Where a model's dense weights come from. The model declares what it needs, by name and shape;
/// the owner of the source loads all of it afterwards and fills the outputs. So the model knows no
/// files, and whoever counts bytes loads nothing.
class WeightSource {
 public:
  virtual ~WeightSource() = default;

  /// The matrix of the module `path` (no ".weight"), [rows, cols]. `out` must outlive the load.
  virtual Status matrix(const std::string& path, std::size_t rows, std::size_t cols,
                        WeightView* out) = 0;

  /// A float tensor with its full name and one of the accepted shapes, widened to f32.
  virtual Status vector(const std::string& name,
                        std::span<const std::vector<std::uint64_t>> accepted_shapes,
                        std::vector<float>* out) = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_WEIGHT_SOURCE_H_
